/** One task: what it was given, each attempt over time, what came of it, and how to send it again. */
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { useLocation, useRoute } from "preact-iso";
import { ApiError, api, type TaskDetail } from "../api";
import { Badge, StateBadge } from "../components/Badge";
import { Button } from "../components/Button";
import { confirm } from "../components/Dialog";
import { Command, Copy, Empty, Failure, Loading } from "../components/Empty";
import { Json } from "../components/Json";
import { Facts, Page, Panel } from "../components/Page";
import { ProgressBar } from "../components/Progress";
import { Duration, Since, Time } from "../components/Time";
import { short } from "../format";
import { useAsked, useLive } from "../hooks";
import { now } from "../live";
import { at, to } from "../place";
import { act } from "../toasts";
import { ArgumentsDialog } from "./task/ArgumentsDialog";
import { AttemptStory } from "./task/Attempts";
import { Relations } from "./task/Relations";
import { Timeline } from "./task/Timeline";

const UP = { href: to("tasks"), text: "Tasks" };
/** Seconds between two looks at a task that runs or waits. */
const WATCH = 1.5;
/** Seconds after a task's end within which its worker still may report how the last attempt went. */
const RECORD_COMES = 30;
const OPEN_STATES = ["PENDING", "STARTED", "RETRY"];
const OF_FLOW =
  "If it takes what the task before it in its workflow returned, that value came before these arguments. It is not kept here.";

/** Whether it has ended, and the record of its last attempt is still to come. */
function isOnItsWay(detail: TaskDetail): boolean {
  const { row, attempts } = detail;
  if (detail.is_running || detail.is_waiting || OPEN_STATES.includes(row.state)) return false;
  const isTold = attempts.length > 0 && !OPEN_STATES.includes(attempts.at(-1)?.state ?? "");
  return !isTold && row.ended_at !== null && now.value - row.ended_at < RECORD_COMES;
}

function nothingTried(detail: TaskDetail): string {
  if (isOnItsWay(detail)) return "It has ended; the record of it is on its way.";
  return OPEN_STATES.includes(detail.row.state) ? "It has not been tried yet." : "Nothing is kept of its attempts.";
}

export function Task() {
  const id = useRoute().params.id as string;
  const [isOpen, setOpen] = useState(true);
  const asked = useAsked((signal) => api.task(id, signal), [id], isOpen ? WATCH : 0);
  const detail = asked.value;
  const goesOn = !detail || detail.is_running || detail.is_waiting || isOnItsWay(detail);
  if (goesOn !== isOpen) setOpen(goesOn);
  if (!detail) {
    return (
      <Page title={short(id)} up={UP} isName>
        {asked.error ? <Missing error={asked.error} reload={asked.reload} /> : <Loading />}
      </Page>
    );
  }
  return <Shown key={id} detail={detail} reload={asked.reload} />;
}

function Missing({ error, reload }: { error: Error; reload: () => void }) {
  if (!(error instanceof ApiError && error.status === 404)) return <Failure error={error} reload={reload} />;
  return (
    <Empty title="Nothing is known of this task" icon="search">
      It may be too old, or one of the successes that were not sampled. A task that was sent just now appears once a
      worker has fetched it.
    </Empty>
  );
}

function Shown({ detail, reload }: { detail: TaskDetail; reload: () => void }) {
  const { row, attempts } = detail;
  const [wanted, setWanted] = useState(0);
  const attempt = attempts.find((each) => each.attempt === wanted) ?? attempts.at(-1);
  const beside = (
    <>
      <StateBadge state={row.state} />
      {detail.is_dead_letter && (
        <a href={at.letter(row.id)}>
          <Badge tone="bad">dead letter</Badge>
        </a>
      )}
    </>
  );
  return (
    <Page title={row.task} up={UP} beside={beside} actions={<Actions detail={detail} reload={reload} />} isName>
      {(detail.is_running || detail.progress) && <Underway detail={detail} />}
      <Panel title="Attempts" beside={attempts.length > 1 ? String(attempts.length) : undefined} testid="attempts">
        <Timeline
          attempts={attempts}
          now={now.value}
          chosen={attempt?.attempt ?? 0}
          onChoose={setWanted}
          none={nothingTried(detail)}
        />
      </Panel>
      <div class="columns columns-wide-left">
        <div>
          {attempt && (
            <Panel title={attempts.length > 1 ? `Attempt ${attempt.attempt}` : "What happened"} testid="attempt">
              <AttemptStory attempt={attempt} />
            </Panel>
          )}
          {detail.result !== null && (
            <Panel title="Result" testid="result">
              <Json value={detail.result} label="Result" />
            </Panel>
          )}
          <Panel title="Arguments" testid="arguments">
            <Given label="Positional" text={row.args} none="()" unknown={unknown(detail)} />
            <Given label="Named" text={row.kwargs} none="{}" unknown={unknown(detail)} />
            {(detail.flow || row.flow) && <p class="note">{OF_FLOW}</p>}
          </Panel>
        </div>
        <div>
          <Panel title="About" testid="about">
            <About detail={detail} />
          </Panel>
          <Relations detail={detail} />
          {!detail.is_running && (
            <Panel title="Send it again" testid="again">
              <Again detail={detail} />
            </Panel>
          )}
        </div>
      </div>
    </Page>
  );
}

/** What is said in the place of what nobody has told yet: workers say what a task was given when it has ended. */
function unknown(detail: TaskDetail): string {
  return detail.is_running ? "known once it has ended" : "not known";
}

