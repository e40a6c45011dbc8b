/** One dead letter: why it was given up, each attempt, and how to send it again. */
import { useState } from "preact/hooks";
import { useLocation, useRoute } from "preact-iso";
import { ApiError, api, type LetterDetail } from "../../api";
import { Badge } from "../../components/Badge";
import { Button } from "../../components/Button";
import { confirm } from "../../components/Dialog";
import { Command, Copy, Empty, Failure, Loading } from "../../components/Empty";
import { Json } from "../../components/Json";
import { Facts, Page, Panel } from "../../components/Page";
import { Time } from "../../components/Time";
import { Traceback } from "../../components/Traceback";
import { short } from "../../format";
import { useAsked } from "../../hooks";
import { now } from "../../live";
import { at, term, to } from "../../place";
import { act } from "../../toasts";
import { ArgumentsDialog } from "../task/ArgumentsDialog";
import { AttemptStory } from "../task/Attempts";
import type { Edited } from "../task/arguments";
import { Timeline } from "../task/Timeline";
import { reasonWord } from "./words";

const UP = { href: to("dead-letters"), text: "Dead letters" };

export function DeadLetter() {
  const id = useRoute().params.id as string;
  const asked = useAsked((signal) => api.letter(id, signal), [id]);
  if (asked.value) return <Shown key={id} detail={asked.value} />;
  const isGone = asked.error instanceof ApiError && asked.error.status === 404;
  return (
    <Page title={short(id)} up={UP} isName>
      {isGone && (
        <Empty title="There is no such dead letter">
          It was replayed or deleted. <a href={at.task(id)}>See what is known of the task.</a>
        </Empty>
      )}
      {asked.error && !isGone && <Failure error={asked.error} reload={asked.reload} />}
      {asked.isLoading && <Loading />}
    </Page>
  );
}

function Shown({ detail }: { detail: LetterDetail }) {
  const { letter, attempts } = detail;
  const [wanted, setWanted] = useState(0);
  const attempt = attempts.find((each) => each.attempt === wanted) ?? attempts.at(-1);
  return (
    <Page
      title={letter.task}
      up={UP}
      beside={<Badge tone="warn">{reasonWord(letter.reason)}</Badge>}
      actions={<Actions detail={detail} />}
      isName
    >
      {attempts.length > 0 && (
        <Panel title="Attempts" beside={String(attempts.length)} testid="attempts">
          <Timeline attempts={attempts} now={now.value} chosen={attempt?.attempt ?? 0} onChoose={setWanted} />
        </Panel>
      )}
      <div class="columns columns-wide-left">
        <div>
          {attempt ? (
            <Panel title={`Attempt ${attempt.attempt}`} testid="attempt">
              <AttemptStory attempt={attempt} />
            </Panel>
          ) : (
            <Panel title="Error">
              <p class="error-line">
                <strong>{letter.error}</strong>
                {letter.message && `: ${letter.message}`}
              </p>
              {detail.traceback && <Traceback text={detail.traceback} />}
            </Panel>
          )}
          <Panel title="Arguments" testid="arguments">
            <div class="given">
              <h3>Positional</h3>
              <Json value={letter.args || "()"} label="Positional arguments" />
            </div>
            <div class="given">
              <h3>Named</h3>
              <Json value={letter.kwargs || "{}"} label="Named arguments" />
            </div>
          </Panel>
        </div>
        <div>
          <Panel title="About" testid="about">
            <Facts
              items={[
                [
                  "Id",
                  <span key="id" class="with-copy">
                    <code>{letter.id}</code>
                    <Copy text={letter.id} label="Copy id" />
                  </span>,
                ],
                [
                  "Type",
                  <a key="type" class="name" href={at.type(letter.task)}>
                    {letter.task}
                  </a>,
                ],
                [
                  "Queue",
                  <a key="queue" href={at.queue(letter.queue)}>
                    {letter.queue}
                  </a>,
                ],
                ["Reason", reasonWord(letter.reason)],
                ["Died", <Time key="died" at={letter.dead_at} />],
                ["In attempt", letter.attempt],
                [
                  "History",
                  <a key="task" href={at.task(letter.id)}>
                    All of the task
                  </a>,
                ],
                [
                  "Alike",
                  <a key="alike" href={at.letters(`${term("task", letter.task)} ${term("error", letter.error)}`)}>
                    Letters with this error
                  </a>,
                ],
              ]}
            />
          </Panel>
          <Panel title="In a terminal">
            <Command text={`taskbus dlq replay --id ${letter.id}`} />
          </Panel>
        </div>
      </div>
    </Page>
  );
}

function Actions({ detail }: { detail: LetterDetail }) {
  const { letter } = detail;
  const { route } = useLocation();
  const [isEditing, setEditing] = useState(false);
  const where = term("id", letter.id);
  const replay = (edited: Edited = {}) =>
    act(
      () => api.replayLetters({ where, ...edited }),
      () => {
        route(at.task(letter.id));
        return "Sent again.";
      },
    );
  const purge = async () => {
    const text = "It is deleted for good, with what it was given.";
    if (!(await confirm({ title: "Delete this letter", text, verb: "Delete", isDanger: true }))) return;
    if (await act(() => api.purgeLetters(where), "Deleted.")) route(to("dead-letters"));
  };
  return (
    <>
      <Button icon="trash" kind="danger" needs="admin" onClick={purge} testid="purge">
        Delete
      </Button>
      <Button icon="edit" needs="operator" onClick={() => setEditing(true)} testid="replay-edited">
        Edit and replay
      </Button>
      <Button icon="retry" kind="main" needs="operator" onClick={() => replay()} testid="replay">
        Replay
      </Button>
      {isEditing && (
        <ArgumentsDialog
          title={`Replay ${letter.task} with other arguments`}
          verb="Replay"
          args={letter.args}
          kwargs={letter.kwargs}
          onClose={() => setEditing(false)}
          onSend={replay}
        />
      )}
    </>
  );
}
