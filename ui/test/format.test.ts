import assert from "node:assert/strict";
import { test } from "node:test";
import { bytes, count, duration, grouped, instant, percent, rate, relative, short } from "../src/format";

const plain = (text: string) => text.replaceAll("\u202f", " ");

test("durations take the unit that reads best, and round into the next one", () => {
  const written = [null, 0, 0.00042, 0.0042, 0.112, 0.9994, 0.9996, 1.239, 12.34, 59.99, 184, 3600, 7500, 93_600].map(
    duration,
  );
  assert.deepEqual(written, [
    "–",
    "0 s",
    "0.4 ms",
    "4.2 ms",
    "112 ms",
    "999 ms",
    "1.00 s",
    "1.24 s",
    "12.3 s",
    "60.0 s",
    "3 min 4 s",
    "1 h",
    "2 h 5 min",
    "1 d 2 h",
  ]);
});

test("large counts are short, exact ones keep every digit", () => {
  assert.deepEqual([7, 9999, 10_000, 999_499, 1_234_567].map(count).map(plain), [
    "7",
    "9 999",
    "10.0 k",
    "999 k",
    "1.2 M",
  ]);
  assert.deepEqual([0, 1234, 1_234_567, 0.125, 1234.5].map(grouped).map(plain), [
    "0",
    "1 234",
    "1 234 567",
    "0.13",
    "1 234.5",
  ]);
});

test("a rate that is not nothing never reads as nothing", () => {
  assert.deepEqual([0, 0.001, 0.25, 3, 3.14, 410.4].map(rate), ["0", "<0.01", "0.25", "3", "3.1", "410"]);
  assert.equal(percent(0.00002), "<0.1 %");
});

test("instants are told from now, on both sides of it", () => {
  const told = [1000, 988, 820, -6200, 1010, 1180].map((at) => relative(at, 1000));
  assert.deepEqual(told, ["just now", "12 s ago", "3 min ago", "2 h ago", "in 10 s", "in 3 min"]);
  assert.match(instant(1_700_000_000.123), /^2023-11-1[45] \d\d:\d\d:20\.123$/);
});

test("sizes and ids fit into a cell", () => {
  assert.deepEqual([0, 512, 3400, 999_600, 1_210_000_000].map(bytes), ["0 B", "512 B", "3.4 kB", "1.0 MB", "1.2 GB"]);
  assert.equal(short("0193b2d0-11a0-7000-9c55-5d0f6a7b8c90"), "…6a7b8c90");
  assert.equal(short("order-17"), "order-17");
});
