/** Bulk changes that the server is carrying out, or has lately. */
import { useEffect, useRef } from "preact/hooks";
import { api, type Job } from "../../api";
import { StateBadge } from "../../components/Badge";
import { Button } from "../../components/Button";
import { Panel } from "../../components/Page";
import { ProgressBar } from "../../components/Progress";
import { Time } from "../../components/Time";
import { grouped } from "../../format";
import { useAsked } from "../../hooks";
import { act } from "../../toasts";

const FEW = 4;
/** A job that ended is shown for so many seconds more. */
const SHOWN_FOR = 900;
const WORDS: Record<string, string> = { replay: "Replay", purge: "Delete" };

/** `turn` changes when a job was started here; `onProgress` is called as letters go. */
export function Jobs({ turn, onProgress }: { turn: number; onProgress: () => void }) {
  const asked = useAsked((signal) => api.jobs(signal), [], 2);
  useEffect(() => {
    if (turn) asked.reload();
  }, [turn]);
  const jobs = asked.value?.items ?? [];
  const done = jobs.reduce((sum, job) => sum + job.done, 0);
  const seen = useRef(-1);
  useEffect(() => {
    if (!asked.value) return;
    if (seen.current >= 0 && done !== seen.current) onProgress();
    seen.current = done;
  }, [done, asked.value]);
  const now = Date.now() / 1000;
  const shown = jobs.filter((job) => job.state === "running" || now - (job.ended_at ?? job.started_at) < SHOWN_FOR);
  if (!shown.length) return null;
  return (
    <Panel title="Under way" isFlush testid="jobs">
      <ul class="jobs">
        {shown.slice(0, FEW).map((job) => (
          <Entry key={job.id} job={job} onChange={asked.reload} />
        ))}
      </ul>
    </Panel>
  );
}

function Entry({ job, onChange }: { job: Job; onChange: () => void }) {
  const cancel = async () => {
    await act(() => api.cancelJob(job.id), "Stopped. What was done stays done.");
    onChange();
  };
  return (
    <li>
      <span class="jobs-name">
        <strong>{WORDS[job.kind] ?? job.kind}</strong> <StateBadge state={job.state} />
        <span class="second">
          <code>{job.where || "all"}</code> · by {job.by || "somebody"}, <Time at={job.started_at} />
        </span>
      </span>
      <span>
        <ProgressBar done={job.done} total={job.total} />
        {job.failed > 0 && <span class="text-bad">{grouped(job.failed)} failed</span>}
        {job.error && <span class="text-bad">{job.error}</span>}
      </span>
      {job.state === "running" && (
        <Button icon="stop" needs="operator" onClick={cancel}>
          Stop
        </Button>
      )}
    </li>
  );
}