function Given({ label, text, none, unknown }: { label: string; text: string; none: string; unknown: string }) {
  const isNone = text === none || text === "[]";
  return (
    <div class="given">
      <h3>{label}</h3>
      {text && !isNone ? (
        <Json value={text} label={`${label} arguments`} />
      ) : (
        <p class="faint">{isNone ? "none" : unknown}</p>
      )}
    </div>
  );
}

function Again({ detail }: { detail: TaskDetail }) {
  if (!detail.python && !detail.cli) {
    return (
      <p class="faint">
        Its message is gone, and what is kept of its arguments is text for people. Send again, above, takes them from
        you.
      </p>
    );
  }
  return (
    <>
      <h3>In Python</h3>
      {detail.python ? <Command text={detail.python} /> : <p class="faint">It is too long to be copied.</p>}
      <h3>In a terminal</h3>
      {detail.cli ? (
        <Command text={detail.cli} />
      ) : (
        <p class="faint">Its arguments cannot be written in a command line.</p>
      )}
    </>
  );
}

function Underway({ detail }: { detail: TaskDetail }) {
  // The stream tells of progress each second; the detail only as often as it is asked for.
  const live = useLive("tasks").value?.running?.find((each) => each.id === detail.row.id)?.progress;
  const progress = live ?? detail.progress;
  if (!progress) return null;
  return (
    <div class="underway" data-testid="progress">
      <ProgressBar done={progress.done} total={progress.total} note={progress.note} />
    </div>
  );
}

function About({ detail }: { detail: TaskDetail }) {
  const { row } = detail;
  const items: [string, ComponentChildren][] = [
    [
      "Id",
      <span key="id" class="with-copy">
        <code>{row.id}</code>
        <Copy text={row.id} label="Copy id" />
      </span>,
    ],
    [
      "Type",
      <a key="type" class="name" href={at.type(row.task)}>
        {row.task}
      </a>,
    ],
    [
      "Queue",
      <a key="queue" href={at.queue(row.queue)}>
        {row.queue}
      </a>,
    ],
    ["Priority", detail.priority],
    ["Sent", <Time key="sent" at={row.sent_at} none={unknown(detail)} />],
    ...(detail.due_at ? [["Due", <Time key="due" at={detail.due_at} />] as [string, ComponentChildren]] : []),
    ["Ended", <Time key="ended" at={row.ended_at} none="not yet" />],
    [
      "Waited",
      detail.is_running && row.waited === null ? (
        <span key="waited" class="faint">
          {unknown(detail)}
        </span>
      ) : (
        <Duration key="waited" seconds={row.waited} />
      ),
    ],
    detail.is_running
      ? ["Runs for", <Since key="since" at={row.started_at} />]
      : ["Ran", <Duration key="ran" seconds={row.ran_for} />],
  ];
  if (row.weight > 1) items.push(["Sampled", `stands for ${row.weight} that went as well`]);
  return <Facts items={items} />;
}

function Actions({ detail, reload }: { detail: TaskDetail; reload: () => void }) {
  const { row } = detail;
  const { route } = useLocation();
  const [isEditing, setEditing] = useState(false);
  const sent = (answer: { id: string }) => {
    if (answer.id && answer.id !== row.id) route(at.task(answer.id));
    else reload();
    return "Sent again.";
  };
  // A dead letter, or a workflow, keeps the message itself; else all arguments have to be given anew.
  const hasMessage = detail.is_dead_letter || (detail.flow !== "" && row.state === "FAILURE");
  const retry = async () => {
    if (hasMessage) await act(() => api.retryTask(row.id), sent);
    else setEditing(true);
  };
  const revoke = async (terminate: boolean) => {
    const text = terminate
      ? "The process that runs it is killed, and what it was doing is left as it is. It is not tried again."
      : "It will not start, if it has not yet.";
    const question = { title: terminate ? "Terminate this task" : "Revoke this task", text, isDanger: true };
    if (await confirm({ ...question, verb: terminate ? "Terminate" : "Revoke" })) {
      await act(() => api.revokeTask(row.id, terminate), terminate ? "Told its worker to terminate it." : "Revoked.");
      reload();
    }
  };
  const isOver = !detail.is_running && !detail.is_waiting;
  return (
    <>
      {detail.is_running && (
        <Button icon="stop" kind="danger" needs="operator" onClick={() => revoke(true)} testid="terminate">
          Terminate
        </Button>
      )}
      {detail.is_waiting && (
        <Button icon="stop" needs="operator" onClick={() => revoke(false)} testid="revoke">
          Revoke
        </Button>
      )}
      {hasMessage && (
        <Button icon="edit" needs="operator" onClick={() => setEditing(true)} testid="retry-edited">
          Edit and retry
        </Button>
      )}
      <Button
        icon="retry"
        kind={isOver ? "main" : "plain"}
        needs="operator"
        onClick={retry}
        disabled={!isOver}
        testid="retry"
      >
        {hasMessage || !isOver ? "Retry" : "Send again"}
      </Button>
      {isEditing && (
        <ArgumentsDialog
          title={hasMessage ? `Retry ${row.task} with other arguments` : `Send ${row.task} again`}
          verb={hasMessage ? "Retry" : "Send"}
          needsAll={!hasMessage}
          args={row.args}
          kwargs={row.kwargs}
          note={!hasMessage && (detail.flow || row.flow) ? OF_FLOW : ""}
          onClose={() => setEditing(false)}
          onSend={(edited) => act(() => api.retryTask(row.id, edited), sent)}
        />
      )}
    </>
  );
}
