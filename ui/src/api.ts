/**
 * The JSON API as the page sees it: the shapes that /api/v1 answers with, and one function a route.
 * Instants are Unix seconds, durations seconds, rates per second.
 */
import { base } from "./place";

/** As the server names it: PENDING, STARTED, RETRY, SUCCESS, FAILURE, REVOKED, EXPIRED, REJECTED. */
export type State = string;

export type Role = "viewer" | "operator" | "admin";
export type Range = "15m" | "1h" | "6h" | "24h" | "3d";

export interface Me {
  user: string;
  role: Role;
  auth: "none" | "token" | "basic" | "oidc" | "proxy" | "host";
  environment: string;
  read_only: boolean;
  version: string;
  app: string;
}

/** One page of a list; `next` is the cursor of the one after it. */
export interface List<T> {
  items: T[];
  next: string | null;
  count: number;
  is_capped: boolean;
  note: string;
}

/** Percentiles of a time, null where nothing was measured. */
export interface Quantiles {
  p50: number | null;
  p95: number | null;
  p99: number | null;
  count: number;
}

export interface Counts {
  /** Without what was given back, which is received again. */
  received: number;
  succeeded: number;
  retried: number;
  failed: number;
  rejected: number;
  revoked: number;
  expired: number;
  crashed: number;
  given_back: number;
}

type Measures = (number | null)[];

/** Columns of equal length; `t` holds the instants at which each step of `step` seconds begins. */
export interface Series {
  step: number;
  t: number[];
  succeeded: number[];
  failed: number[];
  retried: number[];
  wait_p50: Measures;
  wait_p95: Measures;
  wait_p99: Measures;
  run_p50: Measures;
  run_p95: Measures;
  run_p99: Measures;
}

export interface Queue {
  name: string;
  ready: number;
  delayed: number;
  held: number;
  oldest_at: number | null;
  is_paused: boolean;
  workers: number;
  rate_in: number;
  rate_out: number;
  dead: number;
}

export interface Problem {
  kind:
    | "no_workers"
    | "no_consumer"
    | "old_messages"
    | "dead_letters"
    | "beat_silent"
    | "dropped"
    | "node_silent"
    | "store";
  severity: "warning" | "error";
  text: string;
  advice: string;
  link: string;
}

export interface Node {
  name: string;
  node: string;
  kind: string;
  host: string;
  pid: number;
  version: string;
  app: string;
  started_at: number;
  at: number;
  is_stopping: boolean;
  is_alive: boolean;
  pool: string;
  processes: number;
  slots: number;
  queues: string[];
  active: number;
  held: number;
  rss: number;
  cpu_share: number;
  load: number;
  sampled: number;
  dropped: number;
  http: string;
  is_leader: boolean;
}

export interface Progress {
  done: number;
  total: number;
  note: string;
  at: number;
}

export interface Running {
  id: string;
  task: string;
  queue: string;
  attempt: number;
  since: number;
  worker: string;
  pid: number;
  progress: Progress | null;
  flow: string;
}

export interface TaskRow {
  id: string;
  task: string;
  queue: string;
  state: State;
  attempt: number;
  sent_at: number | null;
  started_at: number | null;
  ended_at: number | null;
  waited: number | null;
  ran_for: number | null;
  worker: string;
  args: string;
  kwargs: string;
  error: string;
  message: string;
  weight: number;
  flow: string;
  schedule: string;
}

export interface Attempt {
  attempt: number;
  state: State;
  queued_at: number | null;
  started_at: number | null;
  ended_at: number | null;
  waited: number | null;
  ran_for: number | null;
  retry_in: number | null;
  worker: string;
  pid: number;
  error: string;
  message: string;
  traceback: string;
  logs: string[];
}

