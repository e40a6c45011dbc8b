import type { ComponentChildren } from "preact";
import { useTitle } from "../hooks";

interface Props {
  title: string;
  /** The page above this one. */
  up?: { href: string; text: string };
  /** Beside the title: badges. */
  beside?: ComponentChildren;
  /** At the right: buttons, ranges. */
  actions?: ComponentChildren;
  children: ComponentChildren;
  /** Whether the title is a name of the user's: set in a fixed-width face and broken anywhere. */
  isName?: boolean;
}

export function Page({ title, up, beside, actions, children, isName }: Props) {
  useTitle(title);
  return (
    <>
      <header class="page-head">
        <div class="page-title">
          {up && (
            <a class="page-up" href={up.href}>
              {up.text}
            </a>
          )}
          <h1 class={isName ? "name" : undefined}>{title}</h1>
          {beside}
        </div>
        {actions && <div class="page-actions">{actions}</div>}
      </header>
      {children}
    </>
  );
}

interface PanelProps {
  title?: string;
  beside?: ComponentChildren;
  actions?: ComponentChildren;
  children: ComponentChildren;
  /** Whether the content reaches the panel's edges, as tables do. */
  isFlush?: boolean;
  testid?: string;
}

export function Panel({ title, beside, actions, children, isFlush, testid }: PanelProps) {
  return (
    <section class={`panel${isFlush ? " panel-flush" : ""}`} aria-label={title} data-testid={testid}>
      {(title || actions) && (
        <header class="panel-head">
          {title && <h2>{title}</h2>}
          {beside && <div class="panel-beside">{beside}</div>}
          {actions && <div class="panel-actions">{actions}</div>}
        </header>
      )}
      <div class="panel-body">{children}</div>
    </section>
  );
}

/** Names with their values, in two columns: a description list. */
export function Facts({ items }: { items: [string, ComponentChildren][] }) {
  return (
    <dl class="facts">
      {items.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

interface ChoiceProps<T extends string> {
  label: string;
  options: readonly (readonly [T, string])[];
  value: T;
  onChange: (value: T) => void;
}

/** One of a few, side by side. */
export function Choice<T extends string>({ label, options, value, onChange }: ChoiceProps<T>) {
  return (
    <div class="choice" role="group" aria-label={label}>
      {options.map(([option, text]) => (
        <button key={option} type="button" aria-pressed={option === value} onClick={() => onChange(option)}>
          {text}
        </button>
      ))}
    </div>
  );
}

export const RANGES = [
  ["15m", "15 min"],
  ["1h", "1 h"],
  ["6h", "6 h"],
  ["24h", "24 h"],
  ["3d", "3 d"],
] as const;
