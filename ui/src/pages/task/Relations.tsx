/** Where a task belongs: its parent, its children, its workflow and schedule, its trace. */
import type { ComponentChildren } from "preact";
import { api, type TaskDetail } from "../../api";
import { StateBadge } from "../../components/Badge";
import { Copy } from "../../components/Empty";
import { Facts, Panel } from "../../components/Page";
import { short } from "../../format";
import { useAsked } from "../../hooks";
import { at, term, to } from "../../place";

/** The trace's id of a W3C traceparent, or the text itself if it is none. */
export function traceId(trace: string): string {
  return /^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}$/.exec(trace)?.[1] ?? trace;
}

/** How many children are shown; the search has them all. */
const MOST = 8;

export function Relations({ detail }: { detail: TaskDetail }) {
  const { row } = detail;
  const asked = useAsked((signal) => api.tasks({ where: term("parent", row.id), limit: MOST }, signal), [row.id]);
  const flow = detail.flow || row.flow;
  const items: [string, ComponentChildren][] = [];
  if (detail.parent)
    items.push([
      "Sent by",
      <a key="parent" href={at.task(detail.parent)}>
        {short(detail.parent)}
      </a>,
    ]);
  if (flow)
    items.push([
      "Workflow",
      <a key="flow" href={at.flow(flow)}>
        {short(flow)}
      </a>,
    ]);
  if (row.schedule)
    items.push([
      "Schedule",
      <a key="schedule" href={to("schedules", { name: row.schedule })}>
        {row.schedule}
      </a>,
    ]);
  if (detail.trace) items.push(["Trace", <Traced key="trace" trace={detail.trace} />]);
  const children = asked.value?.items ?? [];
  if (!items.length && !children.length) return null;
  return (
    <Panel title="Where it belongs" testid="relations">
      {items.length > 0 && <Facts items={items} />}
      {children.length > 0 && (
        <>
          <h3>It sent</h3>
          <ul class="children">
            {children.map((child) => (
              <li key={child.id}>
                <a class="name" href={at.task(child.id)}>
                  {child.task}
                </a>
                <StateBadge state={child.state} />
              </li>
            ))}
          </ul>
          {asked.value?.next && <a href={at.tasks(term("parent", row.id))}>Show all that it sent</a>}
        </>
      )}
    </Panel>
  );
}

function Traced({ trace }: { trace: string }) {
  return (
    <span class="with-copy">
      <code title={trace}>{traceId(trace)}</code>
      <Copy text={traceId(trace)} label="Copy the trace's id" />
    </span>
  );
}
