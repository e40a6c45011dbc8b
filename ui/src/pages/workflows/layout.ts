/** Where the nodes of a workflow are drawn: by dagre where they are few, in plain columns where they are many. */

import { layout as arrange, Graph as Dagre } from "@dagrejs/dagre";
import type { Drawn, Edge, Graph } from "./graph";

export interface Point {
  x: number;
  y: number;
}

/** `x` and `y`: the middle. */
export interface Placed extends Point {
  node: Drawn;
  width: number;
  height: number;
}

export interface Picture {
  width: number;
  height: number;
  nodes: Placed[];
  edges: { from: string; to: string; path: string }[];
}

/** Beyond this dagre takes seconds, and a chain of two thousand steps is deeper than its recursion can go. */
export const DAGRE_MOST = 150;

export const SIZES: Record<Drawn["kind"], { width: number; height: number }> = {
  task: { width: 208, height: 52 },
  many: { width: 224, height: 72 },
  join: { width: 96, height: 28 },
};
const GAP = { inRank: 18, ranks: 56, margin: 24 };

/** The picture of a graph, from left to right. Edges to nodes that are not there are left out. */
export function pictured(graph: Graph): Picture {
  const known = new Set(graph.nodes.map((node) => node.id));
  const edges = graph.edges.filter(([from, to]) => known.has(from) && known.has(to));
  if (!graph.nodes.length) return { width: 0, height: 0, nodes: [], edges: [] };
  return graph.nodes.length <= DAGRE_MOST ? byDagre(graph.nodes, edges) : inColumns(graph.nodes, edges);
}

/** The node one comes to from another with an arrow key: the nearest that lies in that direction, or null. */
export function neighbour(placed: readonly Placed[], from: string, key: string): string | null {
  const start = placed.find((each) => each.node.id === from);
  const way = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] }[key];
  if (!start || !way) return null;
  const [right, down] = way as [number, number];
  let best: string | null = null;
  let least = Number.POSITIVE_INFINITY;
  for (const each of placed) {
    const [dx, dy] = [each.x - start.x, each.y - start.y];
    const ahead = dx * right + dy * down;
    const aside = Math.abs(dx * down) + Math.abs(dy * right);
    // What lies off the way counts more: the arrow to the right stays in its line while there is something there.
    if (ahead > 1 && ahead + aside * 3 < least) [best, least] = [each.node.id, ahead + aside * 3];
  }
  return best;
}

/** Those that a window onto the picture shows, a little more around it. */
export function inSight(placed: readonly Placed[], from: Point, to: Point, margin = 120): Placed[] {
  return placed.filter(
    (each) =>
      each.x + each.width / 2 >= from.x - margin &&
      each.x - each.width / 2 <= to.x + margin &&
      each.y + each.height / 2 >= from.y - margin &&
      each.y - each.height / 2 <= to.y + margin,
  );
}

function byDagre(nodes: readonly Drawn[], edges: readonly Edge[]): Picture {
  const graph = new Dagre();
  graph.setGraph({ rankdir: "LR", nodesep: GAP.inRank, ranksep: GAP.ranks, marginx: GAP.margin, marginy: GAP.margin });
  graph.setDefaultEdgeLabel(() => ({}));
  for (const node of nodes) graph.setNode(node.id, { ...SIZES[node.kind] });
  for (const [from, to] of edges) graph.setEdge(from, to);
  arrange(graph);
  const placed = nodes.map((node) => {
    const { x, y } = graph.node(node.id) as Point;
    return { node, x, y, ...SIZES[node.kind] };
  });
  const byId = new Map(placed.map((each) => [each.node.id, each]));
  const drawn = edges.map(([from, to]) => {
    const [start, end] = [byId.get(from) as Placed, byId.get(to) as Placed];
    const bends = (graph.edge(from, to) as { points: Point[] }).points.slice(1, -1);
    // From the middle of one side to the middle of the other, not where dagre's line happens to cross the border.
    return { from, to, path: through(outOf(start), bends, into(end)) };
  });
  const { width = 0, height = 0 } = graph.graph() as { width?: number; height?: number };
  return { width, height, nodes: placed, edges: drawn };
}

