import assert from "node:assert/strict";
import { test } from "node:test";
import type { Series, Snapshot } from "../src/api";
import { alone, CLOCK_STEPS, extended } from "../src/series";

const flat = (value: number | null) => [value, value, value] as never[];

const SERIES: Series = {
  step: 5,
  t: [100, 105, 110],
  succeeded: flat(1),
  failed: flat(0),
  retried: flat(0),
  wait_p50: flat(null),
  wait_p95: flat(null),
  wait_p99: flat(null),
  run_p50: flat(0.1),
  run_p95: flat(0.2),
  run_p99: flat(0.3),
};

const at = (now: number, succeeded: number, p50: number | null = null): Snapshot => ({
  now,
  rates: { received: succeeded, succeeded, failed: 0, retried: 0 },
  wait: { p50, p95: p50, p99: p50, count: 1 },
});

test("snapshots after the history's end become steps, each the mean of its seconds", () => {
  const grown = extended(SERIES, [at(115.2, 10, 0.2), at(116.1, 20), at(121, 40, 0.4)]);
  assert.deepEqual(grown.t, [110, 115, 120]);
  assert.deepEqual(grown.succeeded, [1, 15, 40]);
  assert.deepEqual(grown.wait_p50, [null, 0.2, 0.4]);
  assert.deepEqual(grown.run_p50, [0.1, null, null]);
});

test("snapshots of the time that the history covers change nothing", () => {
  assert.equal(extended(SERIES, [at(104, 99), at(114.9, 99)]), SERIES);
});

test("no column is longer than the instants", () => {
  const grown = extended(SERIES, [at(200, 1), at(300, 2)]);
  for (const [name, column] of Object.entries(grown)) {
    if (Array.isArray(column)) assert.equal(column.length, grown.t.length, name);
  }
});

test("values that have none beside them are found, for a line draws nothing there", () => {
  assert.deepEqual(alone([]), []);
  assert.deepEqual(alone([1]), [0]);
  assert.deepEqual(alone([null, 2, undefined, 3, 4, null, 0]), [1, 6]);
});

test("durations are counted in growing steps, and none of them is odd", () => {
  assert.deepEqual(
    CLOCK_STEPS,
    [...CLOCK_STEPS].sort((a, b) => a - b),
  );
  for (const odd of [20, 50, 100, 200, 500, 1000]) assert.ok(!CLOCK_STEPS.includes(odd), String(odd));
});
