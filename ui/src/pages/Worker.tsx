/** One worker: what it runs, what it may run, how large it is, and the orders it takes. */

import { useState } from "preact/hooks";
import { useLocation, useRoute } from "preact-iso";
import { ApiError, api, type Node, type NodeDetail } from "../api";
import { Button } from "../components/Button";
import { Empty, Failure, Loading } from "../components/Empty";
import { Name } from "../components/Name";
import { NodeBadges, poolWords, prefetched, RUNNING_COLUMNS } from "../components/nodeCells";
import { Facts, Page, Panel } from "../components/Page";
import { Meter } from "../components/Progress";
import { Stat, Stats } from "../components/Stat";
import { type Column, Table } from "../components/Table";
import { Since, Time } from "../components/Time";
import { AskDialog, LimitDialog, QueueDialog } from "../components/WorkerDialogs";
import { bytes, grouped, instant, percent, plural } from "../format";
import { useAsked, useLive } from "../hooks";
import { at, to } from "../place";
import { cancelQueue, grow, shrink, stop } from "../workerActs";

export function Worker() {
  const called = useRoute().params.name ?? "";
  const asked = useAsked((signal) => api.node(called, signal), [called], 5);
  // A worker goes by more than one name: failed attempts know it as "host:pid".
  const name = asked.value?.node.name ?? called;
  const live = useLive("nodes").value;
  const node = live?.nodes?.find((each) => each.name === name) ?? asked.value?.node;
  const isGone = asked.error instanceof ApiError && asked.error.status === 404;
  return (
    <Page
      title={name}
      isName
      up={{ href: to("workers"), text: "Workers" }}
      beside={node && <NodeBadges node={node} />}
      actions={node && <Actions node={node} reload={asked.reload} />}
    >
      {isGone && (
        <Empty title="This worker is gone" icon="workers">
          It has stopped, or was not heard of for long. <a href={to("workers")}>See those that run.</a>
        </Empty>
      )}
      {asked.error && !isGone && <Failure error={asked.error} reload={asked.reload} />}
      {!asked.value && !asked.error && <Loading lines={9} />}
      {asked.value && node && (
        <Body
          node={node}
          detail={asked.value}
          running={live?.running?.filter((each) => each.worker === name) ?? asked.value.running}
          reload={asked.reload}
        />
      )}
    </Page>
  );
}

function Actions({ node, reload }: { node: Node; reload: () => void }) {
  const [isAsking, setAsking] = useState(false);
  if (node.kind !== "worker") return null;
  const cannot = !node.is_alive || node.is_stopping;
  return (
    <>
      <div class="pair" role="group" aria-label="Size of the pool">
        <Button
          icon="minus"
          needs="operator"
          label="Shrink the pool by one"
          testid="shrink"
          disabled={cannot || node.slots <= 1}
          onClick={() => shrink(node.name).then(reload)}
        />
        <span class="pair-value number">{plural(node.slots, "slot")}</span>
        <Button
          icon="plus"
          needs="operator"
          label="Grow the pool by one"
          testid="grow"
          disabled={cannot}
          onClick={() => grow(node.name).then(reload)}
        />
      </div>
      <Button icon="info" needs="operator" testid="ask" disabled={!node.is_alive} onClick={() => setAsking(true)}>
        Ask
      </Button>
      <Button
        kind="danger"
        icon="stop"
        needs="admin"
        testid="stop"
        disabled={cannot}
        onClick={() => stop(node.name).then(reload)}
      >
        Stop
      </Button>
      {isAsking && <AskDialog name={node.name} onClose={() => setAsking(false)} />}
    </>
  );
}

interface BodyProps {
  node: Node;
  detail: NodeDetail;
  running: NodeDetail["running"];
  reload: () => void;
}

