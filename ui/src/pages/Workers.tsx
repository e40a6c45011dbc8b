/** Every worker and scheduler that reports, and what runs now. */

import { useMemo } from "preact/hooks";
import { useLocation } from "preact-iso";
import { api, type Node, type Running } from "../api";
import { Empty, Failure, Loading } from "../components/Empty";
import { QuickFilter } from "../components/FilterBar";
import { NODE_COLUMNS, NODE_DETAILS, NodeBadges, prefetched, RUNNING_COLUMNS } from "../components/nodeCells";
import { Page, Panel } from "../components/Page";
import { Stat, Stats } from "../components/Stat";
import { type Column, Table } from "../components/Table";
import { Since, Time } from "../components/Time";
import { bytes, grouped, plural } from "../format";
import { useAsked, useLive, useQuery } from "../hooks";
import { at } from "../place";

const SEEN: Column<Node> = {
  key: "seen",
  title: "Seen",
  isNumber: true,
  from: "wide",
  by: (node) => node.at,
  show: (node) => <Time at={node.at} />,
};

const OTHERS: Column<Node>[] = [
  {
    key: "name",
    title: "Name",
    show: (node) => (
      <span class="cell-main">
        <span class="name">{node.name}</span>
        <NodeBadges node={node} />
      </span>
    ),
  },
  { key: "kind", title: "Kind", show: (node) => node.kind },
  { key: "memory", title: "Memory", isNumber: true, from: "medium", show: (node) => bytes(node.rss) },
  { key: "version", title: "Version", from: "medium", show: (node) => <span class="number">{node.version}</span> },
  { key: "up", title: "Up", isNumber: true, from: "medium", show: (node) => <Since at={node.started_at} /> },
  { key: "seen", title: "Seen", isNumber: true, show: (node) => <Time at={node.at} /> },
];

function answers(node: Node, filter: string): boolean {
  const words = [node.name, node.host, ...node.queues].join(" ").toLowerCase();
  return words.includes(filter.toLowerCase());
}

export function Workers() {
  const { route } = useLocation();
  const asked = useAsked(api.nodes, [], 10);
  const live = useLive("nodes").value;
  const [filter, setFilter] = useQuery<string>("filter", "");
  const all = live?.nodes ?? asked.value?.items ?? null;
  const workers = useMemo(() => (all ?? []).filter((node) => node.kind === "worker"), [all]);
  const shown = workers.filter((node) => answers(node, filter));
  const others = (all ?? []).filter((node) => node.kind !== "worker");
  return (
    <Page
      title="Workers"
      actions={<QuickFilter value={filter} onChange={setFilter} label="Filter by name, host or queue" />}
    >
      {asked.error && !all && <Failure error={asked.error} reload={asked.reload} />}
      {!all && !asked.error && <Loading lines={8} />}
      {all && (
        <>
          {workers.length > 0 && <Figures workers={workers} />}
          <Panel isFlush>
            <Table
              caption="Workers"
              testid="workers"
              columns={[...NODE_COLUMNS, ...NODE_DETAILS, SEEN]}
              rows={shown}
              rowKey={(node) => node.node}
              open={(node) => route(at.worker(node.name))}
              rowClass={(node) => (node.is_alive ? "" : "row-silent")}
              initial={{ key: "name", isDown: false }}
              foot={plural(shown.length, "worker")}
              empty={
                filter && workers.length ? (
                  <Empty title={`No worker answers to “${filter}”`} icon="search" />
                ) : (
                  <Empty title="No worker answers" icon="workers" command="taskbus worker -A module:app">
                    Start one with the command below. If one should be running, <code>taskbus doctor</code> says what
                    keeps it from reporting.
                  </Empty>
                )
              }
            />
          </Panel>
          <RunningNow running={live?.running ?? null} filter={filter} />
          {others.length > 0 && (
            <Panel title="Schedulers and pages" isFlush>
              <Table caption="Schedulers and pages" columns={OTHERS} rows={others} rowKey={(node) => node.node} />
            </Panel>
          )}
        </>
      )}
    </Page>
  );
}

function Figures({ workers }: { workers: Node[] }) {
  const alive = workers.filter((node) => node.is_alive);
  const silent = workers.length - alive.length;
  const sum = (of: (node: Node) => number) => alive.reduce((total, node) => total + of(node), 0);
  return (
    <Stats>
      <Stat
        label="Workers"
        value={grouped(alive.length)}
        note={silent ? `${silent} silent` : "all answer"}
        {...(silent ? { tone: "warn" as const } : {})}
      />
      <Stat
        label="Slots busy"
        value={grouped(sum((node) => node.active))}
        unit={`of ${grouped(sum((node) => node.slots))}`}
        note="tasks that run now"
      />
      <Stat label="Prefetched" value={grouped(sum(prefetched))} note="taken, not begun" />
      <Stat
        label="CPU"
        value={sum((node) => node.cpu_share).toFixed(1)}
        unit="cores"
        note={plural(new Set(alive.map((node) => node.host)).size, "host")}
      />
      <Stat label="Memory" value={bytes(sum((node) => node.rss))} note="with all processes" />
    </Stats>
  );
}

function RunningNow({ running, filter }: { running: Running[] | null; filter: string }) {
  const { route } = useLocation();
  if (!running) return null;
  const shown = running.filter((each) =>
    [each.task, each.worker, each.queue].join(" ").toLowerCase().includes(filter.toLowerCase()),
  );
  return (
    <Panel title="Running now" beside="longest first" isFlush>
      <Table
        caption="Tasks that run now"
        testid="running"
        columns={RUNNING_COLUMNS}
        rows={shown}
        rowKey={(each) => each.id + each.attempt}
        open={(each) => route(at.task(each.id))}
        initial={{ key: "since", isDown: true }}
        empty={<Empty title="Nothing runs at this moment" icon="check" />}
      />
    </Panel>
  );
}
