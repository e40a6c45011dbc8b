/** Columns over time: what charts draw, and how the live stream goes on where the history ends. */

import type { Quantiles, Series, Snapshot } from "./api";
import type { ChartLine } from "./components/Chart";

type Column = Exclude<keyof Series, "step" | "t">;

const COLUMNS: Column[] = [
  "succeeded",
  "failed",
  "retried",
  "wait_p50",
  "wait_p95",
  "wait_p99",
  "run_p50",
  "run_p95",
  "run_p99",
];

function measured(snapshot: Snapshot, column: Column): number | null {
  if (column === "succeeded" || column === "failed" || column === "retried") return snapshot.rates?.[column] ?? 0;
  const [kind, quantile] = column.split("_") as ["wait" | "run", keyof Quantiles];
  return snapshot[kind]?.[quantile] ?? null;
}

function mean(values: (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null;
}

/**
 * `series` with a step for each time that the snapshots of `tail` fall into after its end, and as many fewer at its
 * start. Each new step is the mean of its snapshots.
 */
export function extended(series: Series, tail: Snapshot[]): Series {
  const end = (series.t.at(-1) ?? 0) + series.step;
  const steps = new Map<number, Snapshot[]>();
  for (const each of tail) {
    const t = Math.floor(each.now / series.step) * series.step;
    if (t >= end) steps.set(t, [...(steps.get(t) ?? []), each]);
  }
  if (!steps.size) return series;
  const grown: Series = { ...series, t: [...series.t, ...steps.keys()].slice(steps.size) };
  for (const column of COLUMNS) {
    const fresh = [...steps.values()].map((snapshots) => mean(snapshots.map((each) => measured(each, column))));
    (grown[column] as (number | null)[]) = [...series[column], ...fresh].slice(steps.size);
  }
  return grown;
}

export function rateLines(series: Series): ChartLine[] {
  return [
    { label: "Succeeded", colour: "green", values: series.succeeded, isFilled: true },
    { label: "Retried", colour: "amber", values: series.retried },
    { label: "Failed", colour: "red", values: series.failed },
  ];
}

export function timeLines(series: Series, kind: "wait" | "run"): ChartLine[] {
  return [
    { label: "p50", colour: "blue", values: series[`${kind}_p50`], isFilled: true },
    { label: "p95", colour: "violet", values: series[`${kind}_p95`] },
    { label: "p99", colour: "grey", values: series[`${kind}_p99`], isDashed: true },
  ];
}

/** Steps in which people count durations, in seconds. */
export const CLOCK_STEPS = [
  ...[-5, -4, -3, -2, -1, 0].flatMap((power) => [1, 2, 5].map((digit) => digit * 10 ** power)),
  ...[10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200],
  ...[1, 2, 5, 10, 20, 50, 100].map((days) => days * 86_400),
];

/** Where values stand that have none beside them: a line draws nothing there, so a point is. */
export function alone(values: ArrayLike<number | null | undefined>): number[] {
  const isThere = (at: number) => values[at] !== null && values[at] !== undefined;
  return Array.from({ length: values.length }, (_, at) => at).filter(
    (at) => isThere(at) && !isThere(at - 1) && !isThere(at + 1),
  );
}
