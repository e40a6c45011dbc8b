import assert from "node:assert/strict";
import { test } from "node:test";
import { filterOf } from "../src/pages/dead-letters/Groups";
import { filtersOf, forEach } from "../src/pages/tasks/bulk";
import { exactly, letterKeys, taskKeys, terms, termValue, withTerm } from "../src/pages/tasks/filter";
import { dropView, keepView, savedViews } from "../src/pages/tasks/saved";

test("a filter is read as a shell would: quotes keep blanks, and may stand anywhere", () => {
  const told = terms(`state:FAILURE text:"no such \\"file\\"" args:'a b'c age<1h`).map((term) => [
    term.key,
    term.mark,
    term.value,
  ]);
  assert.deepEqual(told, [
    ["state", ":", "FAILURE"],
    ["text", ":", 'no such "file"'],
    ["args", ":", "a bc"],
    ["age", "<", "1h"],
  ]);
});

test("a quote that is not closed reaches to the end", () => {
  assert.equal(termValue('text:"still typing', "text"), "still typing");
});

test("a word without a key is no term of any key", () => {
  assert.deepEqual(terms("hello")[0], { key: "", mark: "", value: "hello", from: 0, to: 5 });
});

test("a term is set in its place, and the others stay as they were written", () => {
  assert.equal(withTerm("queue:a state:RETRY age<1h", "state", "FAILURE"), "queue:a state:FAILURE age<1h");
  assert.equal(withTerm("queue:a", "age", "15m", "<"), "queue:a age<15m");
  assert.equal(withTerm("age>1d", "age", "15m", "<"), "age>1d age<15m");
  assert.equal(withTerm("queue:a state:RETRY", "state", ""), "queue:a");
  assert.equal(withTerm("  ", "state", ""), "");
});

test("what is set can be read back, whatever is in it", () => {
  for (const value of ["a b", `it's "so"`, "back\\slash", "<img onerror=x>", "ä:b<c>"]) {
    assert.equal(termValue(withTerm("queue:x", "text", value), "text"), value);
    assert.equal(terms(withTerm("queue:x", "text", value)).length, 2, value);
  }
});

test("a group of dead letters becomes a filter beside what the filter says already", () => {
  const group = { task: "shop.pay", reason: "poison", error: "shop.Card Declined" };
  const where = filterOf("age<1d task:shop.*", group);
  assert.deepEqual(
    ["age", "task", "reason", "error"].map((key) => termValue(where, key, key === "age" ? "<" : ":")),
    ["1d", "shop.pay", "poison", "shop.Card Declined"],
  );
});

test("a name with the signs of patterns in it means itself", () => {
  assert.equal(exactly("shop.a*[b]?"), "shop.a[*][[]b][?]");
});

test("a filter for dead letters offers reasons, and none of what letters do not have", () => {
  const known = { tasks: ["a"], queues: [], workers: [], errors: [] };
  const offered = letterKeys(known).map((each) => each.key);
  assert.ok(offered.includes("reason:") && !offered.includes("ran>"));
  assert.deepEqual(taskKeys(known).find((each) => each.key === "task:")?.values, ["a"]);
});

test("ids become filters that are short enough, each id in one of them", () => {
  const ids = Array.from({ length: 300 }, (_, place) => `019a5991-a6a5-7b61-9004-${String(place).padStart(12, "0")}`);
  const filters = filtersOf(ids);
  assert.ok(filters.length > 1 && filters.every((filter) => filter.length <= 2048 && terms(filter).length <= 128));
  assert.deepEqual(
    filters.flatMap((filter) => terms(filter).map((term) => term.value)),
    ids,
  );
  assert.deepEqual(filtersOf([]), []);
});

test("an act on many goes on after a failure, a few at a time, and tells what went wrong", async () => {
  let under = 0;
  let most = 0;
  const act = async (id: string) => {
    under += 1;
    most = Math.max(most, under);
    await Promise.resolve();
    under -= 1;
    if (Number(id) % 10 === 0) throw new Error("it is gone");
  };
  const ids = Array.from({ length: 100 }, (_, place) => String(place));
  const outcome = await forEach(ids, act);
  assert.deepEqual([outcome.done, [...outcome.errors]], [90, [["it is gone", 10]]]);
  assert.ok(most > 1 && most <= 6);
});

test("an act on many can be stopped", async () => {
  const stop = new AbortController();
  const outcome = await forEach(
    ["a", "b", "c", "d", "e", "f", "g", "h", "i"],
    async () => stop.abort(),
    undefined,
    stop.signal,
  );
  assert.ok(outcome.done >= 1 && outcome.done < 9);
});

function storage(text: string | null) {
  const kept = new Map([["taskbus.views", text]]);
  return {
    getItem: (key: string) => kept.get(key) ?? null,
    setItem: (key: string, value: string) => void kept.set(key, value),
  };
}

test("views are kept by name, and what is none is passed over", () => {
  const kept = storage('[{"name": "b", "where": "x", "sort": "newest"}, {"name": 7}, null, "x"]');
  assert.deepEqual(
    savedViews(kept).map((view) => view.name),
    ["b"],
  );
  keepView(kept, { name: "a", where: "y", sort: "slowest" });
  keepView(kept, { name: "b", where: "z", sort: "newest" });
  assert.deepEqual(
    savedViews(kept).map((view) => view.where),
    ["y", "z"],
  );
  assert.deepEqual(
    dropView(kept, "a").map((view) => view.name),
    ["b"],
  );
});

test("storage that is broken or full keeps the page alive", () => {
  assert.deepEqual(savedViews(storage("{")), []);
  assert.deepEqual(savedViews(storage('{"name": "b"}')), []);
  const full = {
    getItem: () => null,
    setItem: () => {
      throw new Error("full");
    },
  };
  assert.equal(keepView(full, { name: "a", where: "", sort: "newest" }).length, 1);
});
