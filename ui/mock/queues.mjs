import { dice, fail, list, now, series } from "./base.mjs";
import { nodes, running } from "./workers.mjs";

const started = now();
const paused = new Set(["newsletters"]);
const purged = new Set();

// name, ready, delayed, held, age of the oldest, rate in, rate out, dead
const KNOWN = [
  ["default", 42, 310, 11, 1.4, 312, 311, 0],
  ["emails", 1840, 25, 8, 96, 74, 61, 12],
  ["payments", 3, 4, 2, 0.2, 18.4, 18.4, 4],
  ["thumbnails", 260, 0, 16, 8, 41, 43, 0],
  ["newsletters", 5200, 0, 0, 5400, 0, 0, 0],
  ["reports", 12, 9, 1, 30, 0.4, 0.35, 1],
  ["legacy-import", 87, 0, 0, 86400 * 2.2, 0, 0, 0],
];

export function queues(world) {
  if (world.isEmpty) return [];
  const at = now();
  const noise = dice(Math.floor(at));
  return KNOWN.map(([name, ready, delayed, held, age, rateIn, rateOut, dead]) => {
    const isOut = purged.has(name);
    const moved = paused.has(name) || !rateOut ? ready : Math.round(ready * (0.85 + noise() * 0.3));
    return {
      name,
      ready: isOut ? 0 : moved,
      delayed,
      held,
      oldest_at: isOut ? null : (age > 60 ? started : at) - age,
      is_paused: paused.has(name),
      workers: nodes(world).filter((node) => node.queues.includes(name) && node.is_alive).length,
      rate_in: rateIn * (0.9 + noise() * 0.2),
      rate_out: paused.has(name) ? 0 : rateOut * (0.9 + noise() * 0.2),
      dead,
    };
  });
}

function named(name, world) {
  const queue = queues(world).find((each) => each.name === name);
  if (!queue) throw fail(404, `There is no queue '${name}'.`, "A queue is known once a task was sent to it.");
  return queue;
}

const TASKS = ["shop.mail.send_receipt", "shop.mail.send_invoice", "shop.stock.sync", "shop.images.resize"];

function messages(queue) {
  const noise = dice(queue.name.length * 77);
  return Array.from({ length: Math.min(queue.ready + queue.delayed, 30) }, (_, i) => {
    const isDelayed = i >= queue.ready || i % 9 === 8;
    return {
      id: `0193b2c${(i * 7919 + 4096).toString(16).padStart(5, "0")}-7${i.toString(16).padStart(3, "0")}-8a1b-${Math.floor(
        noise() * 2 ** 44,
      )
        .toString(16)
        .padStart(12, "0")}`,
      task: TASKS[Math.floor(noise() * TASKS.length)],
      priority: i % 11 === 3 ? 9 : 0,
      attempt: isDelayed ? 2 : 1,
      sent_at: (queue.oldest_at ?? now()) + i * 0.7,
      due_at: isDelayed ? now() + 40 + i * 13 : null,
      args: `[${Math.floor(noise() * 90000 + 10000)}]`,
      kwargs: i % 3 ? "{}" : '{"template": "<b>receipt</b>", "locale": "de_DE"}',
      size: Math.floor(180 + noise() * 900),
      is_delayed: isDelayed,
    };
  });
}

const NO_VALUES = { p50: null, p95: null, p99: null, count: 0 };

function problems(world) {
  if (world.isEmpty) {
    return [
      {
        kind: "no_workers",
        severity: "error",
        text: "No worker is running.",
        advice: "Start one: taskbus worker -A shop.tasks:app",
        link: "workers",
      },
    ];
  }
  return [
    {
      kind: "no_consumer",
      severity: "error",
      text: "Nobody works on the queue legacy-import: 87 messages wait.",
      advice: "Start a worker with --queues legacy-import, or purge the queue.",
      link: "queues/legacy-import",
    },
    {
      kind: "old_messages",
      severity: "warning",
      text: "The oldest message of emails has waited 96 s.",
      advice: "Grow a worker's pool or start another worker.",
      link: "queues/emails",
    },
    {
      kind: "dead_letters",
      severity: "warning",
      text: "17 dead letters came in the last hour.",
      advice: "See what they have in common, then replay or delete them.",
      link: "dead-letters",
    },
  ];
}

