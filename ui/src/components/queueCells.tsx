/** Cells of a table of queues, the same on every page that lists queues. */

import type { Queue } from "../api";
import { duration, grouped, rate } from "../format";
import { now } from "../live";
import { at, term } from "../place";
import { Badge } from "./Badge";
import { Name } from "./Name";
import type { Column } from "./Table";

/** A queue whose oldest message is older than this deserves a look, seconds. */
const OLD_AFTER = 60;

export function QueueBadges({ queue }: { queue: Queue }) {
  return (
    <>
      {queue.is_paused && <Badge tone="warn">paused</Badge>}
      {queue.workers === 0 && (
        <Badge tone={queue.ready > 0 ? "bad" : "quiet"} title="No running worker takes tasks from this queue">
          no consumer
        </Badge>
      )}
    </>
  );
}

export function Oldest({ queue }: { queue: Queue }) {
  if (queue.oldest_at === null) return <span class="faint">–</span>;
  const age = Math.max(0, now.value - queue.oldest_at);
  const isOld = age > OLD_AFTER && !queue.is_paused;
  return <span class={`number${isOld ? " text-warn" : ""}`}>{duration(age < 10 ? age : Math.floor(age))}</span>;
}

/** Seconds until the queue is empty at the rates of now; null if it is not getting shorter. */
export function drains(queue: Queue): number | null {
  if (queue.ready === 0) return 0;
  const net = queue.rate_out - queue.rate_in;
  return net > queue.rate_out * 0.02 ? queue.ready / net : null;
}

/** Whether the queue grows by more than noise: a twentieth above what leaves it. */
export function grows(queue: Queue): boolean {
  return queue.ready > 0 && queue.rate_in > queue.rate_out * 1.05 && queue.rate_in > 0.05;
}

function Trend({ queue }: { queue: Queue }) {
  if (grows(queue)) return <span class="text-warn">growing</span>;
  const left = drains(queue);
  if (left === null || left === 0) return <span class="faint">–</span>;
  return <span class="number">{duration(left)}</span>;
}

export const QUEUE_NAME: Column<Queue> = {
  key: "name",
  title: "Queue",
  by: (queue) => queue.name,
  show: (queue) => (
    <span class="cell-main">
      <Name text={queue.name} href={at.queue(queue.name)} />
      <QueueBadges queue={queue} />
    </span>
  ),
};

export const QUEUE_COLUMNS: Column<Queue>[] = [
  QUEUE_NAME,
  { key: "ready", title: "Ready", isNumber: true, by: (queue) => queue.ready, show: (queue) => grouped(queue.ready) },
  {
    key: "oldest",
    title: "Oldest",
    isNumber: true,
    by: (queue) => (queue.oldest_at === null ? null : -queue.oldest_at),
    show: (queue) => <Oldest queue={queue} />,
  },
  {
    key: "in",
    title: "In /s",
    isNumber: true,
    from: "medium",
    by: (queue) => queue.rate_in,
    show: (queue) => rate(queue.rate_in),
  },
  {
    key: "out",
    title: "Out /s",
    isNumber: true,
    from: "medium",
    by: (queue) => queue.rate_out,
    show: (queue) => rate(queue.rate_out),
  },
];

export const QUEUE_DETAILS: Column<Queue>[] = [
  {
    key: "trend",
    title: "Empty in",
    isNumber: true,
    from: "wide",
    by: (queue) => drains(queue),
    show: (queue) => <Trend queue={queue} />,
  },
  {
    key: "delayed",
    title: "Delayed",
    isNumber: true,
    from: "medium",
    by: (queue) => queue.delayed,
    show: (queue) => grouped(queue.delayed),
  },
  {
    key: "held",
    title: "In work",
    isNumber: true,
    from: "medium",
    by: (queue) => queue.held,
    show: (queue) => grouped(queue.held),
  },
  {
    key: "workers",
    title: "Workers",
    isNumber: true,
    from: "wide",
    by: (queue) => queue.workers,
    show: (queue) => grouped(queue.workers),
  },
  {
    key: "dead",
    title: "Dead",
    isNumber: true,
    from: "medium",
    by: (queue) => queue.dead,
    show: (queue) =>
      queue.dead ? (
        <a class="text-bad" href={at.letters(term("queue", queue.name))}>
          {grouped(queue.dead)}
        </a>
      ) : (
        <span class="faint">0</span>
      ),
  },
];
