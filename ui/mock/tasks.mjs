// Tasks that ended, of the last day: rows for the list, and the whole story of one.
import { chanceOf } from "./chance.mjs";
import { HOSTILE, MESSAGES, TASKS, traceback, WORKERS } from "./shop.mjs";

const ROWS = 12_000;
const CAP = 10_000;
const started = Date.now() / 1000;
const made = new Map();

export const rows = Array.from({ length: ROWS }, (_, place) => row(place));
for (const each of rows) made.set(each.id, each);

function row(place) {
  const chance = chanceOf(7919 * place + 13);
  const [task, queue, seconds, failing, call, errors] =
    place % 97 === 0 ? TASKS[8] : TASKS[Math.floor(chance.next() ** 1.5 * 8)];
  const [args, kwargs] = call(chance);
  const [hasFailed, isRetry] = [chance.next() < failing * 2, chance.next() < 0.5];
  const error = hasFailed ? chance.one(errors) : "";
  const waited = chance.about(queue === "reports" ? 40 : 0.08);
  const ran_for = error === "TimeoutError" ? 10 + chance.next() * 0.02 : chance.about(seconds);
  const ended_at = started - place * 7.2 - chance.next() * 6;
  const state = hasFailed
    ? isRetry
      ? "RETRY"
      : chance.next() < 0.06
        ? "EXPIRED"
        : "FAILURE"
    : place % 401 === 5
      ? "REVOKED"
      : "SUCCESS";
  return {
    id: chance.id(),
    task,
    queue,
    state,
    attempt: hasFailed ? 1 + Math.floor(chance.next() * 4) : 1,
    sent_at: ended_at - ran_for - waited,
    started_at: state === "REVOKED" || state === "EXPIRED" ? null : ended_at - ran_for,
    ended_at,
    waited: state === "REVOKED" ? null : waited,
    ran_for: state === "REVOKED" || state === "EXPIRED" ? null : ran_for,
    worker: chance.one(WORKERS),
    args: place === 3 ? `(${JSON.stringify(HOSTILE)},)` : args,
    kwargs,
    error,
    message: error ? MESSAGES[error] : "",
    weight: state === "SUCCESS" ? 10 : 1,
    flow: place % 31 === 4 ? "019ad100-flow-7000-9000-00000000f001" : "",
    schedule: task.startsWith("shop.orders.cancel") ? "cancel-unpaid" : "",
  };
}

/** GET /tasks */
export function list(query) {
  const wrong = complaint(query.get("where") ?? "");
  if (wrong) return { status: 400, body: wrong };
  const found = rows.filter(matcher(query.get("where") ?? ""));
  const by = { slowest: (each) => -(each.ran_for ?? 0), longest_wait: (each) => -(each.waited ?? 0) }[
    query.get("sort")
  ];
  if (by) found.sort((a, b) => by(a) - by(b));
  const [from, limit] = [Number(query.get("after") || 0), Number(query.get("limit") || 100)];
  const next = from + limit < found.length ? String(from + limit) : null;
  const note = "Searched the newest 1 000 000 records, back to three days ago. Of successes, one of 10 is kept.";
  const body = {
    items: found.slice(from, from + limit),
    next,
    count: Math.min(found.length, CAP),
    is_capped: found.length > CAP,
    note,
  };
  return { status: 200, body };
}

const KEYS = [
  "state",
  "task",
  "queue",
  "worker",
  "id",
  "error",
  "text",
  "args",
  "reason",
  "flow",
  "schedule",
  "age",
  "ran",
  "waited",
  "parent",
];
const UNITS = { ms: 0.001, s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 };

