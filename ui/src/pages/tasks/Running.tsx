/** What runs at this moment, as the live stream tells it. */
import { useState } from "preact/hooks";
import type { Running as Attempt } from "../../api";
import { Panel } from "../../components/Page";
import { ProgressBar } from "../../components/Progress";
import { Since } from "../../components/Time";
import { grouped, plural } from "../../format";
import { useLive } from "../../hooks";
import { at } from "../../place";
import { terms } from "./filter";

const FEW = 5;

/** Those of the running attempts that the terms of a filter leave which can be asked of them. */
export function matching(running: readonly Attempt[], where: string): Attempt[] {
  const asked = terms(where).filter(
    (each) => each.mark === ":" && ["task", "queue", "worker", "flow", "id"].includes(each.key),
  );
  const fits = (attempt: Attempt) =>
    asked.every(({ key, value }) => {
      const pattern = value.replace(/[.+?^${}()|[\]\\]/g, "\\$&").replaceAll("*", ".*");
      return new RegExp(`^${pattern}$`, "i").test(String(attempt[key as keyof Attempt]));
    });
  return running.filter(fits).sort((a, b) => a.since - b.since);
}

export function Running({ where }: { where: string }) {
  const live = useLive("tasks");
  const [isWhole, setWhole] = useState(false);
  const all = live.value?.running ?? [];
  const found = matching(all, where);
  if (!found.length) return null;
  const shown = isWhole ? found : found.slice(0, FEW);
  const beside = found.length < all.length ? `${grouped(found.length)} of ${grouped(all.length)} fit the filter` : null;
  return (
    <Panel title="Running now" beside={beside ?? grouped(found.length)} isFlush testid="running">
      <ul class="running">
        {shown.map((attempt) => (
          <li key={attempt.id + attempt.attempt}>
            <a class="name" href={at.task(attempt.id)}>
              {attempt.task}
            </a>
            <span class="running-where">
              {attempt.queue} <span class="faint">on</span> {attempt.worker}
              {attempt.attempt > 1 && <span class="faint"> · attempt {attempt.attempt}</span>}
            </span>
            <span class="running-progress">
              {attempt.progress && (
                <ProgressBar done={attempt.progress.done} total={attempt.progress.total} note={attempt.progress.note} />
              )}
            </span>
            <Since at={attempt.since} />
          </li>
        ))}
      </ul>
      {found.length > FEW && (
        <button type="button" class="button button-quiet running-more" onClick={() => setWhole(!isWhole)}>
          {isWhole ? "Show the longest running only" : `Show ${plural(found.length - FEW, "more task")}`}
        </button>
      )}
    </Panel>
  );
}
