// Task types, schedules, the system and its audit log.
import { chanceOf } from "./chance.mjs";
import { HOSTILE, MESSAGES, TASKS, WORKERS } from "./shop.mjs";
import { rows } from "./tasks.mjs";

const STEPS = { "15m": [15, 60], "1h": [60, 60], "6h": [300, 72], "24h": [1200, 72], "3d": [3600, 72] };

function type([task, queue, seconds, failing, , errors], place) {
  const chance = chanceOf(place + 400);
  const isGone = task.startsWith("legacy.");
  const rate = isGone ? 0 : chance.about(6 / (1 + seconds));
  const received = Math.round(rate * 3600) + (isGone ? 40 : 0);
  const failed = Math.round(received * failing) + (isGone ? 12 : 0);
  const q = (middle) => ({ p50: middle, p95: middle * 3.1, p99: middle * 7.4, count: received });
  return {
    task,
    queues: place === 1 ? [queue, "payments-bulk"] : [queue],
    counts: {
      received,
      succeeded: received - failed,
      retried: failed * 3,
      failed,
      rejected: 0,
      revoked: 0,
      expired: 0,
      crashed: place === 6 ? 2 : 0,
      given_back: 0,
    },
    rate,
    wait: q(0.02 + place * 0.01),
    run: q(seconds),
    errors: errors.map((error, at) => {
      const count = Math.ceil(failed / (at + 1.4));
      const last_at = Date.now() / 1000 - 40 * (at + 1) * (place + 1);
      return {
        error,
        count,
        message: MESSAGES[error],
        last_at,
        example: (rows.find((row) => row.error === error) ?? rows[0]).id,
      };
    }),
    workers: isGone ? [] : WORKERS.slice(place % 3, (place % 3) + 2),
    is_registered: !isGone,
    spark: Array.from(
      { length: 30 },
      (_, at) => rate * (0.7 + 0.4 * Math.sin(at / 5 + place) ** 2 + chance.next() * 0.3),
    ),
  };
}

const page = (items) => ({ items, next: null, count: items.length, is_capped: false, note: "" });

export function types() {
  const strange = { ...type(TASKS[7], 9), task: HOSTILE, errors: [], is_registered: false, workers: [] };
  return page([...TASKS.map(type), strange]);
}

export function typeDetail(task, range) {
  const found = types().items.find((each) => each.task === task);
  if (!found) return null;
  const [step, length] = STEPS[range] ?? STEPS["1h"];
  const chance = chanceOf(task.length);
  const begin = Math.floor(Date.now() / 1000 / step) * step - step * length;
  const line = (middle) =>
    Array.from({ length }, (_, at) => middle * (0.8 + 0.3 * Math.sin(at / 7) + chance.next() * 0.25));
  const share = found.counts.received ? found.counts.failed / found.counts.received : 0;
  const series = {
    step,
    t: Array.from({ length }, (_, at) => begin + at * step),
    succeeded: line(found.rate),
    failed: line(found.rate * share),
    retried: line(found.rate * share * 3),
  };
  for (const kind of ["wait", "run"])
    for (const p of ["p50", "p95", "p99"]) series[`${kind}_${p}`] = line(found[kind][p]);
  return { type: found, series };
}

const day = 86_400;
const midnight = () => Math.floor(Date.now() / 1000 / day) * day;
const nexts = (first, step) => Array.from({ length: 5 }, (_, at) => first + at * step);
const schedules = [
  [
    "nightly-report",
    "shop.reports.build_monthly",
    "every day at 02:30",
    "Europe/Berlin",
    () => nexts(midnight() + day + 5400, day),
    "SUCCESS",
    "code",
    {},
  ],
  [
    "cancel-unpaid",
    "shop.orders.cancel_unpaid",
    "every 5 minutes",
    "UTC",
    () => nexts(Math.ceil(Date.now() / 300_000) * 300, 300),
    "SUCCESS",
    "code",
    { lateness: 0.04, sent: 8211 },
  ],
  [
    "sync-warehouses",
    "shop.stock.sync_warehouse",
    "at minute 10 and 40 past every hour from 6 to 22, Monday to Saturday",
    "America/New_York",
    () => nexts(Math.ceil(Date.now() / 1_800_000) * 1800 + 600, 1800),
    "FAILURE",
    "code",
    { missed: 3, lateness: 41.5 },
  ],
  [
    "partner-feed",
    "shop.webhooks.deliver",
    "every 30 seconds",
    "UTC",
    () => nexts(Math.ceil(Date.now() / 30_000) * 30, 30),
    "STARTED",
    "store",
    { skipped: 14, sent: 20_412 },
  ],
  [
    "sunset-lights",
    "shop.signs.switch_on",
    "at sunset in Hamburg",
    "Europe/Berlin",
    () => nexts(midnight() + 57_600, day),
    "SUCCESS",
    "store",
    { is_paused: true },
  ],
  [
    "black-friday",
    "shop.prices.apply",
    `once, on 2026-11-27 at 00:00 ${HOSTILE}`,
    "Europe/Berlin",
    () => [],
    "SUCCESS",
    "store",
    { sent: 1 },
  ],
].map(([name, task, timetable, zone, next, last_state, origin, more], place) => ({
  name,
  task,
  timetable,
  zone,
  is_paused: false,
  next,
  last_at: Date.now() / 1000 - 200 * (place + 1),
  last_task_id: rows[place * 7].id,
  last_state,
  sent: 312,
  missed: 0,
  skipped: 0,
  lateness: 0.2,
  origin,
  ...more,
}));

