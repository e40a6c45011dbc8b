/** The bar that comes up when rows are chosen: what can be done with all of them. */
import { useState } from "preact/hooks";
import { api, type TaskRow } from "../../api";
import { Button } from "../../components/Button";
import { confirm } from "../../components/Dialog";
import { grouped, plural } from "../../format";
import { complain, tell } from "../../toasts";
import { forEach } from "./bulk";

interface Props {
  rows: readonly Pick<TaskRow, "id" | "state">[];
  onEnd: () => void;
}

/** Those that ended badly: their messages are kept, and can be sent again. */
const FAILED = ["FAILURE", "EXPIRED", "REJECTED"];
/** Those that may still start. */
const TO_COME = ["PENDING", "RETRY", "STARTED"];

export function Acting({ rows, onEnd }: Props) {
  const [under, setUnder] = useState<{ ended: number; total: number; stop: AbortController } | null>(null);
  const idsOf = (states: string[]) => rows.filter((row) => states.includes(row.state)).map((row) => row.id);
  const [failed, toCome] = [idsOf(FAILED), idsOf(TO_COME)];
  const run = async (ids: string[], verb: string, past: string, act: (id: string) => Promise<unknown>) => {
    const stop = new AbortController();
    const tellEnded = (ended: number) => setUnder({ ended, total: ids.length, stop });
    tellEnded(0);
    const outcome = await forEach(ids, act, tellEnded, stop.signal);
    setUnder(null);
    if (outcome.done) tell(`${past} ${plural(outcome.done, "task")}.`);
    for (const [text, times] of outcome.errors)
      complain(new Error(`Could not ${verb} ${plural(times, "task")}: ${text}`));
    onEnd();
  };
  const retry = async () => {
    const text = `${plural(failed.length, "task")} will be sent again, each with the arguments it had.`;
    if (await confirm({ title: "Retry", text, verb: `Retry ${grouped(failed.length)}` })) {
      await run(failed, "retry", "Sent again:", (id) => api.retryTask(id));
    }
  };
  const revoke = async () => {
    const text = `${plural(toCome.length, "task")} will not start any more. What runs goes on to its end.`;
    if (await confirm({ title: "Revoke", text, verb: `Revoke ${grouped(toCome.length)}`, isDanger: true })) {
      await run(toCome, "revoke", "Revoked:", (id) => api.revokeTask(id, false));
    }
  };
  if (under) {
    return (
      <div class="acting" role="status">
        <progress max={under.total} value={under.ended} aria-label="Progress" />
        {grouped(under.ended)} of {grouped(under.total)}
        <Button onClick={() => under.stop.abort()}>Stop</Button>
      </div>
    );
  }
  return (
    <div class="acting" role="toolbar" aria-label="With the chosen tasks">
      <strong>{grouped(rows.length)} chosen</strong>
      <Button icon="retry" needs="operator" onClick={retry} disabled={!failed.length} testid="retry-chosen">
        Retry {grouped(failed.length)} that failed
      </Button>
      <Button icon="stop" needs="operator" onClick={revoke} disabled={!toCome.length} testid="revoke-chosen">
        Revoke {grouped(toCome.length)} that may start
      </Button>
      <Button kind="quiet" onClick={onEnd}>
        Clear
      </Button>
    </div>
  );
}
