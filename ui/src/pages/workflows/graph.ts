/**
 * A workflow as it is drawn: what is alike and plenty becomes one node with counts, so that a group of a thousand
 * members is as easy to read as one of three.
 */

import type { FlowNode } from "../../api";

export type Edge = readonly [from: string, to: string];

/** What is drawn in one place: a task, a join, or many tasks that are alike. */
export interface Drawn {
  id: string;
  label: string;
  kind: "task" | "join" | "many";
  state: string;
  /** By state, the most telling first. */
  counts: [state: string, count: number][];
  members: FlowNode[];
  started_at: number | null;
  ended_at: number | null;
  error: string;
}

export interface Graph {
  nodes: Drawn[];
  edges: Edge[];
}

/** More alike nodes than this become one. */
export const MANY = 50;

/** How often what tells nodes apart is looked for: a long chain of one task would need as many rounds as it has steps. */
const MAX_ROUNDS = 60;

/** States, those that most want to be looked at first. */
export const TELLING = ["FAILURE", "STARTED", "READY", "WAITING", "REVOKED", "SKIPPED", "SUCCESS"];

/**
 * The nodes to draw, and the edges between them.
 *
 * Nodes are alike if they call the same task and come after and before what is alike, and no group tells them apart.
 */
export function collapsed(nodes: readonly FlowNode[], edges: readonly Edge[]): Graph {
  const colours = nodes.length > MANY ? alike(nodes, edges) : nodes.map((_, place) => place);
  const classes = new Map<number, FlowNode[]>();
  for (const [place, node] of nodes.entries()) push(classes, colours[place] as number, node);
  const home = new Map<string, string>();
  const drawn: Drawn[] = [];
  for (const members of classes.values()) {
    const parts = members.length > MANY ? [members] : members.map((member) => [member]);
    for (const part of parts) {
      const one = draw(part);
      drawn.push(one);
      for (const member of part) home.set(member.id, one.id);
    }
  }
  const known = new Set<string>();
  const kept: Edge[] = [];
  for (const [from, to] of edges) {
    const [start, end] = [home.get(from), home.get(to)];
    if (start === undefined || end === undefined || start === end || known.has(`${start}\n${end}`)) continue;
    known.add(`${start}\n${end}`);
    kept.push([start, end]);
  }
  return { nodes: drawn, edges: kept };
}

/** How many nodes there are in each state, the most telling state first. */
export function countsOf(members: readonly { state: string }[]): [string, number][] {
  const counts = new Map<string, number>();
  for (const { state } of members) counts.set(state, (counts.get(state) ?? 0) + 1);
  return [...counts].sort(([a], [b]) => rank(a) - rank(b));
}

/** How many nodes that are tasks there are in each state: joins are not counted. */
export function tasksOf<N extends { task: string }>(nodes: readonly N[]): N[] {
  return nodes.filter((node) => node.task !== "");
}

/** The last part of a dotted name, and what stands before it. */
export function named(label: string): [module: string, name: string] {
  const dot = label.lastIndexOf(".");
  return /^[\w.]+$/.test(label) && dot > 0 ? [label.slice(0, dot), label.slice(dot + 1)] : ["", label];
}

function rank(state: string): number {
  const place = TELLING.indexOf(state);
  return place < 0 ? TELLING.length : place;
}

function draw(members: FlowNode[]): Drawn {
  const first = members[0] as FlowNode;
  const counts = countsOf(members);
  const isMany = members.length > 1;
  const ends = members.map((member) => member.ended_at);
  const starts = members.map((member) => member.started_at).filter((at): at is number => at !== null);
  return {
    id: isMany ? `many:${first.id}` : first.id,
    label: first.task || first.kind,
    kind: isMany ? "many" : first.task ? "task" : "join",
    state: counts[0]?.[0] ?? "WAITING",
    counts,
    members,
    started_at: starts.length ? starts.reduce((a, b) => Math.min(a, b)) : null,
    ended_at: ends.every((at): at is number => at !== null) ? ends.reduce((a, b) => Math.max(a, b), 0) : null,
    error: members.find((member) => member.error)?.error ?? "",
  };
}

/** A number for each node; those with the same one are alike. Refined until nothing more tells two of them apart. */
function alike(nodes: readonly FlowNode[], edges: readonly Edge[]): number[] {
  const places = new Map(nodes.map((node, place) => [node.id, place]));
  const before: number[][] = nodes.map(() => []);
  const after: number[][] = nodes.map(() => []);
  for (const [from, to] of edges) {
    const [start, end] = [places.get(from), places.get(to)];
    if (start === undefined || end === undefined) continue;
    (before[end] as number[]).push(start);
    (after[start] as number[]).push(end);
  }
  let colours = numbered(nodes.map((node) => `${node.task}\n${node.kind}\n${node.group}`));
  for (let round = 0; round < MAX_ROUNDS && largest(colours) > MANY; round += 1) {
    const told = (of: readonly number[]) => [...new Set(of.map((place) => colours[place]))].sort().join();
    const finer = numbered(nodes.map((_, at) => `${colours[at]}|${told(before[at] ?? [])}|${told(after[at] ?? [])}`));
    if (Math.max(...finer) === Math.max(...colours)) break;
    colours = finer;
  }
  return colours;
}

/** How many nodes have the number that most have. */
function largest(colours: readonly number[]): number {
  const counts = new Map<number, number>();
  for (const colour of colours) counts.set(colour, (counts.get(colour) ?? 0) + 1);
  return Math.max(...counts.values());
}

function numbered(words: string[]): number[] {
  const numbers = new Map<string, number>();
  return words.map((word) => {
    const number = numbers.get(word) ?? numbers.size;
    numbers.set(word, number);
    return number;
  });
}

function push<K, V>(lists: Map<K, V[]>, key: K, value: V): void {
  const list = lists.get(key);
  if (list) list.push(value);
  else lists.set(key, [value]);
}
