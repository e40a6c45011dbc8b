import type { ComponentChildren } from "preact";
import { ApiError } from "../api";
import { Button } from "./Button";
import { Icon, type IconName } from "./Icon";

interface Props {
  title: string;
  icon?: IconName;
  /** What the reader can do about it, in one or two sentences. */
  children?: ComponentChildren;
  /** A command to run in a terminal, shown with a button that copies it. */
  command?: string;
}

/** Nothing to show, and what to do so that there is. */
export function Empty({ title, icon = "empty", children, command }: Props) {
  return (
    <div class="empty">
      <Icon name={icon} />
      <p class="empty-title">{title}</p>
      {children && <div class="empty-text">{children}</div>}
      {command && <Command text={command} />}
    </div>
  );
}

/** A line for a terminal or a program, with a button that copies it. */
export function Command({ text }: { text: string }) {
  return (
    <div class="command">
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by the keyboard */}
      <code tabIndex={0}>{text}</code>
      <Copy text={text} />
    </div>
  );
}

export function Copy({ text, label = "Copy" }: { text: string; label?: string }) {
  const copy = (event: MouseEvent) => {
    const button = event.currentTarget as HTMLButtonElement;
    navigator.clipboard.writeText(text).then(() => {
      button.dataset.done = "yes";
      setTimeout(() => delete button.dataset.done, 1500);
    });
  };
  return (
    <button type="button" class="button button-quiet button-icon copy" onClick={copy} title={label} aria-label={label}>
      <Icon name="copy" />
      <Icon name="check" />
    </button>
  );
}

/** Why something could not be shown, and a button that asks again. */
export function Failure({ error, reload }: { error: Error; reload?: () => void }) {
  return (
    <div class="empty" role="alert">
      <Icon name="warning" />
      <p class="empty-title">{error.message}</p>
      {error instanceof ApiError && error.advice && <div class="empty-text">{error.advice}</div>}
      {reload && (
        <Button onClick={reload} icon="retry">
          Try again
        </Button>
      )}
    </div>
  );
}

/** Lines in place of what is on its way. */
export function Loading({ lines = 5 }: { lines?: number }) {
  return (
    <div class="loading" role="status" aria-label="Loading">
      {Array.from({ length: lines }, (_, i) => (
        <span key={i} />
      ))}
    </div>
  );
}