const ZERO = {
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

function overview(range, world) {
  const full = series(range, world.isEmpty ? 0 : 410, 7);
  if (world.isEmpty)
    for (const [key, values] of Object.entries(full)) if (/_p/.test(key)) full[key] = values.map(() => null);
  const sum = (values) => Math.round(values.reduce((a, b) => a + b, 0) * full.step);
  const at = now();
  const failing = [
    ["shop.mail.send_receipt", 412, 48210, "smtplib.SMTPServerDisconnected", 4],
    ["shop.payments.capture", 61, 9120, "PaymentDeclined", 31],
    ["shop.images.resize", 44, 30411, "PIL.UnidentifiedImageError", 12],
    ["shop.search.reindex", 9, 120, "elasticsearch.ConnectionTimeout", 420],
    ["shop.stock.sync", 3, 190233, "KeyError", 600],
  ];
  const counts = { ...ZERO, succeeded: sum(full.succeeded), failed: sum(full.failed), retried: sum(full.retried) };
  counts.received = counts.succeeded + counts.failed + counts.retried;
  return {
    now: at,
    series: full,
    wait: world.isEmpty ? NO_VALUES : { p50: 0.021, p95: 0.084, p99: 0.24, count: counts.received },
    run: world.isEmpty ? NO_VALUES : { p50: 0.112, p95: 0.58, p99: 2.4, count: counts.received },
    counts,
    queues: queues(world),
    failing: world.isEmpty
      ? []
      : failing.map(([task, failed, total, error, ago]) => ({ task, failed, total, error, last_at: at - ago })),
    problems: problems(world),
    nodes: world.isEmpty
      ? { workers: 0, beats: 0, slots: 0, active: 0 }
      : { workers: 4, beats: 2, slots: 76, active: 43 },
    sampling: { one_of: world.isEmpty ? 1 : 10, dropped: 0 },
  };
}

export function snapshot(view, world) {
  const at = now();
  const noise = dice(Math.floor(at) + 5);
  const rate = world.isEmpty ? 0 : 410 * (1 + 0.35 * Math.sin(at / 100)) * (0.95 + noise() * 0.1);
  const parts = {
    now: at,
    rates: { received: rate * 1.02, succeeded: rate, failed: rate * 0.005, retried: rate * 0.013 },
    problems: problems(world),
    queues: queues(world),
  };
  if (view === "overview") {
    const moment = (p50, p95, p99) => (world.isEmpty ? NO_VALUES : { p50, p95, p99, count: Math.round(rate) });
    Object.assign(parts, {
      wait: moment(0.022 + noise() * 0.01, 0.07 + noise() * 0.05, 0.17 + noise() * 0.1),
      run: moment(0.11 + noise() * 0.02, 0.31 + noise() * 0.1, 0.52 + noise() * 0.2),
      nodes: nodes(world),
    });
  }
  if (view === "nodes") Object.assign(parts, { nodes: nodes(world), running: running(world) });
  return parts;
}

export const routes = [
  ["GET", /^overview$/, (_, query, __, world) => overview(query.get("range") ?? "15m", world)],
  ["GET", /^queues$/, (_, __, ___, world) => list(queues(world))],
  [
    "GET",
    /^queues\/([^/]+)$/,
    ([name], query, _, world) => {
      const queue = named(name, world);
      return {
        queue,
        series: series(query.get("range") ?? "15m", queue.rate_out, name.length),
        messages: messages(queue),
      };
    },
  ],
  [
    "POST",
    /^queues\/([^/]+)\/(pause|resume)$/,
    ([name, verb], _, __, world) => {
      named(name, world);
      const before = paused.has(name);
      if (verb === "pause") paused.add(name);
      else paused.delete(name);
      return { changed: before !== paused.has(name), count: 1 };
    },
  ],
  [
    "POST",
    /^queues\/([^/]+)\/purge$/,
    ([name], _, body, world) => {
      const queue = named(name, world);
      if (!body.dry_run) purged.add(name);
      return { changed: !body.dry_run, count: queue.ready + queue.delayed };
    },
  ],
];
