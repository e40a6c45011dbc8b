import assert from "node:assert/strict";
import { test } from "node:test";
import type { Counts, ErrorGroup, Running } from "../src/api";
import { stateWord } from "../src/components/Badge";
import { sightOf } from "../src/components/windowing";
import { inZone, isSameTime, zoneName } from "../src/pages/schedules/zoned";
import { traceId } from "../src/pages/task/Relations";
import { matching } from "../src/pages/tasks/Running";
import { endedOf, failureShare, worstOf } from "../src/pages/types/shares";

const NONE: Counts = {
  received: 0,
  succeeded: 0,
  retried: 0,
  failed: 0,
  rejected: 0,
  revoked: 0,
  expired: 0,
  crashed: 0,
  given_back: 0,
};

test("a time is what clocks in its zone show, before and after they are changed", () => {
  const summer = Date.UTC(2026, 9, 25, 0, 30) / 1000;
  assert.equal(inZone(summer, "Europe/Berlin"), "Sun 25 Oct, 02:30");
  assert.equal(inZone(summer + 3600, "Europe/Berlin"), "Sun 25 Oct, 02:30");
  assert.notEqual(zoneName(summer, "Europe/Berlin"), zoneName(summer + 3600, "Europe/Berlin"));
  assert.equal(inZone(summer + 5, "UTC"), "Sun 25 Oct, 00:30:05");
});

test("a zone that the browser does not know is UTC", () => {
  assert.equal(inZone(0, "Mars/Olympus"), "Thu 1 Jan, 00:00");
  assert.equal(inZone(0, ""), "Thu 1 Jan, 00:00");
  assert.ok(isSameTime(0, "UTC", "Africa/Abidjan") && !isSameTime(0, "UTC", "Asia/Tokyo"));
});

test("the share of failures leaves out retries and what was called off", () => {
  assert.equal(failureShare(NONE), null);
  assert.equal(
    failureShare({ ...NONE, succeeded: 90, failed: 8, rejected: 1, expired: 1, retried: 500, revoked: 7 }),
    0.1,
  );
  assert.equal(endedOf({ ...NONE, succeeded: 1, crashed: 2, received: 9 }), 3);
});

test("the worst error is the most frequent", () => {
  const error = (name: string, count: number): ErrorGroup => ({
    error: name,
    count,
    message: "",
    last_at: 0,
    example: "",
  });
  assert.equal(worstOf({ errors: [error("a", 2), error("b", 5), error("c", 5)] })?.error, "b");
  assert.equal(worstOf({ errors: [] }), null);
});

test("states are told by the names that tasks, workflows and jobs have for them", () => {
  assert.deepEqual(
    ["SUCCESS", "failure", "done", "Strange"].map((state) => stateWord(state)),
    [
      ["succeeded", "good"],
      ["failed", "bad"],
      ["done", "good"],
      ["strange", "quiet"],
    ],
  );
});

test("running attempts are narrowed by what can be asked of them, the longest first", () => {
  const running = (id: string, task: string, since: number): Running => {
    return { id, task, queue: "q", attempt: 1, since, worker: "w@h", pid: 1, progress: null, flow: "" };
  };
  const all = [running("1", "shop.mail.send", 5), running("2", "shop.pay", 3), running("3", "shop.mail.sort", 1)];
  assert.deepEqual(
    matching(all, "task:shop.mail.* age<1h state:FAILURE").map((each) => each.id),
    ["3", "1"],
  );
  assert.deepEqual(matching(all, "queue:other"), []);
  assert.deepEqual(matching(all, "task:(").length, 0);
  assert.equal(matching(all, "").length, 3);
});

test("a long table draws what is in sight and some around it", () => {
  assert.deepEqual(sightOf(100, 50, 0, 900), { from: 0, to: 100, height: 50 });
  const top = sightOf(5000, 50, 0, 900);
  assert.ok(top.from === 0 && top.to < 120);
  for (const above of [50 * 1000, 50 * 2500, 50 * 4999]) {
    const { from, to } = sightOf(5000, 50, above, 900);
    assert.ok(from <= above / 50 && to >= Math.min(5000, (above + 900) / 50) && to - from < 150, `${from} ${to}`);
  }
  assert.ok(sightOf(5000, 50, 1e9, 900).to === 5000);
});

test("the id of a trace is found in a traceparent", () => {
  assert.equal(traceId("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"), "4bf92f3577b34da6a3ce929d0e0e4736");
  assert.equal(traceId("abc"), "abc");
});
