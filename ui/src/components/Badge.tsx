import type { ComponentChildren } from "preact";

export type Tone = "good" | "bad" | "warn" | "busy" | "quiet";

/** Words for states, by the names that tasks, workflows and jobs have for them. */
const STATES: Record<string, [word: string, tone: Tone]> = {
  PENDING: ["waiting", "quiet"],
  WAITING: ["waiting", "quiet"],
  READY: ["ready", "quiet"],
  STARTED: ["running", "busy"],
  RUNNING: ["running", "busy"],
  RETRY: ["retrying", "warn"],
  SUCCESS: ["succeeded", "good"],
  FAILURE: ["failed", "bad"],
  REJECTED: ["rejected", "bad"],
  CRASHED: ["crashed", "bad"],
  EXPIRED: ["expired", "warn"],
  REVOKED: ["revoked", "quiet"],
  SKIPPED: ["skipped", "quiet"],
  DONE: ["done", "good"],
  FAILED: ["failed", "bad"],
  CANCELLED: ["cancelled", "quiet"],
  REFUSED: ["refused", "warn"],
};

/** How a state is called on the page, and its tone; one that is not known is called as the server calls it. */
export function stateWord(state: string): [word: string, tone: Tone] {
  return STATES[state.toUpperCase()] ?? [state.toLowerCase(), "quiet"];
}

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
  const [word, tone] = stateWord(state);
  return <Badge tone={tone}>{word}</Badge>;
}
