/** One workflow: its graph, the same over time, and what can be done with it. */
import { useMemo, useState } from "preact/hooks";
import { useRoute } from "preact-iso";
import { ApiError, api, type FlowDetail } from "../api";
import { StateBadge, stateWord } from "../components/Badge";
import { Button } from "../components/Button";
import { confirm } from "../components/Dialog";
import { Copy, Empty, Failure, Loading } from "../components/Empty";
import { Choice, Page, Panel } from "../components/Page";
import { Stat, Stats } from "../components/Stat";
import { Time } from "../components/Time";
import { grouped, percent, short } from "../format";
import { useAsked, useQuery } from "../hooks";
import { now } from "../live";
import { to } from "../place";
import { act } from "../toasts";
import { Took } from "./Workflows";
import { FlowGraph } from "./workflows/FlowGraph";
import { FlowTime } from "./workflows/FlowTime";
import { collapsed, countsOf, tasksOf } from "./workflows/graph";
import { Sign } from "./workflows/marks";
import { NodeDetail } from "./workflows/NodeDetail";

const UP = { href: to("workflows"), text: "Workflows" };
const VIEWS = [
  ["graph", "Graph"],
  ["time", "Over time"],
] as const;

/** Seconds between two looks at a workflow that runs: a large one is asked for less often. */
function pace(detail: FlowDetail | null): number {
  if (!detail) return 0;
  if (detail.flow.state !== "RUNNING") return 0;
  return detail.nodes.length > 500 ? 6 : 2;
}

export function Workflow() {
  const id = useRoute().params.id as string;
  const [every, setEvery] = useState(0);
  const asked = useAsked((signal) => api.flow(id, signal), [id], every);
  if (pace(asked.value) !== every) setEvery(pace(asked.value));
  if (asked.value) return <Shown key={id} detail={asked.value} reload={asked.reload} />;
  const isGone = asked.error instanceof ApiError && asked.error.status === 404;
  return (
    <Page title={short(id)} up={UP} isName>
      {isGone && (
        <Empty title="There is no such workflow" icon="workflows">
          Workflows are kept for a while after they have ended, and then deleted with their results.
        </Empty>
      )}
      {asked.error && !isGone && <Failure error={asked.error} reload={asked.reload} />}
      {asked.isLoading && <Loading lines={10} />}
    </Page>
  );
}

function Shown({ detail, reload }: { detail: FlowDetail; reload: () => void }) {
  const { flow } = detail;
  const [view, setView] = useQuery<(typeof VIEWS)[number][0]>("view", "graph");
  const [chosen, setChosen] = useQuery<string>("node", "");
  const graph = useMemo(() => collapsed(detail.nodes, detail.edges), [detail]);
  const counts = useMemo(() => countsOf(tasksOf(detail.nodes)), [detail]);
  // Tasks that could not run because of another are FAILURE too; of a large workflow not all may be listed.
  const failed = Math.max(flow.dead, counts.find(([state]) => state === "FAILURE")?.[1] ?? 0);
  const node = graph.nodes.find((each) => each.id === chosen);
  return (
    <Page
      title={flow.name || short(flow.id)}
      up={UP}
      beside={<StateBadge state={flow.state} />}
      actions={<Actions detail={detail} reload={reload} />}
    >
      <Stats>
        <Stat
          label="Ended"
          value={flow.total ? percent(flow.done / flow.total) : "–"}
          note={`${grouped(flow.done)} of ${grouped(flow.total)} tasks`}
        />
        <Stat
          label="Failed"
          value={grouped(failed)}
          note={
            failed > flow.dead
              ? `${grouped(flow.dead)} by ${flow.dead === 1 ? "itself" : "themselves"}, the others could not run`
              : ""
          }
          {...(failed ? { tone: "bad" as const } : {})}
        />
        <Stat label={flow.ended_at === null ? "Runs for" : "Took"} value={<Took flow={flow} />} />
        <Stat label="Begun" value={<Time at={flow.created_at} />} note={<Id id={flow.id} />} />
      </Stats>
      <ul class="chips chips-alone" aria-label="Tasks by state">
        {counts.map(([state, number]) => (
          <li key={state} class="chip-still">
            <Sign state={state} /> {grouped(number)} {stateWord(state)[0]}
          </li>
        ))}
      </ul>
      {detail.note && <p class="note note-alone">{detail.note}</p>}
      <div class={node ? "flow flow-split" : "flow"}>
        <Panel
          title={view === "graph" ? "Graph" : "Over time"}
          actions={<Choice label="View" options={VIEWS} value={view} onChange={setView} />}
          isFlush
        >
          {view === "graph" ? (
            <FlowGraph graph={graph} chosen={chosen} onChoose={setChosen} />
          ) : (
            <FlowTime nodes={graph.nodes} now={flow.ended_at ?? now.value} chosen={chosen} onChoose={setChosen} />
          )}
        </Panel>
        {node && <NodeDetail key={node.id} node={node} />}
      </div>
    </Page>
  );
}

function Id({ id }: { id: string }) {
  return (
    <span class="with-copy">
      <code title={id}>{short(id)}</code>
      <Copy text={id} label="Copy id" />
    </span>
  );
}

function Actions({ detail, reload }: { detail: FlowDetail; reload: () => void }) {
  const { flow } = detail;
  const cancel = async () => {
    const text = "What has not started will not start any more. What runs now runs on to its end.";
    const isSure = await confirm({ title: "Cancel this workflow", text, verb: "Cancel it", isDanger: true });
    if (isSure && (await act(() => api.cancelFlow(flow.id), "Cancelled."))) reload();
  };
  const retry = async () => {
    const text =
      "Tasks that failed are sent again; the workflow goes on where it stopped. What succeeded is not repeated.";
    const isSure = await confirm({ title: "Retry this workflow", text, verb: "Retry" });
    if (isSure && (await act(() => api.retryFlow(flow.id), "Sent again what failed."))) reload();
  };
  return (
    <>
      {flow.state === "RUNNING" && (
        <Button icon="stop" kind="danger" needs="operator" onClick={cancel} testid="cancel">
          Cancel
        </Button>
      )}
      <Button icon="retry" kind="main" needs="operator" onClick={retry} disabled={flow.dead === 0} testid="retry">
        Retry what failed
      </Button>
    </>
  );
}
