import { dice, fail, list, now } from "./base.mjs";

const started = now();
const slots = { "worker-1@web-01": 16, "worker-2@web-02": 16, "mailer@web-02": 40, "reports@batch-01": 4 };
const stopping = new Set();

// name, host, pid, pool, queues, version, rss, cpu, age
const KNOWN = [
  ["worker-1@web-01", "web-01", 4121, "prefork", ["default", "payments"], "0.9.0", 812e6, 1.9, 86400 * 3],
  ["worker-2@web-02", "web-02", 771, "prefork", ["default", "payments", "thumbnails"], "0.9.0", 1.21e9, 3.4, 86400 * 3],
  ["mailer@web-02", "web-02", 790, "async", ["emails", "newsletters"], "0.9.0", 143e6, 0.42, 3600 * 5],
  ["reports@batch-01", "batch-01", 15, "threads", ["reports"], "0.8.4", 402e6, 0.08, 86400 * 21],
];

export function nodes(world) {
  if (world.isEmpty) return [];
  const at = now();
  const noise = dice(Math.floor(at) + 99);
  const workers = KNOWN.map(([name, host, pid, pool, queues, version, rss, cpu, age]) => ({
    name,
    node: `${name}-${pid}`,
    kind: "worker",
    host,
    pid,
    version,
    app: "shop.tasks:app",
    started_at: started - age,
    at: name.startsWith("reports") ? started - 70 : at - noise(),
    is_stopping: stopping.has(name),
    is_alive: !name.startsWith("reports") || at - started < 0,
    pool,
    processes: pool === "prefork" ? slots[name] : 1,
    slots: slots[name],
    queues,
    active: Math.min(slots[name], Math.round(slots[name] * (0.35 + noise() * 0.5))),
    held: Math.round(noise() * 6),
    rss: rss * (0.97 + noise() * 0.06),
    cpu_share: cpu * (0.85 + noise() * 0.3),
    load: 1.2 + noise(),
    sampled: 10,
    dropped: 0,
    http: "",
    is_leader: false,
  }));
  const beat = {
    ...workers[0],
    name: "beat@web-01",
    node: "beat@web-01-4200",
    kind: "beat",
    pid: 4200,
    pool: "",
    processes: 0,
    slots: 0,
    queues: [],
    active: 0,
    held: 0,
    rss: 61e6,
    cpu_share: 0.01,
    is_leader: true,
  };
  return [...workers, beat];
}

const RUNNING = [
  ["shop.reports.monthly", "reports", "worker-2@web-02", 190, [6120, 9000, "invoices of November"]],
  ["shop.images.resize", "thumbnails", "worker-2@web-02", 4, null],
  ["shop.catalog.import_feed", "default", "worker-1@web-01", 812, [48, 60, "supplier 48 of 60"]],
  ["shop.payments.capture", "payments", "worker-1@web-01", 0.8, null],
  ["shop.mail.send_receipt", "emails", "mailer@web-02", 2.2, null],
  ["shop.mail.send_newsletter", "newsletters", "mailer@web-02", 61, [8800, 0, ""]],
];

export function running(world) {
  if (world.isEmpty) return [];
  return RUNNING.map(([task, queue, worker, age, progress], i) => ({
    id: `0193b2d0-11a${i}-7000-9c55-5d0f6a7b8c9${i}`,
    task,
    queue,
    attempt: i === 4 ? 2 : 1,
    since: (age > 60 ? started : now()) - age,
    worker,
    pid: 5000 + i * 3,
    progress: progress && { done: progress[0], total: progress[1], note: progress[2], at: now() - 1 },
    flow: "",
  }));
}

function named(name, world) {
  const node = nodes(world).find((each) => each.name === name);
  if (!node) throw fail(404, `There is no worker '${name}'.`, "It may have left; see the list of workers.");
  return node;
}

const TASKS = [
  "shop.catalog.import_feed",
  "shop.images.resize",
  "shop.mail.send_newsletter",
  "shop.mail.send_receipt",
  "shop.payments.capture",
  "shop.payments.refund",
  "shop.reports.monthly",
  "shop.search.reindex",
  "shop.stock.sync",
];
const limits = { "shop.payments.capture": "50/s" };

export const routes = [
  ["GET", /^nodes$/, (_, __, ___, world) => list(nodes(world))],
  [
    "GET",
    /^nodes\/([^/]+)$/,
    ([name], _, __, world) => {
      const node = named(name, world);
      return {
        node,
        running: running(world).filter((each) => each.worker === name),
        tasks: TASKS,
        runners: Array.from({ length: node.processes }, (_, i) => ({ pid: 5000 + i * 3, rss: 48e6 + i * 3.1e6 })),
        limits,
      };
    },
  ],
  [
    "POST",
    /^nodes\/([^/]+)\/(grow|shrink|stop|limit|add_queue|cancel_queue|ask)$/,
    ([name, verb], _, body, world) => {
      const node = named(name, world);
      if (!node.is_alive) throw fail(504, `${name} does not answer.`, "It was last seen a while ago; see its log.");
      if (verb === "grow") slots[name] += body.n;
      if (verb === "shrink") {
        if (slots[name] - body.n < 1) return { error: `the pool has ${slots[name]} slots; at least one must stay` };
        slots[name] -= body.n;
      }
      if (verb === "stop") stopping.add(name);
      if (verb === "limit") {
        if (body.rate && body.rate !== "0") limits[body.task] = body.rate;
        else delete limits[body.task];
      }
      const known = KNOWN.find((each) => each[0] === name)?.[4];
      if (verb === "add_queue") known?.push(body.queue);
      if (verb === "cancel_queue") known?.splice(known.indexOf(body.queue), 1);
      return { ok: "done" };
    },
  ],
];
