/** A small sign for each state, so that a graph can be read without its colours. */
import { stateWord } from "../../components/Badge";

const SIGNS: Record<string, string> = {
  SUCCESS: "M-4 0.5 L-1.2 3.5 L4.5 -3",
  FAILURE: "M-3.5 -3.5 L3.5 3.5 M3.5 -3.5 L-3.5 3.5",
  STARTED: "M-2.5 -4 L4 0 L-2.5 4 Z",
  READY: "M0 -4 V0.5 L3 2.5",
  WAITING: "M-4 0 H-3.9 M0 0 H0.1 M4 0 H4.1",
  REVOKED: "M-4 0 H4",
  SKIPPED: "M-4 -3.5 L0 0 L-4 3.5 M0.5 -3.5 L4.5 0 L0.5 3.5",
};

/** The sign of a state as a part of an SVG, its middle at (x, y). */
export function Mark({ state, x = 0, y = 0 }: { state: string; x?: number; y?: number }) {
  return (
    <g class={`mark-state mark-${stateWord(state)[1]}`} transform={`translate(${x} ${y})`}>
      <circle r="9" />
      <path d={SIGNS[state] ?? SIGNS.WAITING} />
    </g>
  );
}

/** The sign by itself, among text. */
export function Sign({ state }: { state: string }) {
  return (
    <svg class="sign" viewBox="-10 -10 20 20" width="18" height="18" aria-hidden="true" focusable="false">
      <Mark state={state} />
    </svg>
  );
}