/** Each node one column right of the last that it comes after, beside those that it comes after where there is room. */
function inColumns(nodes: readonly Drawn[], edges: readonly Edge[]): Picture {
  const before = new Map<string, string[]>(nodes.map((node) => [node.id, []]));
  const after = new Map<string, string[]>(nodes.map((node) => [node.id, []]));
  for (const [from, to] of edges) {
    before.get(to)?.push(from);
    after.get(from)?.push(to);
  }
  const columns = ranked(nodes, before, after);
  const rows = new Map<string, number>();
  const spread = { x: SIZES.many.width + GAP.ranks, y: SIZES.many.height + GAP.inRank };
  const placed = new Map<string, Placed>();
  for (const [column, members] of columns.entries()) {
    const wish = (node: Drawn) => mean((before.get(node.id) ?? []).map((id) => rows.get(id) ?? 0));
    for (const [row, node] of [...members].sort((a, b) => wish(a) - wish(b)).entries()) {
      rows.set(node.id, row - members.length / 2);
      const y = GAP.margin + spread.y * (row + 0.5 + (tallest(columns) - members.length) / 2);
      const x = GAP.margin + spread.x * column + SIZES.many.width / 2;
      placed.set(node.id, { node, x, y, ...SIZES[node.kind] });
    }
  }
  return {
    width: GAP.margin * 2 + spread.x * columns.length - GAP.ranks,
    height: GAP.margin * 2 + spread.y * tallest(columns),
    nodes: [...placed.values()],
    edges: edges.map(([from, to]) => ({
      from,
      to,
      path: through(outOf(placed.get(from) as Placed), [], into(placed.get(to) as Placed)),
    })),
  };
}

/** Nodes by the length of the longest way to them; those on a circle come last. */
function ranked(nodes: readonly Drawn[], before: Map<string, string[]>, after: Map<string, string[]>): Drawn[][] {
  const left = new Map(nodes.map((node) => [node.id, before.get(node.id)?.length ?? 0]));
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const columns: Drawn[][] = [];
  let ready = nodes.filter((node) => left.get(node.id) === 0);
  while (ready.length) {
    columns.push(ready);
    const next: Drawn[] = [];
    for (const { id } of ready) {
      left.delete(id);
      for (const follower of after.get(id) ?? []) {
        const waits = (left.get(follower) ?? 0) - 1;
        left.set(follower, waits);
        if (waits === 0) next.push(byId.get(follower) as Drawn);
      }
    }
    ready = next;
  }
  const circular = nodes.filter((node) => left.has(node.id));
  return circular.length ? [...columns, circular] : columns;
}

function tallest(columns: readonly Drawn[][]): number {
  return columns.reduce((most, column) => Math.max(most, column.length), 0);
}

function mean(values: readonly number[]): number {
  return values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : 0;
}

function outOf(place: Placed): Point {
  return { x: place.x + place.width / 2, y: place.y };
}

function into(place: Placed): Point {
  return { x: place.x - place.width / 2, y: place.y };
}

/** A path that leaves and arrives level, and passes through the bends; those close to either end are left out. */
function through(start: Point, bends: readonly Point[], end: Point): string {
  const kept = bends.filter((bend) => bend.x > start.x + GAP.ranks && bend.x < end.x - GAP.ranks);
  let path = `M${round(start)}`;
  let from = start;
  for (const to of [...kept, end]) {
    const middle = (from.x + to.x) / 2;
    path += `C${round({ x: middle, y: from.y })} ${round({ x: middle, y: to.y })} ${round(to)}`;
    from = to;
  }
  return path;
}

function round({ x, y }: Point): string {
  return `${Math.round(x * 10) / 10},${Math.round(y * 10) / 10}`;
}
