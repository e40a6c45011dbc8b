/** One type of task over time, the errors it ended with, and who runs it. */
import { useState } from "preact/hooks";
import { useLocation, useRoute } from "preact-iso";
import { api, type ErrorGroup, type Range, type Series, type TaskType } from "../api";
import { Badge } from "../components/Badge";
import { Button } from "../components/Button";
import { Chart } from "../components/Chart";
import { Empty, Failure, Loading } from "../components/Empty";
import { Choice, Page, Panel, RANGES } from "../components/Page";
import { Stat, Stats } from "../components/Stat";
import { type Column, Table } from "../components/Table";
import { Time } from "../components/Time";
import { count, duration, grouped, percent, rate } from "../format";
import { useAsked, useQuery } from "../hooks";
import { at, term, to } from "../place";
import { CLOCK_STEPS } from "../series";
import { SendDialog } from "./types/SendDialog";
import { endedOf, failureShare } from "./types/shares";

const UP = { href: to("types"), text: "Task types" };
const REFRESH = 5;

export function Type() {
  const task = useRoute().params.task as string;
  const [range, setRange] = useQuery<Range>("range", "1h");
  const [isSending, setSending] = useState(false);
  const { route } = useLocation();
  const asked = useAsked((signal) => api.type(task, range, signal), [task, range], REFRESH);
  const type = asked.value?.type;
  const actions = (
    <>
      <Choice label="Range" options={RANGES} value={range} onChange={setRange} />
      <Button icon="play" needs="operator" onClick={() => setSending(true)} testid="send">
        Send one
      </Button>
    </>
  );
  const beside = type && !type.is_registered && (
    <Badge tone="warn" title="What is sent of it becomes a dead letter.">
      not registered on any worker
    </Badge>
  );
  return (
    <Page title={task} up={UP} beside={beside} actions={actions} isName>
      {asked.error && <Failure error={asked.error} reload={asked.reload} />}
      {!asked.value && asked.isLoading && <Loading lines={10} />}
      {type && asked.value && <Shown type={type} series={asked.value.series} />}
      {isSending && (
        <SendDialog
          task={task}
          queues={type?.queues ?? []}
          onClose={() => setSending(false)}
          onSent={(id) => route(at.task(id))}
        />
      )}
    </Page>
  );
}

function Shown({ type, series }: { type: TaskType; series: Series }) {
  const share = failureShare(type.counts);
  const all = at.tasks(term("task", type.task));
  const failed = at.tasks(`${term("task", type.task)} state:FAILURE`);
  return (
    <>
      <Stats>
        <Stat
          label="Rate"
          value={rate(type.rate)}
          unit="/s"
          note={`${count(endedOf(type.counts))} attempts`}
          href={all}
        />
        <Stat
          label="Failed"
          value={share === null ? "–" : percent(share)}
          note={`${count(type.counts.failed)} dead, ${count(type.counts.retried)} ${type.counts.retried === 1 ? "retry" : "retries"}`}
          href={failed}
          {...(share && share >= 0.05 ? { tone: "bad" as const } : {})}
        />
        <Stat label="Ran, median" value={duration(type.run.p50)} note={`p95 ${duration(type.run.p95)}`} />
        <Stat label="Ran, p99" value={duration(type.run.p99)} />
        <Stat label="Waited, median" value={duration(type.wait.p50)} note={`p95 ${duration(type.wait.p95)}`} />
        {type.counts.crashed > 0 && (
          <Stat label="Crashed" value={count(type.counts.crashed)} note="took their process along" tone="bad" />
        )}
      </Stats>
      <Panel title="Ended, per second">
        <Chart
          label={`What ended of ${type.task}, per second`}
          t={series.t}
          format={rate}
          group="type"
          height={170}
          lines={[
            { label: "Succeeded", colour: "green", values: series.succeeded, isFilled: true },
            { label: "Failed", colour: "red", values: series.failed },
            { label: "Retried", colour: "amber", values: series.retried },
          ]}
        />
      </Panel>
      <div class="columns">
        <Times title="Ran" series={series} kind="run" />
        <Times title="Waited" series={series} kind="wait" />
      </div>
      <Panel
        title="Errors"
        beside={type.errors.length ? grouped(type.errors.length) : undefined}
        isFlush
        testid="errors"
      >
        <Errors type={type} />
      </Panel>
      <Panel title="Workers that run it" testid="workers">
        {type.workers.length ? (
          <ul class="chips">
            {type.workers.map((worker) => (
              <li key={worker}>
                <a class="chip" href={at.worker(worker)}>
                  {worker}
                </a>
              </li>
            ))}
          </ul>
        ) : (
          <p class="muted">
            None. What is sent of it waits, or becomes a dead letter with the reason <code>unknown_task</code>: start a
            worker whose application has it.
          </p>
        )}
      </Panel>
    </>
  );
}

function Times({ title, series, kind }: { title: string; series: Series; kind: "run" | "wait" }) {
  return (
    <Panel title={title}>
      <Chart
        label={`How long it ${title.toLowerCase()}`}
        t={series.t}
        format={duration}
        steps={CLOCK_STEPS}
        group="type"
        height={170}
        lines={[
          { label: "p50", colour: "blue", values: series[`${kind}_p50`] },
          { label: "p95", colour: "violet", values: series[`${kind}_p95`] },
          { label: "p99", colour: "grey", values: series[`${kind}_p99`], isDashed: true },
        ]}
      />
    </Panel>
  );
}

function Errors({ type }: { type: TaskType }) {
  const columns: Column<ErrorGroup>[] = [
    {
      key: "error",
      title: "Error",
      isElastic: true,
      by: (each) => each.error,
      show: (each) => (
        <>
          <strong class="cut">{each.error || "other errors"}</strong>
          <span class="second" title={each.message}>
            {each.message || "no message"}
          </span>
        </>
      ),
    },
    { key: "count", title: "Times", isNumber: true, by: (each) => each.count, show: (each) => grouped(each.count) },
    {
      key: "last",
      title: "Last",
      from: "medium",
      by: (each) => each.last_at,
      show: (each) => <Time at={each.last_at} />,
    },
    {
      key: "example",
      title: "Newest",
      show: (each) => (each.example ? <a href={at.task(each.example)}>Show</a> : <span class="faint">–</span>),
    },
    {
      key: "all",
      title: "All",
      from: "medium",
      show: (each) => <a href={at.tasks(`${term("task", type.task)} ${term("error", each.error)}`)}>Search</a>,
    },
  ];
  return (
    <Table
      caption={`Errors of ${type.task}`}
      columns={columns}
      rows={type.errors}
      rowKey={(each) => each.error}
      initial={{ key: "count", isDown: true }}
      empty={<Empty title="No errors in this time" icon="check" />}
    />
  );
}
