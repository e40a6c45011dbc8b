/** What is known of the chosen node; of many alike, which they are. */
import { useState } from "preact/hooks";
import { useLocation } from "preact-iso";
import type { FlowNode } from "../../api";
import { StateBadge, stateWord } from "../../components/Badge";
import { Facts, Panel } from "../../components/Page";
import { type Column, Table } from "../../components/Table";
import { Duration, Time } from "../../components/Time";
import { grouped, short } from "../../format";
import { at } from "../../place";
import { type Drawn, TELLING } from "./graph";
import { Sign } from "./marks";

const COLUMNS: Column<FlowNode>[] = [
  {
    key: "id",
    title: "Task",
    isElastic: true,
    show: (node) => (
      <>
        <a class="cut" href={at.task(node.id)}>
          <code>{short(node.id)}</code>
        </a>
        {node.error && (
          <span class="second text-bad" title={node.error}>
            {node.error}
          </span>
        )}
      </>
    ),
  },
  { key: "state", title: "State", show: (node) => <StateBadge state={node.state} /> },
  { key: "took", title: "Took", isNumber: true, show: (node) => <Duration seconds={tookOf(node)} /> },
];

export function NodeDetail({ node }: { node: Drawn }) {
  const { route } = useLocation();
  const [state, setState] = useState("");
  if (node.kind === "many") {
    const rows = [...node.members].sort((a, b) => TELLING.indexOf(a.state) - TELLING.indexOf(b.state));
    return (
      <Panel title={`${grouped(node.members.length)} × ${node.label}`} isFlush testid="node">
        <ul class="chips">
          {node.counts.map(([each, number]) => (
            <li key={each}>
              <button
                type="button"
                class="chip"
                aria-pressed={state === each}
                onClick={() => setState(state === each ? "" : each)}
              >
                <Sign state={each} /> {grouped(number)} {stateWord(each)[0]}
              </button>
            </li>
          ))}
        </ul>
        <Table
          caption={`Tasks of ${node.label}`}
          columns={COLUMNS}
          rows={rows.filter((each) => !state || each.state === state)}
          rowKey={(each) => each.id}
          open={(each) => route(at.task(each.id))}
          rowHeight={52}
        />
      </Panel>
    );
  }
  const only = node.members[0] as FlowNode;
  return (
    <Panel title={node.label} testid="node">
      <Facts
        items={[
          ["State", <StateBadge key="state" state={node.state} />],
          ["Started", <Time key="started" at={node.started_at} none="not yet" />],
          ["Ended", <Time key="ended" at={node.ended_at} none="not yet" />],
          ["Took", <Duration key="took" seconds={tookOf(only)} />],
        ]}
      />
      {node.error && <p class="error-line node-error">{node.error}</p>}
      {node.kind === "task" ? (
        <p class="node-link">
          <a href={at.task(node.id)}>All of this task</a>
        </p>
      ) : (
        <p class="muted node-link">It ends when its members have, and hands on what they returned.</p>
      )}
    </Panel>
  );
}

function tookOf(node: FlowNode): number | null {
  return node.started_at !== null && node.ended_at !== null ? node.ended_at - node.started_at : null;
}
