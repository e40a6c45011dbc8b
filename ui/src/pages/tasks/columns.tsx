import type { TaskRow } from "../../api";
import { StateBadge } from "../../components/Badge";
import type { Column } from "../../components/Table";
import { Duration, Time } from "../../components/Time";
import { short } from "../../format";
import { at } from "../../place";

/** Arguments as one reads a call: `(1, 2)` and `{'a': 3}` become `1, 2, {'a': 3}`. */
export function callOf(row: { args: string; kwargs: string }): string {
  const args = row.args.replace(/^[([](.*?),?[)\]]$/s, "$1");
  const kwargs = row.kwargs === "{}" ? "" : row.kwargs;
  return [args, kwargs].filter(Boolean).join(", ");
}

export const TASK_COLUMNS: Column<TaskRow>[] = [
  {
    key: "task",
    title: "Task",
    isLead: true,
    show: (row) => (
      <>
        <a class="name cut" href={at.task(row.id)}>
          {row.task}
        </a>
        <span class="second only-phone">
          <Time at={row.ended_at ?? row.started_at ?? row.sent_at} />
          {row.error && <span class="text-bad"> · {row.error.split(".").at(-1)}</span>}
        </span>
        <span class="second not-phone">
          <code title={row.id}>{short(row.id)}</code>
          {row.attempt > 1 && ` · attempt ${row.attempt}`}
          {row.weight > 1 && (
            <span title="Of tasks that go well only a sample is kept"> · stands for {row.weight}</span>
          )}
        </span>
      </>
    ),
  },
  { key: "state", title: "State", show: (row) => <StateBadge state={row.state} /> },
  {
    key: "call",
    title: "Arguments, error",
    isElastic: true,
    from: "medium",
    show: (row) => (
      <>
        <code class="cut" title={callOf(row)}>
          {callOf(row) || <span class="faint">{row.args ? "no arguments" : "arguments not known"}</span>}
        </code>
        {row.error && (
          <span class="second text-bad cut" title={`${row.error}: ${row.message}`}>
            {row.error}
            {row.message && `: ${row.message}`}
          </span>
        )}
      </>
    ),
  },
  {
    key: "place",
    title: "Queue, worker",
    from: "wide",
    show: (row) => (
      <>
        {row.queue}
        <span class="second">{row.worker}</span>
      </>
    ),
  },
  {
    key: "ended",
    title: "When",
    from: "medium",
    show: (row) => <Time at={row.ended_at ?? row.started_at ?? row.sent_at} />,
  },
  { key: "waited", title: "Waited", isNumber: true, from: "medium", show: (row) => <Duration seconds={row.waited} /> },
  { key: "ran", title: "Ran", isNumber: true, from: "medium", show: (row) => <Duration seconds={row.ran_for} /> },
];
