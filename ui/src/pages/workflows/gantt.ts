/** A workflow over time: a row for each node that was started, in the order in which they were. */

import { linearScale, type Scale } from "../task/spans";
import type { Drawn } from "./graph";

export interface Row {
  node: Drawn;
  from: number;
  to: number;
  isOpen: boolean;
}

export interface Gantt {
  rows: Row[];
  scale: Scale;
  /** Nodes that have not started, and so have no row. */
  waiting: number;
}

/** The rows, and their scale from the start of the first to the end of the last, or now. Joins run nothing: no row. */
export function ganttOf(nodes: readonly Drawn[], now: number): Gantt {
  const tasks = nodes.filter((node) => node.kind !== "join");
  const rows = tasks.flatMap((node): Row[] => {
    if (node.started_at === null) return [];
    const to = node.ended_at ?? now;
    return [{ node, from: node.started_at, to: Math.max(to, node.started_at), isOpen: node.ended_at === null }];
  });
  rows.sort((a, b) => a.from - b.from || a.to - b.to);
  const scale = linearScale(rows.length ? rows : [{ from: now, to: now + 1 }]);
  return { rows, scale, waiting: tasks.length - rows.length };
}