export interface TaskDetail {
  row: TaskRow;
  attempts: Attempt[];
  /** Readable text, cut; null if it has none. */
  result: string | null;
  traceback: string;
  logs: string[];
  progress: Progress | null;
  trace: string;
  parent: string;
  flow: string;
  is_dead_letter: boolean;
  is_running: boolean;
  is_waiting: boolean;
  priority: number;
  due_at: number | null;
  python: string;
  cli: string;
}

export interface Failing {
  task: string;
  failed: number;
  total: number;
  error: string;
  last_at: number | null;
}

export interface Overview {
  now: number;
  series: Series;
  wait: Quantiles;
  run: Quantiles;
  counts: Counts;
  queues: Queue[];
  failing: Failing[];
  problems: Problem[];
  nodes: { workers: number; beats: number; slots: number; active: number };
  sampling: { one_of: number; dropped: number };
}

/** What the live stream sends once a second; a view gets only the parts it shows. */
export interface Snapshot {
  now: number;
  rates?: { received: number; succeeded: number; failed: number; retried: number };
  wait?: Quantiles;
  run?: Quantiles;
  queues?: Queue[];
  nodes?: Node[];
  types?: { task: string; rate: number; failed: number; p50: number | null; p95: number | null }[];
  running?: Running[];
  problems?: Problem[];
  tail?: TaskRow[];
  tail_hidden?: number;
}

export interface Waiting {
  id: string;
  task: string;
  priority: number;
  attempt: number;
  sent_at: number | null;
  due_at: number | null;
  args: string;
  kwargs: string;
  size: number;
  is_delayed: boolean;
}

export interface QueueDetail {
  queue: Queue;
  series: Series;
  messages: Waiting[];
}

export interface NodeDetail {
  node: Node;
  running: Running[];
  tasks: string[];
  runners: { pid: number; rss: number }[];
  limits: Record<string, string>;
}

export interface ErrorGroup {
  error: string;
  count: number;
  message: string;
  last_at: number | null;
  example: string;
}

export interface TaskType {
  task: string;
  queues: string[];
  counts: Counts;
  rate: number;
  wait: Quantiles;
  run: Quantiles;
  errors: ErrorGroup[];
  workers: string[];
  is_registered: boolean;
  spark: number[];
}

export interface Flow {
  id: string;
  name: string;
  state: string;
  done: number;
  total: number;
  dead: number;
  created_at: number | null;
  ended_at: number | null;
}

export interface FlowNode {
  id: string;
  task: string;
  kind: string;
  state: string;
  started_at: number | null;
  ended_at: number | null;
  error: string;
  /** Id of the group that it is a member of, "" if none. */
  group: string;
}

/** Tasks that run side by side: how many there are, and how many have ended. */
export interface FlowGroup {
  id: string;
  name: string;
  total: number;
  done: number;
  dead: number;
}

export interface FlowDetail {
  flow: Flow;
  nodes: FlowNode[];
  edges: [string, string][];
  groups: FlowGroup[];
  /** What is left out, or "". */
  note: string;
}

export interface Letter {
  id: string;
  task: string;
  queue: string;
  reason: string;
  error: string;
  message: string;
  dead_at: number;
  attempt: number;
  args: string;
  kwargs: string;
}

export interface LetterGroup {
  task: string;
  reason: string;
  error: string;
  message: string;
  count: number;
  first_at: number;
  last_at: number;
  example: string;
}

export interface LetterDetail {
  letter: Letter;
  attempts: Attempt[];
  traceback: string;
}

/** A bulk change that the server carries out by itself. */
export interface Job {
  id: string;
  kind: string;
  where: string;
  total: number;
  done: number;
  failed: number;
  state: "running" | "done" | "failed" | "cancelled";
  started_at: number;
  by: string;
  error: string;
  ended_at: number | null;
}

export interface Schedule {
  name: string;
  task: string;
  timetable: string;
  zone: string;
  is_paused: boolean;
  next: number[];
  last_at: number | null;
  last_task_id: string;
  last_state: string;
  sent: number;
  missed: number;
  skipped: number;
  lateness: number;
  origin: string;
}