function Body({ node, detail, running, reload }: BodyProps) {
  const { route } = useLocation();
  return (
    <>
      {!node.is_alive && (
        <p class="banner" role="status">
          This worker was last heard <Time at={node.at} />. Its tasks come back to their queues when their leases run
          out. See its log on <code>{node.host}</code>.
        </p>
      )}
      <Stats>
        <Stat
          label="Slots busy"
          value={grouped(node.active)}
          unit={`of ${grouped(node.slots)}`}
          note={
            <Meter
              isWide
              share={node.slots ? node.active / node.slots : 0}
              label={`${node.active} of ${node.slots} slots busy`}
            />
          }
        />
        <Stat label="Prefetched" value={grouped(prefetched(node))} note="taken, not begun" />
        <Stat label="CPU" value={percent(node.cpu_share)} note={`load of the host ${node.load.toFixed(1)}`} />
        <Stat label="Memory" value={bytes(node.rss)} note={plural(detail.runners.length, "process", "processes")} />
        <Stat label="Up" value={<Since at={node.started_at} />} note={instant(node.started_at).slice(0, 16)} />
      </Stats>
      <Panel title="Running now" isFlush>
        <Table
          caption={`Tasks that run on ${node.name}`}
          testid="running"
          columns={RUNNING_COLUMNS}
          rows={running}
          rowKey={(each) => each.id + each.attempt}
          open={(each) => route(at.task(each.id))}
          initial={{ key: "since", isDown: true }}
          empty={
            <Empty title="Nothing runs at this moment" icon="check">
              {!node.is_alive
                ? "It says nothing any more."
                : node.queues.length
                  ? "The worker waits for tasks in its queues."
                  : "The worker takes from no queue. Add one below."}
            </Empty>
          }
        />
      </Panel>
      <div class="columns">
        <div>
          <WorkerQueues node={node} reload={reload} />
          <Panel title="Process">
            <Facts
              items={[
                ["Host", node.host],
                ["Process id", String(node.pid)],
                ["Pool", poolWords(node)],
                ["Application", <code key="app">{node.app}</code>],
                ["Version", node.version],
                ["Last heard", <Time key="at" at={node.at} />],
                ["Successes kept", node.sampled > 1 ? `1 in ${node.sampled}` : "all"],
                ["Records dropped", grouped(node.dropped)],
              ]}
            />
          </Panel>
          <Processes runners={detail.runners} />
        </div>
        <Limits node={node} detail={detail} reload={reload} />
      </div>
    </>
  );
}

function WorkerQueues({ node, reload }: { node: Node; reload: () => void }) {
  const [isAdding, setAdding] = useState(false);
  return (
    <Panel
      title="Queues it takes from"
      actions={
        <Button kind="quiet" icon="plus" needs="operator" testid="add-queue" onClick={() => setAdding(true)}>
          Add
        </Button>
      }
    >
      {node.queues.length === 0 && <p class="faint">None: the worker waits for orders alone.</p>}
      <ul class="chips">
        {node.queues.map((queue) => (
          <li key={queue} class="chip chip-with-button">
            <a href={at.queue(queue)}>{queue}</a>
            <Button
              kind="quiet"
              icon="close"
              needs="operator"
              label={`Stop taking from ${queue}`}
              onClick={() => cancelQueue(node.name, queue).then(reload)}
            />
          </li>
        ))}
      </ul>
      {isAdding && (
        <QueueDialog
          name={node.name}
          onClose={() => {
            setAdding(false);
            reload();
          }}
        />
      )}
    </Panel>
  );
}

function Processes({ runners }: { runners: NodeDetail["runners"] }) {
  if (!runners.length) return null;
  const total = runners.reduce((sum, runner) => sum + runner.rss, 0);
  return (
    <Panel title="Processes of the pool" beside={`${bytes(total)} in ${grouped(runners.length)}`}>
      <ul class="tiles">
        {runners.map((runner) => (
          <li key={runner.pid} class="number">
            <span class="faint">pid</span> {runner.pid}
            <strong>{bytes(runner.rss)}</strong>
          </li>
        ))}
      </ul>
    </Panel>
  );
}

function Limits({ node, detail, reload }: { node: Node; detail: NodeDetail; reload: () => void }) {
  const [edited, setEdited] = useState<string | null>(null);
  const columns: Column<string>[] = [
    {
      key: "task",
      title: "Task type",
      by: (task) => task,
      show: (task) => <Name text={task} href={at.type(task)} />,
    },
    {
      key: "limit",
      title: "Rate limit",
      isNumber: true,
      by: (task) => detail.limits[task] ?? null,
      show: (task) => detail.limits[task] ?? <span class="faint">none</span>,
    },
    {
      key: "edit",
      title: "",
      show: (task) => (
        <div class="row-actions">
          <Button
            kind="quiet"
            icon="edit"
            needs="operator"
            label={`Set the rate limit of ${task}`}
            disabled={!node.is_alive}
            onClick={() => setEdited(task)}
          />
        </div>
      ),
    },
  ];
  return (
    <Panel title="Task types it knows" beside={grouped(detail.tasks.length)} isFlush>
      <Table
        caption={`Task types that ${node.name} knows, with their rate limits`}
        testid="limits"
        columns={columns}
        rows={detail.tasks}
        rowKey={(task) => task}
        empty={
          <Empty title="The worker named no task type">Its application has none, or it has not reported yet.</Empty>
        }
      />
      {edited && (
        <LimitDialog
          name={node.name}
          task={edited}
          limit={detail.limits[edited] ?? ""}
          onClose={() => {
            setEdited(null);
            reload();
          }}
        />
      )}
    </Panel>
  );
}
