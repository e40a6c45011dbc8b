import { type ComponentChildren, toChildArray } from "preact";

interface Props {
  label: string;
  value: ComponentChildren;
  unit?: string;
  /** A second, smaller line. */
  note?: ComponentChildren;
  tone?: "good" | "bad" | "warn";
  href?: string;
}

/** One figure with its name; a link if there is more to see. */
export function Stat({ label, value, unit, note, tone, href }: Props) {
  const inner = (
    <>
      <span class="stat-label">{label}</span>
      <span class={`stat-value${tone ? ` text-${tone}` : ""}`}>
        {value}
        {unit && <span class="stat-unit"> {unit}</span>}
      </span>
      {note !== undefined && <span class="stat-note">{note}</span>}
    </>
  );
  return href ? (
    <a class="stat" href={href}>
      {inner}
    </a>
  ) : (
    <div class="stat">{inner}</div>
  );
}

export function Stats({ children }: { children: ComponentChildren }) {
  return (
    <div class="stats" data-count={toChildArray(children).length}>
      {children}
    </div>
  );
}
