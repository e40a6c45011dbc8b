/** Workflows: chains, groups and chords, and how far each is. */
import { useLocation } from "preact-iso";
import { api, type Flow } from "../api";
import { StateBadge } from "../components/Badge";
import { Empty, Failure, Loading } from "../components/Empty";
import { FilterBar, type FilterKey, isUnreadable } from "../components/FilterBar";
import { Page, Panel } from "../components/Page";
import { ProgressBar } from "../components/Progress";
import { type Column, Table } from "../components/Table";
import { Duration, Since, Time } from "../components/Time";
import { capped, grouped, short } from "../format";
import { usePages, useQuery } from "../hooks";
import { at } from "../place";

const PAGE = 50;
const REFRESH = 3;
const KEYS: FilterKey[] = [
  { key: "state:", hint: "how it stands", values: ["RUNNING", "SUCCESS", "FAILURE", "REVOKED"] },
  { key: "name:", hint: "its name; * stands for anything" },
  { key: "age<", hint: "begun no longer ago than", values: ["15m", "1h", "6h", "1d", "7d"] },
  { key: "age>", hint: "begun longer ago than", values: ["15m", "1h", "6h", "1d", "7d"] },
  { key: "id:", hint: "a workflow's id; may stand several times" },
];

const COLUMNS: Column<Flow>[] = [
  {
    key: "name",
    title: "Workflow",
    isElastic: true,
    show: (flow) => (
      <>
        <a class="cut" href={at.flow(flow.id)}>
          {flow.name || short(flow.id)}
        </a>
        <span class="second">
          <code title={flow.id}>{short(flow.id)}</code>
        </span>
      </>
    ),
  },
  { key: "state", title: "State", show: (flow) => <StateBadge state={flow.state} /> },
  {
    key: "progress",
    title: "Tasks that ended",
    from: "medium",
    show: (flow) => <ProgressBar done={flow.done} total={flow.total} />,
  },
  {
    key: "dead",
    title: "Failed",
    isNumber: true,
    from: "medium",
    show: (flow) =>
      flow.dead ? (
        <span class="text-bad" title="Tasks that failed by themselves">
          {grouped(flow.dead)}
        </span>
      ) : (
        <span class="faint">0</span>
      ),
  },
  { key: "created", title: "Begun", from: "medium", show: (flow) => <Time at={flow.created_at} /> },
  { key: "took", title: "Took", isNumber: true, show: (flow) => <Took flow={flow} /> },
];

/** How long it took, or has taken so far. */
export function Took({ flow }: { flow: Flow }) {
  if (flow.created_at === null) return <Duration seconds={null} />;
  return flow.ended_at === null ? (
    <Since at={flow.created_at} />
  ) : (
    <Duration seconds={flow.ended_at - flow.created_at} />
  );
}

export function Workflows() {
  const { route } = useLocation();
  const [where, setWhere] = useQuery<string>("where", "");
  const pages = usePages((after, signal) => api.flows({ where, after, limit: PAGE }, signal), [where], REFRESH);
  return (
    <Page title="Workflows">
      <FilterBar
        value={where}
        onApply={setWhere}
        keys={KEYS}
        placeholder="Search workflows: state:RUNNING name:import-* age<1d"
        error={pages.error}
      />
      <Panel isFlush title="Newest first" beside={pages.list && capped(pages.list.count, pages.list.is_capped)}>
        {pages.error && !isUnreadable(pages.error) && <Failure error={pages.error} reload={pages.reload} />}
        {!pages.items && pages.isLoading && <Loading lines={8} />}
        {pages.items && (
          <Table
            caption="Workflows, the newest first"
            columns={COLUMNS}
            rows={pages.items}
            rowKey={(flow) => flow.id}
            open={(flow) => route(at.flow(flow.id))}
            more={pages.more}
            isLoadingMore={pages.isLoadingMore}
            foot={pages.list?.note}
            empty={where ? <NothingFound /> : <NothingYet />}
            rowHeight={52}
            testid="flows"
          />
        )}
      </Panel>
    </Page>
  );
}

function NothingFound() {
  return (
    <Empty title="No workflow matches" icon="search">
      Take a term away, or look further back. Workflows are kept for a while after they have ended.
    </Empty>
  );
}

function NothingYet() {
  return (
    <Empty
      title="No workflows yet"
      icon="workflows"
      command="chain(fetch.s(url), group(resize.s(w) for w in widths), publish.s()).delay()"
    >
      Tasks that wait for each other form a workflow: a chain, a group, a chord or a batch. Send one, and its graph can
      be watched here.
    </Empty>
  );
}
