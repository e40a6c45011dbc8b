/** The bar that comes up when rows are chosen: what can be done with all of them. */
import { useState } from "preact/hooks";
import { api } from "../../api";
import { Button } from "../../components/Button";
import { confirm } from "../../components/Dialog";
import { grouped, plural } from "../../format";
import { complain, tell } from "../../toasts";
import { forEach } from "./bulk";

interface Props {
  ids: readonly string[];
  onEnd: () => void;
}

export function Acting({ ids, onEnd }: Props) {
  const [ended, setEnded] = useState<number | null>(null);
  const [stopping, setStopping] = useState<AbortController | null>(null);
  const run = async (verb: string, past: string, act: (id: string) => Promise<unknown>) => {
    const stop = new AbortController();
    setStopping(stop);
    setEnded(0);
    const outcome = await forEach(ids, act, setEnded, stop.signal);
    setEnded(null);
    setStopping(null);
    if (outcome.done) tell(`${past} ${plural(outcome.done, "task")}.`);
    for (const [text, times] of outcome.errors)
      complain(new Error(`Could not ${verb} ${plural(times, "task")}: ${text}`));
    onEnd();
  };
  const retry = async () => {
    const text = `${plural(ids.length, "task")} will be sent again, each with the arguments it had.`;
    if (await confirm({ title: "Retry", text, verb: `Retry ${grouped(ids.length)}` })) {
      await run("retry", "Sent again:", (id) => api.retryTask(id));
    }
  };
  const revoke = async () => {
    const text = `${plural(ids.length, "task")} will not start any more, if they have not yet. What runs goes on.`;
    if (await confirm({ title: "Revoke", text, verb: `Revoke ${grouped(ids.length)}`, isDanger: true })) {
      await run("revoke", "Revoked:", (id) => api.revokeTask(id, false));
    }
  };
  if (ended !== null) {
    return (
      <div class="acting" role="status">
        <progress max={ids.length} value={ended} aria-label="Progress" />
        {grouped(ended)} of {grouped(ids.length)}
        <Button onClick={() => stopping?.abort()}>Stop</Button>
      </div>
    );
  }
  return (
    <div class="acting" role="toolbar" aria-label="With the chosen tasks">
      <strong>{grouped(ids.length)} chosen</strong>
      <Button icon="retry" needs="operator" onClick={retry} testid="retry-chosen">
        Retry
      </Button>
      <Button icon="stop" needs="operator" onClick={revoke} testid="revoke-chosen">
        Revoke
      </Button>
      <Button kind="quiet" onClick={onEnd}>
        Clear
      </Button>
    </div>
  );
}
