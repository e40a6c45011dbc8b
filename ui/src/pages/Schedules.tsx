/** Schedules: what runs when, in plain words, with the next runs and what came of the last. */
import { useState } from "preact/hooks";
import { api, type Schedule } from "../api";
import { Badge, StateBadge } from "../components/Badge";
import { Button } from "../components/Button";
import { confirm } from "../components/Dialog";
import { Empty, Failure, Loading } from "../components/Empty";
import { QuickFilter } from "../components/FilterBar";
import { Page } from "../components/Page";
import { Time } from "../components/Time";
import { duration, grouped, plural } from "../format";
import { useAsked, useQuery } from "../hooks";
import { now } from "../live";
import { at, term } from "../place";
import { act } from "../toasts";
import { Next } from "./schedules/Next";

const REFRESH = 5;
/** Seconds after which a run that is due and was not sent says that no beat is running. */
const OVERDUE = 15;

export function Schedules() {
  const [words, setWords] = useQuery<string>("name", "");
  const asked = useAsked((signal) => api.schedules(signal), [], REFRESH);
  const all = asked.value?.items ?? [];
  const fits = (schedule: Schedule) => `${schedule.name} ${schedule.task}`.toLowerCase().includes(words.toLowerCase());
  const shown = all.filter(fits);
  const late = all.find((each) => !each.is_paused && (each.next[0] ?? Number.POSITIVE_INFINITY) < now.value - OVERDUE);
  return (
    <Page title="Schedules">
      {all.length > 0 && (
        <div class="tools">
          <QuickFilter value={words} onChange={setWords} label="Narrow by name or task" />
          <span class="faint">{plural(all.length, "schedule")}</span>
        </div>
      )}
      {late && (
        <p class="note note-alone note-warn" role="status">
          {late.name} is overdue. Is a beat running? Start one: <code>taskbus beat -A module:app</code>
        </p>
      )}
      {asked.error && <Failure error={asked.error} reload={asked.reload} />}
      {!asked.value && asked.isLoading && <Loading lines={8} />}
      {asked.value && !all.length && <NothingYet />}
      {all.length > 0 && !shown.length && <Empty title="No schedule of that name" icon="search" />}
      <ul class="cards" data-testid="schedules">
        {shown.map((schedule) => (
          <Card key={schedule.name} schedule={schedule} reload={asked.reload} />
        ))}
      </ul>
    </Page>
  );
}

function Card({ schedule, reload }: { schedule: Schedule; reload: () => void }) {
  return (
    <li class={schedule.is_paused ? "card card-still" : "card"} data-testid={`schedule-${schedule.name}`}>
      <div class="card-what">
        <h2>
          <span class="name">{schedule.name}</span> {schedule.is_paused && <Badge tone="warn">paused</Badge>}
          {schedule.origin && schedule.origin !== "code" && (
            <Badge title="It was added while the application was running">added</Badge>
          )}
        </h2>
        <p class="card-when">
          <span>{schedule.timetable}</span>
          <span class="faint"> · {schedule.zone || "UTC"}</span>
        </p>
        <a class="name second" href={at.type(schedule.task)}>
          {schedule.task}
        </a>
      </div>
      <div class="card-part">
        <h3>Next</h3>
        <Next schedule={schedule} />
      </div>
      <div class="card-part">
        <h3>Last</h3>
        <Last schedule={schedule} />
      </div>
      <Tally schedule={schedule} />
      <Actions schedule={schedule} reload={reload} />
    </li>
  );
}

function Last({ schedule }: { schedule: Schedule }) {
  if (schedule.last_at === null) return <span class="faint">has not run yet</span>;
  return (
    <>
      {schedule.last_task_id ? (
        <a href={at.task(schedule.last_task_id)}>
          <Time at={schedule.last_at} />
        </a>
      ) : (
        <Time at={schedule.last_at} />
      )}{" "}
      {schedule.last_state && <StateBadge state={schedule.last_state} />}
      {(schedule.lateness ?? 0) >= 1 && <span class="second">{duration(schedule.lateness)} late</span>}
    </>
  );
}

function Tally({ schedule }: { schedule: Schedule }) {
  const runs = at.tasks(term("schedule", schedule.name));
  return (
    <dl class="tally">
      <div>
        <dt>sent</dt>
        <dd>
          <a href={runs}>{grouped(schedule.sent)}</a>
        </dd>
      </div>
      <div title="They were due while no beat was running, and were not made up for">
        <dt>missed</dt>
        <dd class={schedule.missed ? "text-bad" : "faint"}>{grouped(schedule.missed)}</dd>
      </div>
      <div title="The run before was still under way">
        <dt>skipped</dt>
        <dd class={schedule.skipped ? "text-warn" : "faint"}>{grouped(schedule.skipped)}</dd>
      </div>
    </dl>
  );
}

function Actions({ schedule, reload }: { schedule: Schedule; reload: () => void }) {
  const [isBusy, setBusy] = useState(false);
  const { name } = schedule;
  const change = async (make: () => Promise<unknown>, done: string) => {
    setBusy(true);
    await act(make, done);
    setBusy(false);
    reload();
  };
  const pause = async () => {
    const text = "It sends nothing until it is resumed. Runs that come due meanwhile are not made up for.";
    const isSure = await confirm({ title: `Pause ${name}`, text, verb: "Pause" });
    if (isSure) await change(() => api.pauseSchedule(name), `Paused ${name}.`);
  };
  const run = async () => {
    const text = "It is sent once now, besides its timetable.";
    const isSure = await confirm({ title: `Run ${name} now`, text, verb: "Run now" });
    if (isSure) await change(() => api.runSchedule(name), `Sent ${name}.`);
  };
  return (
    <div class="card-actions">
      <Button icon="play" needs="operator" disabled={isBusy} onClick={run} testid="run">
        Run now
      </Button>
      {schedule.is_paused ? (
        <Button
          needs="operator"
          disabled={isBusy}
          onClick={() => change(() => api.resumeSchedule(name), `Resumed ${name}.`)}
          testid="resume"
        >
          Resume
        </Button>
      ) : (
        <Button icon="pause" needs="operator" disabled={isBusy} onClick={pause} testid="pause">
          Pause
        </Button>
      )}
    </div>
  );
}

function NothingYet() {
  return (
    <Empty
      title="No schedules yet"
      icon="schedules"
      command="taskbus schedule add nightly shop.reports.build --cron '30 2 * * *'"
    >
      A schedule sends a task at set times: written in the application, as{" "}
      <code>@app.task(schedule=cron("30 2 * * *"))</code> or <code>app.schedule(name, call, timetable)</code>, or added
      while it runs. A beat must be running to send them: <code>taskbus beat</code>, or <code>taskbus worker -B</code>.
    </Empty>
  );
}
