import assert from "node:assert/strict";
import { test } from "node:test";
import { draftOf, editedOf, wrongWith } from "../src/pages/task/arguments";
import { isPartial, readLiteral } from "../src/pages/task/literal";
import { callOf } from "../src/pages/tasks/columns";

test("Python's values are read as JSON's", () => {
  const cases: [string, unknown][] = [
    ["(481516,)", [481516]],
    ["()", []],
    ["[1, -2.5, 1e3, 1_000]", [1, -2.5, 1000, 1000]],
    ["(None, True, False)", [null, true, false]],
    [`{'locale': 'de', "n": {'a': [()]}}`, { locale: "de", n: { a: [[]] } }],
    [String.raw`('it\'s', 'tab\t', '\x41\u00e4\U0001f600')`, ["it's", "tab\t", "Aä😀"]],
    ['{"json": [true, null]}', { json: [true, null] }],
    ["('trailing', )", ["trailing"]],
  ];
  for (const [text, value] of cases) assert.deepEqual(readLiteral(text), value, text);
});

test("what JSON has no word for is not guessed", () => {
  const texts = [
    "(Decimal('1.5'),)",
    "(1, 2",
    "(1 2)",
    "<object at 0x7f>",
    "{1: 2}",
    "",
    "(1,) x",
    "{1, 2}",
    "b'x'",
    "(99999999999999999999,)",
  ];
  for (const text of [...texts, String.raw`'\xz'`, "(".repeat(100)]) assert.equal(readLiteral(text), undefined, text);
});

test("a key that is a name of objects' own is a key", () => {
  assert.deepEqual(Object.keys(readLiteral("{'__proto__': 1, 'constructor': 2}") as object), [
    "__proto__",
    "constructor",
  ]);
});

test("what was cut, or has its secrets taken out, is told", () => {
  assert.deepEqual(["('***',)", "('abc…',)", "(1, ...)", "(1,)"].map(isPartial), [true, true, true, false]);
  assert.equal(draftOf("(1,)", "{'token': '***'}").notes.length, 1);
});

test("arguments that cannot be read leave the field empty, and say so", () => {
  const draft = draftOf("(Decimal('1'),)", "{'a': 1}");
  assert.deepEqual([draft.args, JSON.parse(draft.kwargs), draft.notes.length], ["", { a: 1 }, 1]);
});

test("only what was changed is sent, so that a secret that is not shown stays what it was", () => {
  const draft = draftOf("(1,)", "{'token': '***'}");
  assert.deepEqual(editedOf(draft, draft.args, draft.kwargs), {});
  assert.deepEqual(editedOf(draft, "[2]", draft.kwargs), { args: [2] });
  assert.deepEqual(editedOf(draftOf("(Decimal('1'),)", "{}"), "", "{}"), {});
});

test("where the message is gone, all is sent, and the reader is told", () => {
  const draft = draftOf("(1,)", "{'a': 2}", true);
  assert.equal(draft.notes.length, 1);
  assert.deepEqual(editedOf(draft, draft.args, draft.kwargs, true), { args: [1], kwargs: { a: 2 } });
  assert.match(draftOf("('***',)", "{}", true).notes[0] ?? "", /put them back/);
});

test("an editor says what is wrong before anything is sent", () => {
  assert.equal(wrongWith("[1]", "array"), "");
  assert.equal(wrongWith("", "array"), "");
  assert.match(wrongWith("[1", "array"), /not JSON/);
  assert.match(wrongWith("{}", "array"), /array/);
  assert.match(wrongWith("null", "object"), /object/);
});

test("arguments are shown as one reads a call", () => {
  assert.equal(callOf({ args: "(1, 'a')", kwargs: "{}" }), "1, 'a'");
  assert.equal(callOf({ args: "(1,)", kwargs: "{'b': 2}" }), "1, {'b': 2}");
  assert.equal(callOf({ args: "()", kwargs: "{}" }), "");
});
