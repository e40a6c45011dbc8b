/** One queue: what waits in it, since when, how fast it moves, and the buttons that stop or empty it. */

import { useLocation, useRoute } from "preact-iso";
import { ApiError, api, type Queue as Shown, type Waiting } from "../api";
import { Badge } from "../components/Badge";
import { Button } from "../components/Button";
import { Empty, Failure, Loading } from "../components/Empty";
import { Name } from "../components/Name";
import { Page, Panel } from "../components/Page";
import { drains, grows, Oldest, QueueBadges } from "../components/queueCells";
import { SeriesCharts, useRange } from "../components/SeriesCharts";
import { Stat, Stats } from "../components/Stat";
import { type Column, Table } from "../components/Table";
import { Time } from "../components/Time";
import { bytes, duration, grouped, plural, rate, short } from "../format";
import { useAsked, useLive } from "../hooks";
import { at, term, to } from "../place";
import { pause, purge, resume } from "../queueActs";

const WAITING: Column<Waiting>[] = [
  {
    key: "task",
    title: "Task",
    show: (message) => (
      <span class="cell-main">
        <Name text={message.task} href={at.task(message.id)} />
        {message.is_delayed && <Badge>delayed</Badge>}
        {message.attempt > 1 && <Badge tone="warn">attempt {message.attempt}</Badge>}
      </span>
    ),
  },
  {
    key: "id",
    title: "Id",
    from: "wide",
    show: (message) => (
      <code class="faint" title={message.id}>
        {short(message.id)}
      </code>
    ),
  },
  {
    key: "args",
    title: "Arguments",
    isElastic: true,
    from: "medium",
    show: (message) => (
      <code title={`${message.args} ${message.kwargs}`}>
        {message.args}
        {message.kwargs && message.kwargs !== "{}" && ` ${message.kwargs}`}
      </code>
    ),
  },
  { key: "priority", title: "Priority", isNumber: true, from: "wide", show: (message) => message.priority },
  { key: "size", title: "Size", isNumber: true, from: "wide", show: (message) => bytes(message.size) },
  { key: "sent", title: "Sent", isNumber: true, show: (message) => <Time at={message.sent_at} /> },
  {
    key: "due",
    title: "Due",
    isNumber: true,
    from: "medium",
    show: (message) => <Time at={message.due_at} none="now" />,
  },
];

export function Queue() {
  const name = useRoute().params.name ?? "";
  const [range, ranges] = useRange();
  const asked = useAsked((signal) => api.queue(name, range, signal), [name, range], 10);
  const live = useLive("queues").value;
  const queue = live?.queues?.find((each) => each.name === name) ?? asked.value?.queue;
  const isGone = asked.error instanceof ApiError && asked.error.status === 404;
  return (
    <Page
      title={name}
      isName
      up={{ href: to("queues"), text: "Queues" }}
      beside={queue && <QueueBadges queue={queue} />}
      actions={
        <>
          {ranges}
          {queue && <Actions queue={queue} reload={asked.reload} />}
        </>
      }
    >
      {isGone && (
        <Empty title="There is no such queue now" icon="queues">
          Nothing waits in it, and no worker takes from it. It appears again with the next task that is sent to it.
        </Empty>
      )}
      {asked.error && !isGone && <Failure error={asked.error} reload={asked.reload} />}
      {!asked.value && !asked.error && <Loading lines={9} />}
      {asked.value && queue && (
        <>
          <Figures queue={queue} />
          <SeriesCharts series={asked.value.series} group="queue" height={170} />
          <Messages queue={queue} messages={asked.value.messages} />
        </>
      )}
    </Page>
  );
}

function Actions({ queue, reload }: { queue: Shown; reload: () => void }) {
  const { name } = queue;
  return (
    <>
      {queue.is_paused ? (
        <Button kind="main" icon="play" needs="operator" testid="resume" onClick={() => resume(name).then(reload)}>
          Resume
        </Button>
      ) : (
        <Button icon="pause" needs="operator" testid="pause" onClick={() => pause(name).then(reload)}>
          Pause
        </Button>
      )}
      <Button kind="danger" icon="trash" needs="admin" testid="purge" onClick={() => purge(name).then(reload)}>
        Purge
      </Button>
    </>
  );
}

function Figures({ queue }: { queue: Shown }) {
  const left = drains(queue);
  const trend = grows(queue) ? "growing" : left ? `empty in ${duration(left)}` : "";
  return (
    <Stats>
      <Stat label="Ready" value={grouped(queue.ready)} note={trend || "waiting for a worker"} />
      <Stat label="Oldest" value={<Oldest queue={queue} />} note="has waited" />
      <Stat label="Delayed" value={grouped(queue.delayed)} note="not due yet" />
      <Stat
        label="In work"
        value={grouped(queue.held)}
        note="taken by workers"
        href={at.tasks(`state:STARTED ${term("queue", queue.name)}`)}
      />
      <Stat label="In" value={rate(queue.rate_in)} unit="/s" note="sent" />
      <Stat label="Out" value={rate(queue.rate_out)} unit="/s" note="ended" />
      <Stat
        label="Workers"
        value={grouped(queue.workers)}
        note={queue.workers ? "take from it" : "none takes from it"}
        {...(queue.workers === 0 ? { tone: "bad" as const } : {})}
        href={to("workers", { filter: queue.name })}
      />
      <Stat
        label="Dead letters"
        value={grouped(queue.dead)}
        note={queue.dead ? "replay or delete" : "none"}
        {...(queue.dead ? { tone: "bad" as const } : {})}
        href={at.letters(term("queue", queue.name))}
      />
    </Stats>
  );
}

function Messages({ queue, messages }: { queue: Shown; messages: Waiting[] }) {
  const { route } = useLocation();
  const all = queue.ready + queue.delayed;
  return (
    <Panel
      title="Waiting messages"
      beside="next to run first"
      isFlush
      actions={<a href={at.tasks(term("queue", queue.name))}>Tasks of this queue</a>}
    >
      <Table
        caption={`Messages that wait in ${queue.name}`}
        testid="messages"
        columns={WAITING}
        rows={messages}
        rowKey={(message) => message.id}
        open={(message) => route(at.task(message.id))}
        foot={
          all > messages.length ? `The next ${messages.length} of ${grouped(all)}` : plural(messages.length, "message")
        }
        empty={
          <Empty title="Nothing waits" icon="check">
            {queue.workers
              ? "Workers take each task as it comes."
              : "No worker takes from this queue: what is sent to it will wait here."}
          </Empty>
        }
      />
    </Panel>
  );
}
