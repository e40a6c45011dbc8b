// Dead letters, their groups, and the jobs that replay or purge them.
import { chanceOf } from "./chance.mjs";
import { HOSTILE, MESSAGES, TASKS, traceback } from "./shop.mjs";
import { complaint, matcher } from "./tasks.mjs";

const started = Date.now() / 1000;
let letters = Array.from({ length: 1840 }, (_, place) => letter(place));
const jobs = [];
let lastJob = 0;

function letter(place) {
  const chance = chanceOf(104_729 * place + 5);
  const [task, queue, , , call, errors] =
    place < 900 ? TASKS[4] : place < 1500 ? TASKS[1] : TASKS[Math.floor(chance.next() * 9)];
  const reason =
    place < 900
      ? "retries_exhausted"
      : chance.one(["retries_exhausted", "not_retryable", "not_retryable", "time_limit"]);
  const error =
    reason === "time_limit"
      ? "taskbus.errors.TimeLimitExceeded"
      : errors[place < 900 ? (place % 3 === 0 ? 2 : 0) : place % errors.length];
  const [args, kwargs] = call(chance);
  return {
    id: chance.id(),
    task: place === 1839 ? HOSTILE : task,
    queue,
    reason: place === 1839 ? "poison" : reason,
    error,
    message: MESSAGES[error] ?? "ran for more than 300 s",
    dead_at: started - place * 51 - chance.next() * 40,
    attempt: reason === "retries_exhausted" ? 6 : 1,
    args,
    kwargs,
  };
}

export function list(query) {
  const where = query.get("where") ?? "";
  const wrong = complaint(where);
  if (wrong) return { status: 400, body: wrong };
  const found = letters.filter(matcher(where));
  const [from, limit] = [Number(query.get("after") || 0), Number(query.get("limit") || 100)];
  const next = from + limit < found.length ? String(from + limit) : null;
  return {
    status: 200,
    body: { items: found.slice(from, from + limit), next, count: found.length, is_capped: false, note: "" },
  };
}

export function groups(query) {
  const where = query.get("where") ?? "";
  const wrong = complaint(where);
  if (wrong) return { status: 400, body: wrong };
  const found = new Map();
  for (const each of letters.filter(matcher(where))) {
    const key = [each.task, each.reason, each.error].join("\n");
    const group = found.get(key) ?? {
      task: each.task,
      reason: each.reason,
      error: each.error,
      message: each.message,
      count: 0,
      first_at: each.dead_at,
      last_at: each.dead_at,
      example: each.id,
    };
    group.count += 1;
    group.first_at = Math.min(group.first_at, each.dead_at);
    found.set(key, group);
  }
  return { status: 200, body: [...found.values()].sort((a, b) => b.count - a.count) };
}

export function detail(id) {
  const found = letters.find((each) => each.id === id);
  if (!found) return null;
  const attempts = Array.from({ length: found.attempt }, (_, place) => {
    const ended_at = found.dead_at - (2 ** found.attempt - 2 ** (place + 1)) * 3;
    const ran_for = 0.3 + place * 0.1;
    return {
      attempt: place + 1,
      state: place + 1 === found.attempt ? "FAILURE" : "RETRY",
      queued_at: ended_at - ran_for - 0.4,
      started_at: ended_at - ran_for,
      ended_at,
      waited: 0.4,
      ran_for,
      retry_in: place + 1 === found.attempt ? null : 2 ** (place + 1) * 3 - 1,
      worker: "worker@web-1",
      pid: 5100 + place,
      error: found.error,
      message: found.message,
      traceback: traceback(found.error, found.message, found.task),
      logs: [],
    };
  });
  return { letter: found, attempts, traceback: traceback(found.error, found.message, found.task) };
}

export function bulk(kind, body) {
  const wrong = body.where ? complaint(body.where) : { error: "where is empty", advice: "Say task:* if you mean all." };
  if (wrong) return { status: 400, body: wrong };
  const matches = matcher(body.where ?? "");
  const found = letters.filter(matches);
  if (body.dry_run) return { status: 200, body: { count: found.length } };
  lastJob += 1;
  const job = {
    id: `job-${lastJob}`,
    kind,
    where: body.where,
    total: found.length,
    done: 0,
    failed: 0,
    state: "running",
    started_at: Date.now() / 1000,
    by: "ada",
    error: "",
  };
  jobs.unshift(job);
  const step = Math.max(1, Math.ceil(Math.min(found.length / 12, (body.rate ?? 1e9) / 2)));
  const timer = setInterval(() => {
    const gone = new Set(found.splice(0, step));
    letters = letters.filter((each) => !gone.has(each));
    job.done += gone.size;
    if (!found.length || job.state !== "running") {
      if (job.state === "running") job.state = "done";
      clearInterval(timer);
    }
  }, 500);
  return { status: 200, body: job };
}

export function jobList() {
  return { items: jobs, next: null, count: jobs.length, is_capped: false, note: "" };
}

export function job(id) {
  return jobs.find((each) => each.id === id) ?? null;
}

export function cancelJob(id) {
  const found = job(id);
  if (found?.state === "running") found.state = "cancelled";
  return found;
}
