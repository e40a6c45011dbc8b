// A made-up shop: queues, workers and the figures that move, the same on every start.

export function list(items, more = {}) {
  return { items, next: null, count: items.length, is_capped: false, note: "", ...more };
}

export function fail(status, message, advice = "") {
  return Object.assign(new Error(message), { status, advice });
}

/** Numbers in [0, 1) that look random and are the same for the same seed. */
export function dice(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

export const now = () => Date.now() / 1000;

const STEPS = { "15m": 5, "1h": 20, "6h": 120, "24h": 300, "3d": 900 };
const SPANS = { "15m": 900, "1h": 3600, "6h": 21600, "24h": 86400, "3d": 259200 };

/** A Series of `range` around `rate` tasks a second; the seed makes it this queue's or that type's. */
export function series(range, rate, seed) {
  const step = STEPS[range] ?? 5;
  const span = SPANS[range] ?? 900;
  const end = Math.floor(now() / step) * step;
  const names = "succeeded failed retried wait_p50 wait_p95 wait_p99 run_p50 run_p95 run_p99".split(" ");
  const made = { step, t: [], ...Object.fromEntries(names.map((name) => [name, []])) };
  for (let t = end - span; t < end; t += step) {
    const noise = dice(Math.floor(t / step) * 31 + seed);
    const wave = 1 + 0.35 * Math.sin(t / (span / 9)) + 0.12 * Math.sin(t / (span / 40));
    const storm = Math.exp(-(((t - end + span * 0.3) / (span * 0.05)) ** 2));
    const total = Math.max(0, rate * wave * (0.9 + noise() * 0.2));
    made.t.push(t);
    made.succeeded.push(total * (1 - 0.16 * storm));
    made.failed.push(total * (0.004 + 0.12 * storm) * (0.5 + noise()));
    made.retried.push(total * (0.012 + 0.16 * storm) * (0.5 + noise()));
    const wait = (0.02 + 0.35 * storm + 0.02 * noise()) * wave;
    const run = (0.11 + 0.05 * storm + 0.02 * noise()) * wave;
    made.wait_p50.push(wait);
    made.wait_p95.push(wait * (3.2 + noise()));
    made.wait_p99.push(wait * (7 + 2 * noise()));
    made.run_p50.push(run);
    made.run_p95.push(run * (2.6 + noise()));
    made.run_p99.push(run * (4.4 + 2 * noise()));
  }
  return made;
}

export const routes = [
  [
    "GET",
    /^me$/,
    (_, __, ___, world) => ({
      user: "ada",
      role: world.flags.role,
      auth: "token",
      environment: world.flags.env,
      read_only: false,
      version: "0.9.0",
      app: "shop.tasks:app",
    }),
  ],
];
