/** The question before many dead letters are replayed or deleted: how many, how fast. */
import { useEffect, useId, useState } from "preact/hooks";
import { api, type Job } from "../../api";
import { Button } from "../../components/Button";
import { Dialog } from "../../components/Dialog";
import { grouped, plural } from "../../format";
import { complain, tell } from "../../toasts";

/** The filter that means every letter: the server takes none that says nothing. */
export const EVERY = "task:*";

export type Kind = "replay" | "purge";

interface Props {
  kind: Kind;
  /** What is to be done: filters that mean no letter twice. */
  filters: readonly string[];
  /** The filter in words for the reader, "" for all letters. */
  about: string;
  onClose: () => void;
  onStarted: () => void;
}

/** Beyond so many, deleting wants a word to be typed. */
const MANY = 100;
const RATES = [
  ["", "as fast as it goes"],
  ["1", "1 a second"],
  ["10", "10 a second"],
  ["50", "50 a second"],
  ["200", "200 a second"],
] as const;

export function BulkDialog({ kind, filters, about, onClose, onStarted }: Props) {
  const [count, setCount] = useState<number | null>(null);
  const [rate, setRate] = useState("");
  const [word, setWord] = useState("");
  const [isStarting, setStarting] = useState(false);
  const id = useId();
  useEffect(() => {
    const ask = kind === "replay" ? api.countReplay : api.countPurge;
    Promise.all(filters.map((where) => ask(where))).then(
      (counts) => setCount(counts.reduce((sum, each) => sum + each.count, 0)),
      (error) => {
        complain(error);
        onClose();
      },
    );
  }, []);
  const start = async () => {
    setStarting(true);
    try {
      const jobs: Job[] = [];
      for (const where of filters) {
        const order = { where, ...(rate ? { rate: Number(rate) } : {}) };
        jobs.push(await (kind === "replay" ? api.replayLetters(order) : api.purgeLetters(where)));
      }
      tell(
        `${kind === "replay" ? "Replaying" : "Deleting"} ${plural(
          jobs.reduce((sum, job) => sum + job.total, 0),
          "letter",
        )}.`,
      );
      onStarted();
      onClose();
    } catch (error) {
      complain(error);
      setStarting(false);
    }
  };
  const needsWord = kind === "purge" && (count ?? 0) > MANY;
  const isReady = count !== null && count > 0 && !isStarting && (!needsWord || word === "delete");
  const verb = kind === "replay" ? "Replay" : "Delete";
  const foot = (
    <>
      <Button onClick={onClose}>Cancel</Button>
      <Button
        kind={kind === "purge" ? "danger" : "main"}
        needs={kind === "purge" ? "admin" : "operator"}
        onClick={start}
        disabled={!isReady}
        testid="bulk-start"
      >
        {count === null ? verb : `${verb} ${grouped(count)}`}
      </Button>
    </>
  );
  return (
    <Dialog title={kind === "replay" ? "Replay dead letters" : "Delete dead letters"} onClose={onClose} foot={foot}>
      <p>
        {about ? (
          <>
            All that match <code>{about}</code>
          </>
        ) : (
          "All dead letters"
        )}
        {kind === "replay"
          ? " are sent again, each as it was, with its attempts counted anew. What cannot be sent stays here."
          : " are deleted for good, with what they were given. This cannot be taken back."}
      </p>
      <p class="dry-run" role="status">
        {count === null
          ? "Counting…"
          : count === 0
            ? "None matches any more."
            : `${plural(count, "letter")} as of now.`}
      </p>
      {kind === "replay" && (
        <div class="field">
          <label for={`${id}-rate`}>How fast; slow is kinder to what has just recovered</label>
          <select id={`${id}-rate`} value={rate} onChange={(event) => setRate(event.currentTarget.value)}>
            {RATES.map(([value, text]) => (
              <option key={value} value={value}>
                {text}
              </option>
            ))}
          </select>
        </div>
      )}
      {needsWord && (
        <div class="field">
          <label for={`${id}-word`}>
            Type <code>delete</code> to go on
          </label>
          <input
            id={`${id}-word`}
            value={word}
            autocomplete="off"
            onInput={(event) => setWord(event.currentTarget.value)}
          />
        </div>
      )}
    </Dialog>
  );
}
