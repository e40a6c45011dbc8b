import assert from "node:assert/strict";
import { test } from "node:test";
import { renderToString } from "preact-render-to-string";
import type { Queue } from "../src/api";
import { suggest, wordStart } from "../src/components/FilterBar";
import { Json } from "../src/components/Json";
import { fit } from "../src/components/Palette";
import { drains, grows, QueueBadges } from "../src/components/queueCells";
import { lines, Traceback } from "../src/components/Traceback";
import { inside, term, to } from "../src/place";

const QUEUE: Queue = {
  name: "emails",
  ready: 100,
  delayed: 0,
  held: 0,
  oldest_at: 0,
  is_paused: false,
  workers: 1,
  rate_in: 5,
  rate_out: 10,
  dead: 0,
};

test("values with blanks and quotes are quoted as the server's filter reads them", () => {
  assert.equal(term("task", "shop.pay"), "task:shop.pay");
  assert.equal(term("task", "shop.*"), "task:shop.*");
  assert.equal(term("text", "no such file"), "text:'no such file'");
  assert.equal(term("text", "it's"), `text:'it'"'"'s'`);
  assert.equal(to("tasks", { where: "state:failed a&b" }), "/tasks?where=state%3Afailed+a%26b");
});

test("a problem's link never leads to another site", () => {
  assert.equal(inside("queues/emails"), "/queues/emails");
  assert.equal(inside("/queues/emails"), "/queues/emails");
  assert.deepEqual(["https://evil.example/", "//evil.example", "javascript:alert(1)"].map(inside), ["/", "/", "/"]);
});

test("what a task was given is shown as text, whatever it holds", () => {
  const hostile = '<img src=x onerror="alert(1)">';
  for (const shown of [
    renderToString(<Json value={{ [hostile]: [hostile] }} />),
    renderToString(<Json value={hostile} />),
    renderToString(<Traceback text={`ValueError: ${hostile}`} />),
  ]) {
    assert.ok(!shown.includes("<img"), shown);
    assert.ok(shown.includes("&lt;img"), shown);
  }
});

test("JSON in a text is read, and text that only looks like it is left alone", () => {
  assert.match(renderToString(<Json value='{"order": 17}' />), /json-key">order/);
  assert.match(renderToString(<Json value='{"order": 17, "it' />), /json-text/);
});

test("the library's frames and their code are told from the reader's own", () => {
  const read = lines(
    [
      "Traceback (most recent call last):",
      '  File "/srv/venv/lib/python3.12/site-packages/requests/api.py", line 59, in get',
      "    return request(url)",
      '  File "/srv/shop/mail.py", line 7, in send',
      "    raise ValueError(address)",
      "ValueError: nobody@",
    ].join("\n"),
  );
  assert.deepEqual(
    read.map((line) => line.kind),
    ["text", "frame", "code", "frame", "code", "error"],
  );
  assert.deepEqual(
    read.map((line) => line.isLibrary),
    [false, true, true, false, false, false],
  );
});

test("suggestions follow the word at the caret, and blanks inside quotes do not end it", () => {
  const keys = [
    { key: "state:", hint: "", values: ["failed", "retried"] },
    { key: "task:", hint: "", values: ["shop.pay", "a b"] },
  ];
  assert.equal(wordStart("state:failed ta", 15), 13);
  assert.equal(wordStart('text:"a b', 9), 0);
  assert.deepEqual(
    suggest("ta", keys).map((each) => each.text),
    ["task:"],
  );
  assert.deepEqual(
    suggest("state:r", keys).map((each) => each.text),
    ["state:retried"],
  );
  assert.deepEqual(
    suggest("task:b", keys).map((each) => each.text),
    ["task:'a b'"],
  );
});

test("the palette prefers the start of a word to its middle", () => {
  const order = ["xemail", "mail.send", "shop.mail", "m-a-i-l", "queue"].map((text) => fit(text, "mail"));
  assert.deepEqual(order, [2, 4, 3, 1, 0]);
});

test("a queue that shrinks says when it is empty, one that grows says so", () => {
  assert.equal(drains(QUEUE), 20);
  assert.equal(drains({ ...QUEUE, ready: 0 }), 0);
  assert.equal(drains({ ...QUEUE, rate_in: 12 }), null);
  assert.equal(grows({ ...QUEUE, rate_in: 12 }), true);
  assert.equal(grows({ ...QUEUE, rate_in: 10.2 }), false);
});

test("a queue that nobody takes from says so, in red if something waits", () => {
  assert.equal(renderToString(<QueueBadges queue={QUEUE} />), "");
  assert.match(renderToString(<QueueBadges queue={{ ...QUEUE, workers: 0 }} />), /badge-bad.*no consumer/);
  assert.match(renderToString(<QueueBadges queue={{ ...QUEUE, workers: 0, ready: 0 }} />), /badge-quiet.*no consumer/);
  assert.match(renderToString(<QueueBadges queue={{ ...QUEUE, is_paused: true }} />), /paused/);
});