export function scheduleList() {
  return page(schedules.map((each) => ({ ...each, next: each.next() })));
}

export function changeSchedule(name, act) {
  const found = schedules.find((each) => each.name === name);
  if (!found) return null;
  if (act === "run") return { id: rows[2].id };
  found.is_paused = act === "pause";
  return { changed: true, count: 1 };
}

export function system() {
  const beat = (name, is_leader, at) => ({
    name,
    node: `${name}-1`,
    kind: "beat",
    host: name.split("@")[1],
    pid: 812,
    version: "0.7.0",
    app: "shop",
    started_at: Date.now() / 1000 - 91_000,
    at: Date.now() / 1000 - at,
    is_stopping: false,
    is_alive: at < 30,
    pool: "",
    processes: 1,
    slots: 0,
    queues: [],
    active: 0,
    held: 0,
    rss: 61e6,
    cpu_share: 0.01,
    load: 0.4,
    sampled: 1,
    dropped: 0,
    http: "",
    is_leader,
  });
  return {
    broker: {
      url: "redis://:***@redis.internal:6379/0",
      latency: 0.00061,
      version: "Redis 7.4.1",
      features: ["durable", "priorities", "delays", "atomic_settle", HOSTILE],
      error: "",
    },
    results: {
      url: "postgresql://shop:***@db.internal/shop",
      latency: 0.0012,
      version: "",
      is_shared: false,
      dead_letters: 1840,
      error: "",
    },
    history: {
      url: "postgresql://shop:***@db.internal/shop",
      size: 1_840_000_000,
      rows: 6_214_004,
      kept: 14 * day,
      error: "",
    },
    beats: [beat("beat@web-1", true, 0.6), beat("beat@web-2", false, 0.9)],
    config: [
      ["broker_url", "redis://:***@redis.internal:6379/0", "TASKBUS_BROKER_URL"],
      ["results_url", "postgresql://shop:***@db.internal/shop", "taskbus.toml, line 4"],
      ["concurrency", "8", "--concurrency"],
      ["task_time_limit", "300.0", "taskbus.toml, line 9"],
      ["max_retries", "5", "shop/app.py"],
      ["result_ttl", "86400.0", "default"],
      ["prefetch", "4", "default"],
      ["reports", "True", "default"],
      ["environment", "production", "TASKBUS_ENVIRONMENT"],
      ["timezone", HOSTILE, "taskbus.toml, line 12"],
    ].map(([name, value, origin]) => ({ name, value, origin })),
    remarks: [
      {
        weight: "risk",
        subject: "durability",
        text: "the broker writes to disk once a second (appendfsync everysec): a power failure may lose the last second",
        advice: "Set appendfsync always, or accept it.",
      },
      { weight: "fine", subject: "version", text: "Redis 7.4.1", advice: "" },
      {
        weight: "fine",
        subject: "durability",
        text: "PostgreSQL waits for its disk (synchronous_commit = on)",
        advice: "",
      },
    ],
    versions: { taskbus: "0.7.0", python: "3.13.1", kombu: "5.7.0", starlette: "1.10.0", sqlalchemy: "2.1.9" },
  };
}

export function audit(query) {
  const acts = [
    ["dlq.replay", "task:shop.webhooks.*", "at 50/s", 412],
    ["queue.pause", "payments", "", 1],
    ["task.revoke", rows[9].id, "terminate", 1],
    ["node.grow", "worker@web-1", "by 2", 1],
    ["schedule.run", "nightly-report", "", 1],
    ["dlq.purge", `text:"${HOSTILE}"`, "", 3],
  ];
  const all = Array.from({ length: 230 }, (_, place) => {
    const [action, target, detail, count] = acts[place % acts.length];
    return {
      at: Date.now() / 1000 - 90 - place * 1733,
      user: ["ada", "grace", "ci-bot"][place % 3],
      role: place % 3 ? "operator" : "admin",
      action,
      target,
      detail: `${place % 17 === 4 ? "refused: needs the role admin" : detail} from 10.0.4.17`.trim(),
      count: place % 17 === 4 ? 0 : count,
    };
  });
  const [from, limit] = [Number(query.get("after") || 0), Number(query.get("limit") || 100)];
  return {
    items: all.slice(from, from + limit),
    next: from + limit < all.length ? String(from + limit) : null,
    count: all.length,
    is_capped: false,
    note: "",
  };
}
