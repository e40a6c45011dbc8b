import assert from "node:assert/strict";
import { test } from "node:test";
import { evenScale, isUneven, linearScale, niceStep, spansOf, sums, type TimedAttempt } from "../src/pages/task/spans";

function attempt(number: number, given: Partial<TimedAttempt>): TimedAttempt {
  const none = {
    state: "RETRY",
    queued_at: null,
    started_at: null,
    ended_at: null,
    waited: null,
    ran_for: null,
    retry_in: null,
  };
  return { attempt: number, ...none, ...given };
}

const TWICE = [
  attempt(1, { queued_at: 100, started_at: 102, ended_at: 105, waited: 2, ran_for: 3, retry_in: 10 }),
  attempt(2, { state: "SUCCESS", queued_at: 105, started_at: 116, ended_at: 117, waited: 1, ran_for: 1 }),
];

test("an attempt is a wait, a run and a time held back, one after the other", () => {
  const told = spansOf(TWICE, 500).map(({ attempt, kind, from, to }) => [attempt, kind, from, to]);
  assert.deepEqual(told, [
    [1, "wait", 100, 102],
    [1, "run", 102, 105],
    [1, "backoff", 105, 115],
    [2, "wait", 115, 116],
    [2, "run", 116, 117],
  ]);
  assert.deepEqual(sums(spansOf(TWICE, 500)), { wait: 3, run: 4, backoff: 10 });
});

test("a wait that is not told begins no sooner than the time held back has ended", () => {
  const [first, second] = TWICE as [TimedAttempt, TimedAttempt];
  const waits = spansOf([first, { ...second, waited: null }], 500).filter((span) => span.kind === "wait");
  assert.deepEqual([waits[1]?.from, waits[1]?.to], [115, 116]);
});

test("what runs is open up to now", () => {
  const [span] = spansOf([attempt(1, { state: "STARTED", started_at: 100, waited: 0 })], 130);
  assert.deepEqual([span?.kind, span?.to, span?.isOpen], ["run", 130, true]);
});

test("a task that nobody has started waits up to now, by whatever clock it was sent", () => {
  const [span] = spansOf([attempt(1, { queued_at: 100 })], 130);
  assert.deepEqual([span?.kind, span?.from, span?.to, span?.isOpen], ["wait", 100, 130, true]);
  const [ahead] = spansOf([attempt(1, { queued_at: 140 })], 130);
  assert.deepEqual([ahead?.from, ahead?.to], [130, 130]);
});

test("a retry that is to come reaches into the future", () => {
  const spans = spansOf([attempt(1, { started_at: 100, ended_at: 101, waited: 0, ran_for: 1, retry_in: 60 })], 110);
  assert.deepEqual([spans[1]?.kind, spans[1]?.to, spans[1]?.isOpen], ["backoff", 161, true]);
});

test("an attempt that took no time is still a run", () => {
  const spans = spansOf([attempt(1, { started_at: 100, ended_at: 100, waited: 0, ran_for: 0 })], 110);
  assert.deepEqual(
    spans.map((span) => span.kind),
    ["run"],
  );
});

test("a scale runs from the first instant to the last", () => {
  const scale = linearScale([
    { from: 10, to: 20 },
    { from: 15, to: 30 },
  ]);
  assert.deepEqual([scale.at(10), scale.at(20), scale.at(30), scale.at(99)], [0, 50, 100, 100]);
  assert.deepEqual(
    scale.ticks.map((tick) => tick.offset),
    [0, 5, 10, 15, 20],
  );
});

test("a scale of one instant has a width", () => {
  const scale = linearScale([{ from: 10, to: 10 }]);
  assert.ok(scale.to > scale.from && Number.isFinite(scale.at(10)));
});

test("an even scale keeps the order, shows the shortest and lets the longest be the widest", () => {
  const spans = [
    { from: 0, to: 0.005 },
    { from: 0.005, to: 1 },
    { from: 1, to: 86_400 },
  ];
  const scale = evenScale(spans);
  const widths = spans.map((span) => scale.at(span.to) - scale.at(span.from));
  assert.ok(
    widths.every((width) => width > 1),
    `${widths}`,
  );
  assert.ok((widths[0] as number) < (widths[1] as number) && (widths[1] as number) < (widths[2] as number));
  assert.deepEqual([scale.at(0), scale.at(86_400)], [0, 100]);
  assert.ok(scale.at(0.5) > scale.at(0.005) && scale.at(0.5) < scale.at(1));
});

test("ticks of an even scale do not run into each other", () => {
  const points = Array.from({ length: 40 }, (_, place) => ({ from: place, to: place + 1 }));
  const ats = evenScale(points).ticks.map((tick) => tick.at);
  assert.ok(ats.slice(1).every((at, place) => at - (ats[place] as number) >= 12));
  assert.equal(ats.at(-1), 100);
});

test("bars that would hide each other are told", () => {
  assert.equal(isUneven(spansOf(TWICE, 500)), false);
  assert.equal(
    isUneven(spansOf([attempt(1, { started_at: 1000, ended_at: 1000.01, waited: 900, ran_for: 0.01 })], 0)),
    true,
  );
});

test("steps are those of clocks", () => {
  assert.deepEqual(
    [0.0003, 0.04, 0.9, 1.2, 11, 70, 4000, 100_000].map(niceStep),
    [0.0005, 0.05, 1, 2, 15, 120, 7200, 172_800],
  );
});
