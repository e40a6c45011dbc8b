/** What one attempt left behind: its error with the traceback, and its log lines. */
import type { Attempt } from "../../api";
import { StateBadge } from "../../components/Badge";
import { Copy } from "../../components/Empty";
import { Facts } from "../../components/Page";
import { Duration, Time } from "../../components/Time";
import { Traceback } from "../../components/Traceback";
import { at } from "../../place";

export function AttemptStory({ attempt }: { attempt: Attempt }) {
  return (
    <div class="story">
      <Facts
        items={[
          ["State", <StateBadge key="state" state={attempt.state} />],
          ["Worker", attempt.worker ? <a href={at.worker(attempt.worker)}>{attempt.worker}</a> : "–"],
          ["Process", attempt.pid || "–"],
          ["Started", <Time key="started" at={attempt.started_at} none="not yet" />],
          ["Waited", <Duration key="waited" seconds={attempt.waited} />],
          ["Ran", <Duration key="ran" seconds={attempt.ran_for} />],
          ...(attempt.retry_in
            ? [
                ["Next try after", <Duration key="retry" seconds={attempt.retry_in} />] as [
                  string,
                  preact.ComponentChildren,
                ],
              ]
            : []),
        ]}
      />
      {attempt.error && (
        <p class="error-line">
          <strong>{attempt.error}</strong>
          {attempt.message && `: ${attempt.message}`}
        </p>
      )}
      {attempt.traceback && <Traceback text={attempt.traceback} />}
      {attempt.logs.length > 0 && <Logs lines={attempt.logs} />}
    </div>
  );
}

/** Log lines as they were written, the last ones in sight. */
export function Logs({ lines }: { lines: readonly string[] }) {
  return (
    <div class="logs">
      <div class="logs-head">
        <h3>Log</h3>
        <Copy text={lines.join("\n")} label="Copy log" />
      </div>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by the keyboard */}
      <pre tabIndex={0}>
        {lines.map((line, place) => (
          <span key={place} class={logClass(line)}>
            {line}
            {"\n"}
          </span>
        ))}
      </pre>
    </div>
  );
}

function logClass(line: string): string {
  const level = /\b(CRITICAL|ERROR|WARNING|WARN|DEBUG)\b/.exec(line.slice(0, 60))?.[1];
  if (!level) return "log";
  return level === "DEBUG" ? "log log-debug" : level.startsWith("WARN") ? "log log-warn" : "log log-error";
}