export function words(where) {
  return (where.match(/(?:"[^"]*"|'[^']*'|\S)+/g) ?? []).map(
    (word) => /^(\w+)([:<>])(.*)$/s.exec(word.replace(/["']/g, "")) ?? [word],
  );
}

export function complaint(where) {
  for (const [word, key, mark, value] of words(where)) {
    if (!key)
      return {
        error: `cannot read '${word}' in the filter`,
        advice: "Write terms like task:mail.* state:FAILURE age<1h text:'no such file'.",
      };
    if (!KEYS.includes(key)) return { error: `the filter has no key '${key}'`, advice: `Known: ${KEYS.join(", ")}.` };
    if (mark !== ":" && !/^(\d+(\.\d+)?(ms|[smhdw]))+$/.test(value)) {
      return {
        error: `cannot read the duration '${value}'`,
        advice: "Write a number and a unit, like 90s, 15m, 2h, 1d or 1w.",
      };
    }
  }
  return null;
}

export function matcher(where, now = Date.now() / 1000) {
  const ids = words(where).flatMap(([, key, , value]) => (key === "id" ? [value] : []));
  const tests = words(where).map(([, key, mark, value]) => {
    const seconds = () =>
      [...value.matchAll(/(\d+(?:\.\d+)?)(ms|[smhdw])/g)].reduce(
        (sum, [, n, unit]) => sum + Number(n) * UNITS[unit],
        0,
      );
    const compare = (measure) => (mark === "<" ? measure < seconds() : measure > seconds());
    const pattern = new RegExp(`^${value.replace(/[.+?^${}()|[\]\\]/g, "\\$&").replaceAll("*", ".*")}$`, "is");
    return (each) => {
      if (key === "id") return ids.includes(each.id);
      if (key === "parent") return rows.indexOf(each) % 4000 === value.length;
      if (key === "state") return value.toUpperCase().split(",").includes(each.state);
      if (key === "age") return compare(now - (each.ended_at ?? each.dead_at));
      if (key === "ran") return compare(each.ran_for ?? 0);
      if (key === "waited") return compare(each.waited ?? 0);
      if (key === "text") return `${each.error} ${each.message}`.toLowerCase().includes(value.toLowerCase());
      if (key === "args") return `${each.args} ${each.kwargs}`.toLowerCase().includes(value.toLowerCase());
      if (key === "error") return each.error.toLowerCase().includes(value.toLowerCase());
      return pattern.test(each[key] ?? "");
    };
  });
  return (each) => tests.every((test) => test(each));
}

/** GET /tasks/ID; some ids tell a special story: "running", "waiting", "retrying", "hostile". */
export function detail(id) {
  if (id === "running") return running();
  if (id === "waiting") return waiting();
  const found =
    id === "retrying"
      ? storyOf(rows.find((each) => each.state === "RETRY"))
      : id === "hostile"
        ? hostile()
        : made.get(id);
  if (!found) return null;
  return found.row ? found : storyOf(found);
}

const TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

function storyOf(each) {
  const attempts = [];
  const now = Date.now() / 1000;
  const count = each.state === "SUCCESS" && each.attempt === 1 ? 1 : Math.max(each.attempt, each.error ? 3 : 1);
  let end = each.ended_at;
  for (let number = count; number >= 1; number -= 1) {
    const isLast = number === count;
    const state = isLast ? each.state : "RETRY";
    const ran_for = isLast ? each.ran_for : (each.ran_for ?? 1) * (0.4 + number / 3);
    const started_at = ran_for === null ? null : end - ran_for;
    const waited = (each.waited ?? 0.2) * (1 + number / 4);
    const backoff = 2 ** number * 4;
    const error = isLast ? each.error : each.error || "TimeoutError";
    const message = isLast ? each.message : MESSAGES[error];
    attempts.unshift({
      attempt: number,
      state,
      queued_at: (started_at ?? end) - waited,
      started_at,
      ended_at: end,
      waited,
      ran_for,
      retry_in: state === "RETRY" ? (isLast ? now - end + 42 : backoff) : null,
      worker: each.worker,
      pid: 4200 + number,
      error,
      message,
      traceback: error ? traceback(error, message, each.task) : "",
      logs: [
        `INFO attempt ${number} of ${each.task}`,
        ...(error ? [`WARNING gave up: ${message}`] : ["INFO 200 OK in 41 ms"]),
      ],
    });
    end = (started_at ?? end) - waited - 2 ** (number - 1) * 4;
  }
  return {
    row: { ...each, attempt: count },
    attempts,
    result:
      each.state === "SUCCESS"
        ? {
            ok: true,
            order: 481_516,
            lines: [{ sku: "TB-1001", count: 2, price: "19.90" }],
            mail_id: "<8c1d@mx.shop.example>",
          }
        : null,
    traceback: each.error ? traceback(each.error, each.message, each.task) : "",
    logs: attempts.at(-1).logs,
    progress: null,
    trace: TRACE,
    parent: rows[40].id,
    flow: each.flow,
    is_dead_letter: each.state === "FAILURE",
    is_running: false,
    is_waiting: each.state === "RETRY",
    priority: 5,
    due_at: each.state === "RETRY" ? now + 42 : null,
    python: `${each.task.split(".").at(-1)}.delay(${each.args.replace(/^\(|,?\)$/g, "")})`,
    cli: `taskbus call ${each.task} --json '{"order": 481516}'`,
  };
}

function running() {
  const now = Date.now() / 1000;
  const base = storyOf({
    ...rows.find((each) => each.task === "shop.stock.sync_warehouse"),
    state: "STARTED",
    attempt: 1,
    error: "",
    message: "",
    ended_at: now,
    ran_for: 34,
    started_at: now - 34,
    waited: 1.8,
    id: "running",
  });
  const last = base.attempts.at(-1);
  const open = {
    ...last,
    ended_at: null,
    ran_for: null,
    state: "STARTED",
    logs: ["INFO fetched 1 200 of 4 000 articles", `INFO ${HOSTILE}`],
  };
  return {
    ...base,
    row: { ...base.row, state: "STARTED", ended_at: null, ran_for: null },
    attempts: [...base.attempts.slice(0, -1), open],
    result: null,
    logs: open.logs,
    progress: {
      done: 1200 + Math.floor((now % 60) * 40),
      total: 4000,
      note: "comparing shelves of aisle 12",
      at: now - 1,
    },
    is_running: true,
  };
}

function waiting() {
  const now = Date.now() / 1000;
  const base = storyOf({ ...rows[1], state: "PENDING", attempt: 1, error: "", message: "", id: "waiting" });
  const first = {
    ...base.attempts[0],
    attempt: 1,
    state: "PENDING",
    queued_at: now - 95,
    started_at: null,
    ended_at: null,
    waited: null,
    ran_for: null,
    retry_in: null,
    worker: "",
    pid: 0,
    error: "",
    message: "",
    traceback: "",
    logs: [],
  };
  const row = {
    ...base.row,
    state: "PENDING",
    sent_at: now - 95,
    started_at: null,
    ended_at: null,
    waited: null,
    ran_for: null,
    worker: "",
  };
  return { ...base, row, attempts: [first], result: null, logs: [], is_waiting: true, due_at: null };
}

function hostile() {
  const base = storyOf(rows[3]);
  const loud = {
    ...base.row,
    id: "hostile",
    task: HOSTILE,
    queue: HOSTILE,
    worker: HOSTILE,
    args: HOSTILE,
    kwargs: HOSTILE,
    error: HOSTILE,
    message: HOSTILE,
    state: "FAILURE",
  };
  const attempts = base.attempts.map((each) => ({
    ...each,
    worker: HOSTILE,
    error: HOSTILE,
    message: HOSTILE,
    traceback: HOSTILE,
    logs: [HOSTILE],
  }));
  return {
    ...base,
    row: loud,
    attempts,
    result: HOSTILE,
    traceback: HOSTILE,
    logs: [HOSTILE],
    python: HOSTILE,
    cli: HOSTILE,
    parent: HOSTILE,
  };
}