export interface System {
  broker: {
    url: string;
    latency: number | null;
    version: string;
    /** What it promises, each in a word or a sentence. */
    features: string[];
    error: string;
  };
  /** `is_shared`: it is the broker's database, so that a task settles in one transaction. */
  results: {
    url: string;
    latency: number | null;
    version: string;
    is_shared: boolean;
    dead_letters: number | null;
    error: string;
  };
  /** Size in bytes; records of tasks, and how long ago the oldest of them is, seconds. */
  history: { url: string; size: number | null; rows: number; kept: number; error: string };
  beats: Node[];
  config: { name: string; value: string; origin: string }[];
  remarks: { weight: "fine" | "risk" | "refused"; subject: string; text: string; advice: string }[];
  versions: Record<string, string>;
}

export interface AuditEntry {
  at: number;
  user: string;
  role: string;
  action: string;
  target: string;
  /** Begins with "refused: " or "failed: " if it was not done. */
  detail: string;
  count: number;
}

export interface Changed {
  changed: boolean;
  count: number;
}

/** An answer of a worker to an order. */
export interface Answer {
  ok?: unknown;
  error?: string;
}

/** What the server, or the way to it, said no with; `advice` says what to do and may be empty. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly advice: string,
  ) {
    super(message);
  }
}

type Params = Record<string, string | number | boolean | null | undefined>;

export function address(path: string, params: Params = {}): string {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(params)) {
    if (value !== undefined && value !== null && value !== "") query.set(key, String(value));
  }
  const text = query.toString();
  return `${base}api/v1/${path}${text ? `?${text}` : ""}`;
}

async function call<T>(path: string, params: Params, init: RequestInit): Promise<T> {
  let answer: Response;
  try {
    answer = await fetch(address(path, params), { credentials: "same-origin", ...init });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(0, "The server does not answer.", "See whether `taskbus web` is still running.");
  }
  const body: unknown = await answer.json().catch(() => null);
  if (!answer.ok) {
    const said = (body ?? {}) as { error?: string; advice?: string };
    throw new ApiError(answer.status, said.error ?? `The server answered ${answer.status}.`, said.advice ?? "");
  }
  return body as T;
}

export function get<T>(path: string, params: Params = {}, signal?: AbortSignal): Promise<T> {
  return call<T>(path, params, { signal: signal ?? null });
}

export function post<T>(path: string, body: object = {}): Promise<T> {
  return call<T>(
    path,
    {},
    {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    },
  );
}

const part = encodeURIComponent;

export interface Window {
  where?: string;
  limit?: number;
  after?: string | null;
}

export const api = {
  me: (signal?: AbortSignal) => get<Me>("me", {}, signal),
  overview: (range: Range, signal?: AbortSignal) => get<Overview>("overview", { range }, signal),

  queues: (signal?: AbortSignal) => get<List<Queue>>("queues", {}, signal),
  queue: (name: string, range: Range, signal?: AbortSignal) =>
    get<QueueDetail>(`queues/${part(name)}`, { range }, signal),
  pauseQueue: (name: string) => post<Changed>(`queues/${part(name)}/pause`),
  resumeQueue: (name: string) => post<Changed>(`queues/${part(name)}/resume`),
  purgeQueue: (name: string, dry_run: boolean) => post<Changed>(`queues/${part(name)}/purge`, { dry_run }),

  tasks: (window: Window & { sort?: string }, signal?: AbortSignal) =>
    get<List<TaskRow>>("tasks", { ...window }, signal),
  task: (id: string, signal?: AbortSignal) => get<TaskDetail>(`tasks/${part(id)}`, {}, signal),
  retryTask: (id: string, edited: { args?: unknown[]; kwargs?: Record<string, unknown> } = {}) =>
    post<{ id: string }>(`tasks/${part(id)}/retry`, edited),
  revokeTask: (id: string, terminate: boolean) => post<Changed>(`tasks/${part(id)}/revoke`, { terminate }),
  sendTask: (message: {
    task: string;
    args: unknown[];
    kwargs: Record<string, unknown>;
    queue?: string;
    countdown?: number;
    priority?: number;
  }) => post<{ id: string }>("tasks", message),

  types: (range: Range, signal?: AbortSignal) => get<List<TaskType>>("types", { range }, signal),
  type: (task: string, range: Range, signal?: AbortSignal) =>
    get<{ type: TaskType; series: Series }>(`types/${part(task)}`, { range }, signal),

  nodes: (signal?: AbortSignal) => get<List<Node>>("nodes", {}, signal),
  node: (name: string, signal?: AbortSignal) => get<NodeDetail>(`nodes/${part(name)}`, {}, signal),
  growNode: (name: string, n: number) => post<Answer>(`nodes/${part(name)}/grow`, { n }),
  shrinkNode: (name: string, n: number) => post<Answer>(`nodes/${part(name)}/shrink`, { n }),
  stopNode: (name: string) => post<Answer>(`nodes/${part(name)}/stop`),
  limitTask: (name: string, task: string, rate: string) => post<Answer>(`nodes/${part(name)}/limit`, { task, rate }),
  addQueue: (name: string, queue: string) => post<Answer>(`nodes/${part(name)}/add_queue`, { queue }),
  cancelQueue: (name: string, queue: string) => post<Answer>(`nodes/${part(name)}/cancel_queue`, { queue }),
  askNode: (name: string, command: string) => post<Answer>(`nodes/${part(name)}/ask`, { command }),

  flows: (window: Window & { where?: string }, signal?: AbortSignal) => get<List<Flow>>("flows", { ...window }, signal),
  flow: (id: string, signal?: AbortSignal) => get<FlowDetail>(`flows/${part(id)}`, {}, signal),
  cancelFlow: (id: string) => post<Changed>(`flows/${part(id)}/cancel`),
  retryFlow: (id: string) => post<Changed>(`flows/${part(id)}/retry`),

  letters: (window: Window, signal?: AbortSignal) => get<List<Letter>>("dlq", { ...window }, signal),
  letterGroups: (where: string, signal?: AbortSignal) => get<LetterGroup[]>("dlq/groups", { where }, signal),
  letter: (id: string, signal?: AbortSignal) => get<LetterDetail>(`dlq/${part(id)}`, {}, signal),
  countReplay: (where: string) => post<{ count: number }>("dlq/replay", { where, dry_run: true }),
  replayLetters: (order: { where: string; rate?: number; args?: unknown[]; kwargs?: Record<string, unknown> }) =>
    post<Job>("dlq/replay", { ...order, dry_run: false }),
  countPurge: (where: string) => post<{ count: number }>("dlq/purge", { where, dry_run: true }),
  purgeLetters: (where: string) => post<Job>("dlq/purge", { where, dry_run: false }),
  jobs: (signal?: AbortSignal) => get<List<Job>>("jobs", {}, signal),
  job: (id: string, signal?: AbortSignal) => get<Job>(`jobs/${part(id)}`, {}, signal),
  cancelJob: (id: string) => post<Job>(`jobs/${part(id)}/cancel`),

  schedules: (signal?: AbortSignal) => get<List<Schedule>>("schedules", {}, signal),
  pauseSchedule: (name: string) => post<Changed>(`schedules/${part(name)}/pause`),
  resumeSchedule: (name: string) => post<Changed>(`schedules/${part(name)}/resume`),
  runSchedule: (name: string) => post<{ id: string }>(`schedules/${part(name)}/run`),

  system: (signal?: AbortSignal) => get<System>("system", {}, signal),
  audit: (window: Window, signal?: AbortSignal) => get<List<AuditEntry>>("audit", { ...window }, signal),
};
