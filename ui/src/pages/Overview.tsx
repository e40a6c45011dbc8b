/** How it goes: what is wrong, what flows, what waits, what fails, who works. */

import { useMemo, useRef } from "preact/hooks";
import { useLocation } from "preact-iso";
import { api, type Failing, type Node, type Queue, type Range, type Overview as Shown, type Snapshot } from "../api";
import { Empty, Failure, Loading } from "../components/Empty";
import { Icon } from "../components/Icon";
import { Name } from "../components/Name";
import { NODE_COLUMNS, NODE_DETAILS } from "../components/nodeCells";
import { Page, Panel } from "../components/Page";
import { QUEUE_COLUMNS } from "../components/queueCells";
import { SeriesCharts, useRange } from "../components/SeriesCharts";
import { Stat, Stats } from "../components/Stat";
import { type Column, Table } from "../components/Table";
import { Time } from "../components/Time";
import { duration, grouped, percent, plural, rate } from "../format";
import { useAsked, useLive } from "../hooks";
import { snapshot } from "../live";
import { at, inside, term, to } from "../place";
import { extended } from "../series";

/** How often the history is asked for, seconds; the stream carries the shortest range on in between. */
const EVERY: Record<Range, number> = { "15m": 30, "1h": 20, "6h": 60, "24h": 120, "3d": 300 };
const MOST_QUEUES = 12;

/** The history of the shortest range, carried on by the live stream. */
function useLiveSeries(overview: Shown | null, range: Range) {
  const tail = useRef<Snapshot[]>([]);
  const fresh = snapshot.value;
  return useMemo(() => {
    if (!overview || range !== "15m") return overview?.series ?? null;
    const end = overview.series.t.at(-1) ?? 0;
    if (fresh && fresh !== tail.current.at(-1)) tail.current.push(fresh);
    tail.current = tail.current.filter((each) => each.now > end);
    return extended(overview.series, tail.current);
  }, [overview, range, fresh]);
}

export function Overview() {
  const [range, ranges] = useRange();
  const asked = useAsked((signal) => api.overview(range, signal), [range], EVERY[range]);
  const live = useLive("overview").value;
  const listed = useAsked(api.nodes, [], 5).value;
  const nodes = live?.nodes?.length ? live.nodes : (listed?.items ?? null);
  const series = useLiveSeries(asked.value, range);
  const shown = asked.value;
  return (
    <Page title="Overview" actions={ranges}>
      {asked.error && <Failure error={asked.error} reload={asked.reload} />}
      {!shown && !asked.error && <Loading lines={9} />}
      {shown && series && (
        <>
          <Problems problems={live?.problems ?? shown.problems} />
          <Figures shown={shown} live={live} nodes={nodes} />
          <SeriesCharts series={series} group="overview" />
          <div class="columns columns-wide-left">
            <QueueTable queues={live?.queues ?? shown.queues} />
            <FailingTable failing={shown.failing} range={range} />
          </div>
          {nodes && <NodeTable nodes={nodes} />}
          <Sampling shown={shown} />
        </>
      )}
    </Page>
  );
}

function Problems({ problems }: { problems: Shown["problems"] }) {
  if (!problems.length) return null;
  return (
    <ul class="problems" aria-label="Problems" data-testid="problems">
      {problems.map((problem) => (
        <li key={problem.kind + problem.text} class={`problem problem-${problem.severity}`}>
          <Icon name="warning" />
          <p>
            <strong>
              {problem.text}
              {problem.advice && ":"}
            </strong>{" "}
            {problem.advice}
          </p>
          {problem.link && (
            <a class="button" href={inside(problem.link)} aria-label={`Look at: ${problem.text}`}>
              Look
            </a>
          )}
        </li>
      ))}
    </ul>
  );
}

