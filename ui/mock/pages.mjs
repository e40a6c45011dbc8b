// The routes of seven pages: tasks, their types, workflows, dead letters, schedules, the system.
import { fail, list } from "./base.mjs";
import * as flows from "./flows.mjs";
import * as letters from "./letters.mjs";
import * as rest from "./rest.mjs";
import * as tasks from "./tasks.mjs";
import { running } from "./workers.mjs";

const changed = { changed: true, count: 1 };

function found(thing, word) {
  if (thing === null) throw fail(404, `There is no such ${word}.`, "What is old is deleted; see the list.");
  return thing;
}

/** A handler whose answer is `{status, body}`, as one that throws. */
function plain(answer) {
  if (answer.status !== 200) throw fail(answer.status, answer.body.error, answer.body.advice);
  return answer.body;
}

/** A list that has nothing in it on a new installation. */
function listed(make) {
  return (match, query, body, world) => (world.isEmpty ? list([]) : make(match, query, body));
}

export const routes = [
  ["GET", /^tasks$/, listed((_, query) => plain(tasks.list(query)))],
  ["POST", /^tasks$/, () => ({ id: tasks.rows[0].id })],
  ["GET", /^tasks\/([^/]+)$/, ([id]) => found(tasks.detail(id), "task")],
  ["POST", /^tasks\/([^/]+)\/retry$/, () => ({ id: tasks.rows[0].id })],
  ["POST", /^tasks\/([^/]+)\/revoke$/, () => changed],
  ["GET", /^types$/, listed(() => rest.types())],
  [
    "GET",
    /^types\/([^/]+)$/,
    ([task], query) => found(rest.typeDetail(task, query.get("range") ?? "1h"), "type of task"),
  ],
  ["GET", /^flows$/, listed((_, query) => flows.list(query))],
  ["GET", /^flows\/([^/]+)$/, ([id]) => found(flows.detail(id), "workflow")],
  ["POST", /^flows\/([^/]+)\/(cancel|retry)$/, () => changed],
  ["GET", /^dlq$/, listed((_, query) => plain(letters.list(query)))],
  ["GET", /^dlq\/groups$/, (_, query, __, world) => (world.isEmpty ? [] : plain(letters.groups(query)))],
  ["POST", /^dlq\/(replay|purge)$/, ([kind], _, body) => plain(letters.bulk(kind, body))],
  ["GET", /^dlq\/([^/]+)$/, ([id]) => found(letters.detail(id), "dead letter")],
  ["GET", /^jobs$/, () => letters.jobList()],
  ["GET", /^jobs\/([^/]+)$/, ([id]) => found(letters.job(id), "job")],
  ["POST", /^jobs\/([^/]+)\/cancel$/, ([id]) => found(letters.cancelJob(id), "job")],
  ["GET", /^schedules$/, listed(() => rest.scheduleList())],
  [
    "POST",
    /^schedules\/([^/]+)\/(pause|resume|run)$/,
    ([name, act]) => found(rest.changeSchedule(name, act), "schedule"),
  ],
  ["GET", /^system$/, () => rest.system()],
  ["GET", /^audit$/, listed((_, query) => rest.audit(query))],
];

export function snapshot(view, world) {
  return view === "tasks" ? { running: running(world), tail: [], tail_hidden: 0 } : {};
}
