/** Forms for orders to a worker: a rate limit, a queue to take from, a question. */
import { useEffect, useId, useState } from "preact/hooks";
import { api } from "../api";
import { act } from "../toasts";
import { Button } from "./Button";
import { Dialog } from "./Dialog";
import { Failure, Loading } from "./Empty";
import { Json } from "./Json";
import { Choice } from "./Page";

const RATE = /^\s*(\d+(\.\d+)?(\/[smh])?)?\s*$/;

export function LimitDialog(props: { name: string; task: string; limit: string; onClose: () => void }) {
  const { name, task, onClose } = props;
  const [limit, setLimit] = useState(props.limit);
  const field = useId();
  const isRead = RATE.test(limit);
  const save = async (event?: Event) => {
    event?.preventDefault();
    if (!isRead) return;
    const text = limit.trim();
    const done = text ? `${name} runs ${task} at most ${text}.` : `${name} runs ${task} without a limit.`;
    if (await act(() => api.limitTask(name, task, text || "0"), done)) onClose();
  };
  const foot = (
    <>
      <Button onClick={onClose}>Cancel</Button>
      <Button kind="main" disabled={!isRead} testid="save-limit" onClick={save}>
        Set limit
      </Button>
    </>
  );
  return (
    <Dialog title="Rate limit" onClose={onClose} foot={foot}>
      <p>
        How often <code>{name}</code> may begin <code class="name">{task}</code>. It holds for this worker until it
        restarts.
      </p>
      <form class="field" onSubmit={save}>
        <label for={field}>Limit, such as 50/s, 10/m or 3/h; empty for none</label>
        <input
          id={field}
          value={limit}
          autocomplete="off"
          aria-invalid={!isRead}
          onInput={(event) => setLimit(event.currentTarget.value)}
        />
        {!isRead && <p class="field-error">Write a number and a unit: 50/s, 10/m or 3/h.</p>}
      </form>
    </Dialog>
  );
}

export function QueueDialog({ name, onClose }: { name: string; onClose: () => void }) {
  const [queue, setQueue] = useState("");
  const [known, setKnown] = useState<string[]>([]);
  const field = useId();
  useEffect(() => {
    // the field takes any name; those that are known are a help alone
    api.queues().then(
      (list) => setKnown(list.items.map((each) => each.name)),
      () => {},
    );
  }, []);
  const add = async (event?: Event) => {
    event?.preventDefault();
    const text = queue.trim();
    if (text && (await act(() => api.addQueue(name, text), `${name} takes from ${text}.`))) onClose();
  };
  const foot = (
    <>
      <Button onClick={onClose}>Cancel</Button>
      <Button kind="main" disabled={!queue.trim()} testid="save-queue" onClick={add}>
        Add queue
      </Button>
    </>
  );
  return (
    <Dialog title="Add a queue" onClose={onClose} foot={foot}>
      <form class="field" onSubmit={add}>
        <label for={field}>
          Queue that <code>{name}</code> takes from, until it restarts
        </label>
        <input
          id={field}
          list={`${field}-known`}
          value={queue}
          autocomplete="off"
          onInput={(event) => setQueue(event.currentTarget.value)}
        />
        <datalist id={`${field}-known`}>
          {known.map((each) => (
            <option key={each} value={each} />
          ))}
        </datalist>
      </form>
    </Dialog>
  );
}

const QUESTIONS = [
  ["ping", "Ping"],
  ["stats", "Statistics"],
  ["active", "Active"],
  ["reserved", "Reserved"],
] as const;

type Question = (typeof QUESTIONS)[number][0];

export function AskDialog({ name, onClose }: { name: string; onClose: () => void }) {
  const [question, setQuestion] = useState<Question>("ping");
  const [answer, setAnswer] = useState<{ ok?: unknown; error?: Error } | null>(null);
  useEffect(() => {
    let isCurrent = true;
    setAnswer(null);
    api.askNode(name, question).then(
      (said) => isCurrent && setAnswer(said.error ? { error: new Error(said.error) } : { ok: said.ok }),
      (error: Error) => isCurrent && setAnswer({ error }),
    );
    return () => {
      isCurrent = false;
    };
  }, [name, question]);
  return (
    <Dialog title={`Ask ${name}`} onClose={onClose} isWide>
      <Choice label="Question" options={QUESTIONS} value={question} onChange={setQuestion} />
      {!answer && <Loading lines={3} />}
      {answer?.error && <Failure error={answer.error} />}
      {answer && !answer.error && <Json value={answer.ok} label="Answer" />}
    </Dialog>
  );
}