function Figures({ shown, live, nodes }: { shown: Shown; live: Snapshot | null; nodes: Node[] | null }) {
  const { counts } = shown;
  const seconds = Math.max(1, shown.series.step * shown.series.t.length);
  const rates = live?.rates ?? {
    succeeded: counts.succeeded / seconds,
    failed: counts.failed / seconds,
    retried: counts.retried / seconds,
  };
  const [wait, run] = [live?.wait ?? shown.wait, live?.run ?? shown.run];
  const queues = live?.queues ?? shown.queues;
  const ready = queues.reduce((sum, queue) => sum + queue.ready, 0);
  const delayed = queues.reduce((sum, queue) => sum + queue.delayed, 0);
  const dead = queues.reduce((sum, queue) => sum + queue.dead, 0);
  const ended = counts.succeeded + counts.failed;
  const workers = nodes?.filter((node) => node.slots > 0 && node.is_alive);
  const slots = workers ? workers.reduce((sum, node) => sum + node.slots, 0) : shown.nodes.slots;
  const active = workers ? workers.reduce((sum, node) => sum + node.active, 0) : shown.nodes.active;
  return (
    <Stats>
      <Stat label="Succeeded" value={rate(rates.succeeded)} unit="/s" note={`${grouped(counts.succeeded)} in range`} />
      <Stat
        label="Failed"
        value={rate(rates.failed)}
        unit="/s"
        note={`${grouped(counts.failed)}${ended ? ` · ${percent(counts.failed / ended)}` : ""}`}
        href={at.tasks("state:FAILURE")}
      />
      <Stat
        label="Retried"
        value={rate(rates.retried)}
        unit="/s"
        note={`${grouped(counts.retried)} in range`}
        href={at.tasks("state:RETRY")}
      />
      <Stat label="Ready" value={grouped(ready)} note={`${grouped(delayed)} delayed`} href={to("queues")} />
      <Stat label="Time in the queue" value={duration(wait.p50)} note={`p95 ${duration(wait.p95)}`} />
      <Stat label="Time in work" value={duration(run.p50)} note={`p95 ${duration(run.p95)}`} />
      <Stat
        label="Slots busy"
        value={grouped(active)}
        unit={`of ${grouped(slots)}`}
        note={plural(workers?.length ?? shown.nodes.workers, "worker")}
        href={to("workers")}
      />
      <Stat
        label="Dead letters"
        value={grouped(dead)}
        note={dead ? "replay or delete" : "none"}
        {...(dead ? { tone: "bad" as const } : {})}
        href={to("dead-letters")}
      />
    </Stats>
  );
}

function QueueTable({ queues }: { queues: Queue[] }) {
  const { route } = useLocation();
  const fullest = useMemo(() => [...queues].sort((a, b) => b.ready - a.ready).slice(0, MOST_QUEUES), [queues]);
  const rest = queues.length - fullest.length;
  return (
    <Panel title="Queues" isFlush actions={<a href={to("queues")}>All queues</a>}>
      <Table
        caption="Queues"
        columns={QUEUE_COLUMNS}
        rows={fullest}
        rowKey={(queue) => queue.name}
        open={(queue) => route(at.queue(queue.name))}
        initial={{ key: "ready", isDown: true }}
        testid="queues"
        empty={
          <Empty title="No queue is known yet" icon="queues" command="taskbus worker -A module:app">
            A queue appears when a worker takes tasks from it, or when the first task is sent to it.
          </Empty>
        }
        foot={rest > 0 ? `and ${plural(rest, "queue")} with less` : undefined}
      />
    </Panel>
  );
}

const FAILING: Column<Failing>[] = [
  {
    key: "task",
    title: "Task type",
    show: (failing) => (
      <>
        <Name text={failing.task} href={at.type(failing.task)} />
        <span class="cell-sub">{failing.error}</span>
      </>
    ),
  },
  {
    key: "failed",
    title: "Failed",
    isNumber: true,
    show: (failing) => (
      <a href={at.tasks(`state:FAILURE ${term("task", failing.task)}`)}>
        {grouped(failing.failed)}
        <span class="cell-sub">{failing.total ? percent(failing.failed / failing.total) : ""}</span>
      </a>
    ),
  },
  { key: "last", title: "Last", isNumber: true, from: "medium", show: (failing) => <Time at={failing.last_at} /> },
];

function FailingTable({ failing, range }: { failing: Failing[]; range: Range }) {
  const { route } = useLocation();
  return (
    <Panel title="What fails most" isFlush testid="failing">
      <Table
        caption={`Task types that failed most in the last ${range}`}
        columns={FAILING}
        rows={failing}
        rowKey={(each) => each.task}
        open={(each) => route(at.type(each.task))}
        empty={
          <Empty title="Nothing failed in this range" icon="check">
            A task fails when it raises and no retry is left. What failed for good is kept under{" "}
            <a href={to("dead-letters")}>dead letters</a>.
          </Empty>
        }
      />
    </Panel>
  );
}

function NodeTable({ nodes }: { nodes: Node[] }) {
  const { route } = useLocation();
  const workers = nodes.filter((node) => node.slots > 0);
  return (
    <Panel title="Workers" isFlush actions={<a href={to("workers")}>All workers</a>}>
      <Table
        caption="Workers"
        columns={[...NODE_COLUMNS, ...NODE_DETAILS]}
        rows={workers}
        rowKey={(node) => node.node}
        open={(node) => route(at.worker(node.name))}
        empty={
          <Empty title="No worker answers" icon="workers" command="taskbus worker -A module:app">
            Tasks wait in their queues until a worker runs.
          </Empty>
        }
      />
    </Panel>
  );
}

function Sampling({ shown }: { shown: Shown }) {
  const { one_of, dropped } = shown.sampling;
  if (one_of <= 1 && !dropped) return null;
  return (
    <p class="note">
      {one_of > 1 &&
        `Counts are exact. Of tasks that succeeded, 1 in ${grouped(one_of)} is kept with its details; failures are kept in full. `}
      {dropped > 0 && `${plural(dropped, "record")} were dropped because they came faster than they could be stored.`}
    </p>
  );
}
