import type { ComponentChildren } from "preact";
import type { Role } from "../api";
import { refusal } from "../session";
import { Icon, type IconName } from "./Icon";

interface Props {
  onClick: () => void;
  children?: ComponentChildren;
  icon?: IconName;
  kind?: "plain" | "main" | "danger" | "quiet";
  /** What a reader needs to be; without it the button is disabled and says why. */
  needs?: Role;
  /** Names the button where it shows an icon alone. */
  label?: string;
  disabled?: boolean;
  testid?: string;
}

/** A button; one that needs a role the reader lacks stays in its place, disabled, and says what is missing. */
export function Button({ onClick, children, icon, kind = "plain", needs, label, disabled, testid }: Props) {
  const why = needs ? refusal(needs) : "";
  return (
    <button
      type="button"
      class={`button button-${kind}${children === undefined ? " button-icon" : ""}`}
      onClick={onClick}
      disabled={disabled || why !== ""}
      title={why || label}
      aria-label={label}
      data-testid={testid}
    >
      {icon && <Icon name={icon} />}
      {children}
    </button>
  );
}
