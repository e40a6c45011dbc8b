import type { ComponentChildren } from "preact";

export type Tone = "good" | "bad" | "warn" | "busy" | "quiet";

const TONES: Record<string, Tone> = {
  succeeded: "good",
  done: "good",
  running: "busy",
  started: "busy",
  waiting: "quiet",
  pending: "quiet",
  delayed: "quiet",
  retried: "warn",
  expired: "warn",
  revoked: "quiet",
  cancelled: "quiet",
  failed: "bad",
  rejected: "bad",
  crashed: "bad",
  dead: "bad",
};

export function Badge({
  tone = "quiet",
  children,
  title,
}: {
  tone?: Tone;
  children: ComponentChildren;
  title?: string;
}) {
  return (
    <span class={`badge badge-${tone}`} title={title}>
      {children}
    </span>
  );
}

/** A state in its colour, always with its word: colour alone tells nobody anything. */
export function StateBadge({ state }: { state: string }) {
  return <Badge tone={TONES[state] ?? "quiet"}>{state}</Badge>;
}
