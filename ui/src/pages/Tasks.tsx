/** Tasks: those that run, and a search of those that ended. All that is asked stands in the URL. */
import { useEffect, useMemo, useState } from "preact/hooks";
import { useLocation } from "preact-iso";
import { api, type TaskRow } from "../api";
import { Empty, Failure, Loading } from "../components/Empty";
import { FilterBar, isUnreadable } from "../components/FilterBar";
import { Page, Panel } from "../components/Page";
import { Table } from "../components/Table";
import { capped } from "../format";
import { usePages, useQuery } from "../hooks";
import { at, to } from "../place";
import { Acting } from "./tasks/Acting";
import { TASK_COLUMNS } from "./tasks/columns";
import { Facets, type TaskSort } from "./tasks/Facets";
import { stateOf, taskKeys } from "./tasks/filter";
import { useKnown } from "./tasks/known";
import { Running } from "./tasks/Running";
import { Views } from "./tasks/Views";

const PAGE = 100;
const REFRESH = 5;
/** What a list is called whose tasks have not ended. */
const STAGES: Record<string, string> = { STARTED: "Running now", PENDING: "Waiting" };

export function Tasks() {
  const [where, setWhere] = useQuery<string>("where", "");
  const [sort, setSort] = useQuery<TaskSort>("sort", "newest");
  const [chosen, setChosen] = useState(new Set<string>());
  const { route } = useLocation();
  const known = useKnown();
  const keys = useMemo(() => taskKeys(known), [known]);
  const pages = usePages(
    (after, signal) => api.tasks({ where, sort, after, limit: PAGE }, signal),
    [where, sort],
    chosen.size ? 0 : REFRESH,
  );
  useEffect(() => setChosen(new Set()), [where, sort]);
  const stage = STAGES[stateOf(where)];
  const views = (
    <Views
      where={where}
      sort={sort}
      onOpen={(view) => route(to("tasks", { where: view.where, sort: view.sort === "newest" ? "" : view.sort }))}
    />
  );
  return (
    <Page title="Tasks" actions={views}>
      <FilterBar
        value={where}
        onApply={setWhere}
        keys={keys}
        placeholder="Search tasks: state:FAILURE task:mail.* age<1h"
        error={pages.error}
      />
      <Facets where={where} onChange={setWhere} known={known} sort={sort} onSort={setSort} />
      {!stage && <Running where={where} />}
      {chosen.size > 0 && (
        <Acting rows={(pages.items ?? []).filter((row) => chosen.has(row.id))} onEnd={() => setChosen(new Set())} />
      )}
      <Panel isFlush title={stage ?? "Ended"} beside={pages.list && <Counted list={pages.list} />}>
        {pages.error && !isUnreadable(pages.error) && <Failure error={pages.error} reload={pages.reload} />}
        {!pages.items && pages.isLoading && <Loading lines={8} />}
        {pages.items && (
          <Table
            caption={stage ? `Tasks: ${stage.toLowerCase()}` : "Tasks that ended"}
            columns={TASK_COLUMNS}
            rows={pages.items}
            rowKey={(row: TaskRow) => row.id}
            open={(row: TaskRow) => route(at.task(row.id))}
            chosen={chosen}
            onChoose={setChosen}
            more={pages.more}
            isLoadingMore={pages.isLoadingMore}
            foot={pages.list?.note}
            empty={where ? <NothingFound /> : <NothingYet />}
            rowHeight={52}
            testid="tasks"
          />
        )}
      </Panel>
    </Page>
  );
}

function Counted({ list }: { list: { count: number; is_capped: boolean } }) {
  return (
    <span title={list.is_capped ? "There are more: the server stops counting here." : undefined}>
      {capped(list.count, list.is_capped)}
      {list.is_capped && <span class="faint"> counted, there are more</span>}
    </span>
  );
}

function NothingFound() {
  return (
    <Empty title="No task matches" icon="search">
      Take a term away, or look further back. Of tasks that went well only a sample is kept; those that failed are kept
      in full.
    </Empty>
  );
}

function NothingYet() {
  return (
    <Empty title="No task has ended yet" command="taskbus worker -A module:app">
      Tasks appear here within a second after a worker ran them. Start one, and send it a task.
    </Empty>
  );
}
