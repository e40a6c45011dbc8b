/**
 * The filter language as far as the page must read it: to say what it knows, to set a term, to take one away.
 * What a filter means, and whether it is one, the server decides.
 */

import type { FilterKey } from "../../components/FilterBar";
import { term } from "../../place";

export interface Term {
  key: string;
  mark: ":" | "<" | ">" | "";
  value: string;
  /** Where it stands in the text: from the first character up to before `to`. */
  from: number;
  to: number;
}

export const STATES = ["FAILURE", "SUCCESS", "RETRY", "REVOKED", "EXPIRED", "REJECTED", "STARTED", "PENDING"];
const SPOKEN: Record<string, string> = {
  FAILED: "FAILURE",
  SUCCEEDED: "SUCCESS",
  RETRIED: "RETRY",
  RETRYING: "RETRY",
  RUNNING: "STARTED",
  WAITING: "PENDING",
};

/** The state that a filter asks for, by the server's name for it; "" for all. The server reads the same words. */
export function stateOf(where: string): string {
  const said = termValue(where, "state").toUpperCase();
  return SPOKEN[said] ?? said;
}

export const REASONS = [
  "retries_exhausted",
  "not_retryable",
  "rejected",
  "time_limit",
  "poison",
  "expired",
  "unknown_task",
  "bad_arguments",
  "bad_result",
  "undecodable",
  "too_large",
];

const DURATIONS = ["15m", "1h", "6h", "1d", "7d"];
const SHORT = ["100ms", "1s", "10s", "1m", "10m"];

/** Names that the server knows of, to be suggested. */
export interface Known {
  tasks: string[];
  queues: string[];
  workers: string[];
  errors: string[];
}

/** What may stand in a filter for tasks, in the order in which it is suggested. */
export function taskKeys(known: Known): FilterKey[] {
  return [
    { key: "state:", hint: "how it ended", values: STATES },
    { key: "task:", hint: "its name; * stands for anything", values: known.tasks },
    { key: "queue:", hint: "the queue it came from", values: known.queues },
    { key: "worker:", hint: "the worker that ran it", values: known.workers },
    { key: "error:", hint: "class of the error", values: known.errors },
    { key: "text:", hint: "words in the error's message or traceback" },
    { key: "args:", hint: "words in the arguments" },
    { key: "id:", hint: "a task's id; may stand several times" },
    { key: "age<", hint: "not older than", values: DURATIONS },
    { key: "age>", hint: "older than", values: DURATIONS },
    { key: "time>=", hint: "from then on: 2026-11-28T10:00, by UTC" },
    { key: "time<", hint: "before then: a date, or one with a time" },
    { key: "ran>", hint: "ran longer than", values: SHORT },
    { key: "waited>", hint: "waited longer than", values: SHORT },
    { key: "reason:", hint: "why it was given up", values: REASONS },
    { key: "parent:", hint: "the task that sent it" },
    { key: "flow:", hint: "the workflow it belongs to" },
    { key: "schedule:", hint: "the schedule that sent it" },
  ];
}

/** What may stand in a filter for dead letters. */
export function letterKeys(known: Known): FilterKey[] {
  const shared = ["reason:", "task:", "queue:", "error:", "text:", "id:", "age<", "age>", "time>=", "time<"];
  return taskKeys(known).filter((each) => shared.includes(each.key));
}

/** The terms of a filter, in their order. Quotes may hold blanks; one that is not closed reaches to the end. */
export function terms(text: string): Term[] {
  const found: Term[] = [];
  let at = 0;
  while (at < text.length) {
    if (isBlank(text[at])) {
      at += 1;
      continue;
    }
    const from = at;
    let word = "";
    let quote = "";
    for (; at < text.length && (quote || !isBlank(text[at])); at += 1) {
      const letter = text[at] as string;
      if (letter === "\\" && quote !== "'" && at + 1 < text.length) {
        at += 1;
        word += text[at];
      } else if (quote) {
        if (letter === quote) quote = "";
        else word += letter;
      } else if (letter === '"' || letter === "'") {
        quote = letter;
      } else {
        word += letter;
      }
    }
    found.push({ ...split(word), from, to: at });
  }
  return found;
}

/** What a filter says for a key, or "" if nothing. */
export function termValue(text: string, key: string, mark: Term["mark"] = ":"): string {
  return terms(text).find((each) => each.key === key && each.mark === mark)?.value ?? "";
}

/** The filter with one value for a key, in the place of what it said before; an empty value takes the term away. */
export function withTerm(text: string, key: string, value: string, mark: Term["mark"] = ":"): string {
  const wanted = value ? term(key, value).replace(":", mark) : "";
  const old = terms(text).filter((each) => each.key === key && each.mark === mark);
  let changed = text;
  for (const each of [...old].reverse()) {
    changed = `${changed.slice(0, each.from)}${each === old[0] ? wanted : ""}${changed.slice(each.to)}`;
  }
  if (!old.length && wanted) changed = `${changed.trimEnd()} ${wanted}`;
  return tidied(changed);
}

function split(word: string): Pick<Term, "key" | "mark" | "value"> {
  const match = /^([A-Za-z_]+)([:<>])([\s\S]*)$/.exec(word);
  if (!match) return { key: "", mark: "", value: word };
  return { key: (match[1] as string).toLowerCase(), mark: match[2] as Term["mark"], value: match[3] as string };
}

function isBlank(letter: string | undefined): boolean {
  return letter === undefined || /\s/.test(letter);
}

function tidied(text: string): string {
  return terms(text)
    .map((each) => text.slice(each.from, each.to))
    .join(" ");
}

/** A pattern that means this name and no other. */
export function exactly(name: string): string {
  return name.replace(/[*?[]/g, "[$&]");
}
