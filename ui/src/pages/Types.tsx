/** Types of tasks side by side: how often each ran, how long it took, how it failed. */
import { useLocation } from "preact-iso";
import { api, type Range, type TaskType } from "../api";
import { Badge } from "../components/Badge";
import { Empty, Failure, Loading } from "../components/Empty";
import { QuickFilter } from "../components/FilterBar";
import { Choice, Page, Panel, RANGES } from "../components/Page";
import { Spark } from "../components/Spark";
import { type Column, Table } from "../components/Table";
import { Duration } from "../components/Time";
import { percent, plural, rate } from "../format";
import { useAsked, useQuery } from "../hooks";
import { at } from "../place";
import { failureShare, worstOf } from "./types/shares";

const REFRESH = 5;

const COLUMNS: Column<TaskType>[] = [
  {
    key: "task",
    title: "Task",
    by: (type) => type.task,
    isElastic: true,
    show: (type) => (
      <>
        <a class="name cut" href={at.type(type.task)}>
          {type.task}
        </a>
        <span class="second">{type.is_registered ? type.queues.join(", ") : <Unregistered />}</span>
      </>
    ),
  },
  {
    key: "rate",
    title: "Rate /s",
    isNumber: true,
    by: (type) => type.rate,
    show: (type) => rate(type.rate),
  },
  {
    key: "spark",
    title: "Past",
    from: "medium",
    show: (type) => <Spark values={type.spark} label={`Rate of ${type.task}`} />,
  },
  {
    key: "failed",
    title: "Failed",
    isNumber: true,
    by: (type) => failureShare(type.counts),
    show: (type) => <FailedShare type={type} />,
  },
  {
    key: "run_p50",
    title: "Ran p50",
    isNumber: true,
    from: "medium",
    by: (type) => type.run.p50,
    show: (type) => <Duration seconds={type.run.p50} />,
  },
  {
    key: "run_p95",
    title: "p95",
    isNumber: true,
    from: "medium",
    by: (type) => type.run.p95,
    show: (type) => <Duration seconds={type.run.p95} />,
  },
  {
    key: "run_p99",
    title: "p99",
    isNumber: true,
    from: "medium",
    by: (type) => type.run.p99,
    show: (type) => <Duration seconds={type.run.p99} />,
  },
  {
    key: "wait_p95",
    title: "Waited p95",
    isNumber: true,
    from: "wide",
    by: (type) => type.wait.p95,
    show: (type) => <Duration seconds={type.wait.p95} />,
  },
  {
    key: "errors",
    title: "Most frequent error",
    from: "wide",
    show: (type) => <Worst type={type} />,
  },
];

export function Types() {
  const [range, setRange] = useQuery<Range>("range", "1h");
  const [words, setWords] = useQuery<string>("name", "");
  const { route } = useLocation();
  const asked = useAsked((signal) => api.types(range, signal), [range], REFRESH);
  const all = asked.value?.items ?? [];
  const rows = all.filter((type) => type.task.toLowerCase().includes(words.toLowerCase()));
  const unknown = all.filter((type) => !type.is_registered);
  return (
    <Page title="Task types" actions={<Choice label="Range" options={RANGES} value={range} onChange={setRange} />}>
      <div class="tools">
        <QuickFilter value={words} onChange={setWords} label="Narrow by name" />
        {unknown.length > 0 && (
          <span class="text-warn">
            {plural(unknown.length, "type is", "types are")} registered on no worker that runs
          </span>
        )}
      </div>
      <Panel isFlush>
        {asked.error && <Failure error={asked.error} reload={asked.reload} />}
        {!asked.value && asked.isLoading && <Loading lines={8} />}
        {asked.value && (
          <Table
            caption="Types of tasks"
            columns={COLUMNS}
            rows={rows}
            rowKey={(type) => type.task}
            open={(type) => route(at.type(type.task))}
            initial={{ key: "rate", isDown: true }}
            rowHeight={52}
            empty={all.length ? <NothingFits /> : <NothingYet />}
            testid="types"
          />
        )}
      </Panel>
    </Page>
  );
}

export function Unregistered() {
  return (
    <span class="text-warn" title="No worker that runs knows this task: what is sent of it becomes a dead letter.">
      not registered on any worker
    </span>
  );
}

function FailedShare({ type }: { type: TaskType }) {
  const share = failureShare(type.counts);
  if (share === null) return <span class="faint">–</span>;
  if (share === 0) return <span class="faint">0 %</span>;
  return (
    <Badge
      tone={share >= 0.05 ? "bad" : share >= 0.01 ? "warn" : "quiet"}
      title={plural(type.counts.failed, "failure")}
    >
      {percent(share)}
    </Badge>
  );
}

function Worst({ type }: { type: TaskType }) {
  const worst = worstOf(type);
  if (!worst) return <span class="faint">none</span>;
  return (
    <>
      <a class="cut" href={worst.example ? at.task(worst.example) : at.type(type.task)} title={worst.message}>
        {worst.error.split(".").at(-1)}
      </a>
      <span class="second">
        {plural(worst.count, "time")}
        {type.errors.length > 1 && `, and ${plural(type.errors.length - 1, "other")}`}
      </span>
    </>
  );
}

function NothingFits() {
  return <Empty title="No type of that name" icon="search" />;
}

function NothingYet() {
  return (
    <Empty title="No tasks are known yet" command="taskbus worker -A module:app">
      A type of task appears once a worker that knows it runs, or once one was sent.
    </Empty>
  );
}
