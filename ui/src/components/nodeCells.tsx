/** How a worker shows itself wherever it is listed. */

import type { Node, Progress, Running } from "../api";
import { bytes, percent } from "../format";
import { at } from "../place";
import { Badge } from "./Badge";
import { Name } from "./Name";
import { Meter, ProgressBar } from "./Progress";
import type { Column } from "./Table";
import { Since } from "./Time";

export function NodeBadges({ node }: { node: Node }) {
  return (
    <>
      {!node.is_alive && <Badge tone="bad">silent</Badge>}
      {node.is_stopping && node.is_alive && <Badge tone="warn">stopping</Badge>}
      {node.is_leader && <Badge tone="busy">leader</Badge>}
    </>
  );
}

/** "prefork × 16", "async × 40 in 2 processes". */
export function poolWords(node: Node): string {
  if (!node.slots) return "–";
  const processes = node.processes > 1 && node.processes !== node.slots ? ` in ${node.processes} processes` : "";
  return `${node.pool} × ${node.slots}${processes}`;
}

/** Tasks that it has taken and not begun. */
export function prefetched(node: Node): number {
  return Math.max(0, node.held - node.active);
}

export function Busy({ node }: { node: Node }) {
  if (!node.slots) return <span class="faint">–</span>;
  return (
    <span class="busy">
      <Meter share={node.active / node.slots} label={`${node.active} of ${node.slots} slots busy`} />
      <span class="number">
        {node.active}
        <span class="faint"> / {node.slots}</span>
      </span>
    </span>
  );
}

export function QueueLinks({ names }: { names: string[] }) {
  if (!names.length) return <span class="faint">none</span>;
  return (
    <span class="chips">
      {names.map((name) => (
        <a key={name} class="chip" href={at.queue(name)}>
          {name}
        </a>
      ))}
    </span>
  );
}

export const NODE_COLUMNS: Column<Node>[] = [
  {
    key: "name",
    title: "Worker",
    by: (node) => node.name,
    show: (node) => (
      <>
        <span class="cell-main">
          <Name text={node.name} href={at.worker(node.name)} />
          <NodeBadges node={node} />
        </span>
        <span class="cell-sub">{poolWords(node)}</span>
      </>
    ),
  },
  {
    key: "busy",
    title: "Busy",
    by: (node) => (node.slots ? node.active / node.slots : null),
    show: (node) => <Busy node={node} />,
  },
];

export const NODE_DETAILS: Column<Node>[] = [
  { key: "queues", title: "Queues", from: "medium", show: (node) => <QueueLinks names={node.queues} /> },
  {
    key: "held",
    title: "Prefetched",
    isNumber: true,
    from: "wide",
    by: prefetched,
    show: prefetched,
  },
  {
    key: "cpu",
    title: "CPU",
    isNumber: true,
    from: "medium",
    by: (node) => node.cpu_share,
    show: (node) => percent(node.cpu_share),
  },
  {
    key: "memory",
    title: "Memory",
    isNumber: true,
    from: "medium",
    by: (node) => node.rss,
    show: (node) => bytes(node.rss),
  },
  {
    key: "version",
    title: "Version",
    isNumber: true,
    from: "wide",
    by: (node) => node.version,
    show: (node) => <span class="number">{node.version}</span>,
  },
  {
    key: "up",
    title: "Up",
    isNumber: true,
    from: "wide",
    by: (node) => -node.started_at,
    show: (node) => <Since at={node.started_at} />,
  },
];

function Done({ progress }: { progress: Progress }) {
  return <ProgressBar done={progress.done} total={progress.total} note={progress.note} />;
}

export const RUNNING_COLUMNS: Column<Running>[] = [
  {
    key: "task",
    title: "Task",
    show: (running) => (
      <>
        <Name text={running.task} href={at.task(running.id)} />
        {running.attempt > 1 && (
          <>
            {" "}
            <Badge tone="warn">attempt {running.attempt}</Badge>
          </>
        )}
        <span class="cell-sub">
          {running.queue} on {running.worker}
        </span>
        {running.progress && (
          <span class="only-narrow">
            <Done progress={running.progress} />
          </span>
        )}
      </>
    ),
    by: (running) => running.task,
  },
  {
    key: "progress",
    title: "Progress",
    from: "medium",
    show: (running) => (running.progress ? <Done progress={running.progress} /> : <span class="faint">–</span>),
  },
  {
    key: "since",
    title: "Runs for",
    isNumber: true,
    by: (running) => -running.since,
    show: (running) => <Since at={running.since} />,
  },
];
