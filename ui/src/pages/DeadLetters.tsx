/** Dead letters: what was given up, by what it has in common, and the buttons that send it again. */
import { useCallback, useEffect, useMemo, useState } from "preact/hooks";
import { useLocation } from "preact-iso";
import { api, type Letter } from "../api";
import { Badge } from "../components/Badge";
import { Button } from "../components/Button";
import { Empty, Failure, Loading } from "../components/Empty";
import { FilterBar, isUnreadable } from "../components/FilterBar";
import { Page, Panel } from "../components/Page";
import { type Column, Table } from "../components/Table";
import { Time } from "../components/Time";
import { capped, grouped, short } from "../format";
import { useAsked, usePages, useQuery } from "../hooks";
import { at } from "../place";
import { BulkDialog, EVERY, type Kind } from "./dead-letters/BulkDialog";
import { Groups } from "./dead-letters/Groups";
import { Jobs } from "./dead-letters/Jobs";
import { reasonWord } from "./dead-letters/words";
import { filtersOf } from "./tasks/bulk";
import { callOf } from "./tasks/columns";
import { letterKeys } from "./tasks/filter";
import { useKnown } from "./tasks/known";

export { DeadLetter } from "./dead-letters/DeadLetter";

const PAGE = 100;
const REFRESH = 5;

const COLUMNS: Column<Letter>[] = [
  {
    key: "task",
    title: "Task",
    isLead: true,
    show: (letter) => (
      <>
        <a class="name cut" href={at.letter(letter.id)}>
          {letter.task}
        </a>
        <span class="second only-phone text-bad">{letter.error.split(".").at(-1) || reasonWord(letter.reason)}</span>
        <span class="second not-phone">
          <code title={letter.id}>{short(letter.id)}</code> · {letter.queue}
        </span>
      </>
    ),
  },
  {
    key: "reason",
    title: "Reason",
    from: "medium",
    show: (letter) => <Badge tone="warn">{reasonWord(letter.reason)}</Badge>,
  },
  {
    key: "error",
    title: "Error, arguments",
    isElastic: true,
    from: "medium",
    show: (letter) => (
      <>
        <span class="cut text-bad" title={letter.message}>
          {letter.error}
          {letter.message && `: ${letter.message}`}
        </span>
        <span class="second">
          <code>{callOf(letter) || "no arguments"}</code>
        </span>
      </>
    ),
  },
  { key: "attempt", title: "Attempts", isNumber: true, from: "wide", show: (letter) => letter.attempt },
  { key: "dead", title: "Died", show: (letter) => <Time at={letter.dead_at} /> },
];

export function DeadLetters() {
  const [where, setWhere] = useQuery<string>("where", "");
  const [chosen, setChosen] = useState(new Set<string>());
  const [bulk, setBulk] = useState<{ kind: Kind; filters: string[]; about: string } | null>(null);
  const [turn, setTurn] = useState(0);
  const { route } = useLocation();
  const known = useKnown();
  const keys = useMemo(() => letterKeys(known), [known]);
  const groups = useAsked((signal) => api.letterGroups(where, signal), [where], REFRESH);
  const pages = usePages(
    (after, signal) => api.letters({ where, after, limit: PAGE }, signal),
    [where],
    chosen.size ? 0 : REFRESH,
  );
  useEffect(() => setChosen(new Set()), [where]);
  const reload = useCallback(() => {
    pages.reload();
    groups.reload();
  }, [pages.reload, groups.reload]);
  const all = (kind: Kind) => setBulk({ kind, filters: [where || EVERY], about: where });
  const some = (kind: Kind) => setBulk({ kind, filters: filtersOf([...chosen]), about: "what you chose" });
  const isAny = (pages.list?.count ?? 0) > 0;
  const actions = isAny && (
    <>
      <Button icon="trash" kind="danger" needs="admin" onClick={() => all("purge")} testid="purge-all">
        {where ? "Delete what matches" : "Delete all"}
      </Button>
      <Button icon="retry" kind="main" needs="operator" onClick={() => all("replay")} testid="replay-all">
        {where ? "Replay what matches" : "Replay all"}
      </Button>
    </>
  );
  return (
    <Page title="Dead letters" actions={actions || undefined}>
      <FilterBar
        value={where}
        onApply={setWhere}
        keys={keys}
        placeholder="Filter: task:mail.* reason:poison error:TimeoutError age<1d"
        error={pages.error}
      />
      <Jobs turn={turn} onProgress={reload} />
      {groups.value && <Groups groups={groups.value} where={where} onChoose={setWhere} />}
      {chosen.size > 0 && (
        <Chosen
          chosen={chosen.size}
          shown={pages.items?.length ?? 0}
          total={pages.list?.count ?? 0}
          onAct={some}
          onAll={all}
          onClear={() => setChosen(new Set())}
        />
      )}
      <Panel
        isFlush
        title="Letters"
        beside={pages.list && capped(pages.list.count, pages.list.is_capped)}
        testid="letters-panel"
      >
        {pages.error && !isUnreadable(pages.error) && <Failure error={pages.error} reload={pages.reload} />}
        {!pages.items && pages.isLoading && <Loading lines={8} />}
        {pages.items && (
          <Table
            caption="Dead letters"
            columns={COLUMNS}
            rows={pages.items}
            rowKey={(letter: Letter) => letter.id}
            open={(letter: Letter) => route(at.letter(letter.id))}
            chosen={chosen}
            onChoose={setChosen}
            more={pages.more}
            isLoadingMore={pages.isLoadingMore}
            foot={pages.list?.note}
            empty={where ? <NothingFound /> : <AllWell />}
            rowHeight={52}
            testid="letters"
          />
        )}
      </Panel>
      {bulk && (
        <BulkDialog
          {...bulk}
          onClose={() => setBulk(null)}
          onStarted={() => {
            setChosen(new Set());
            setTurn(turn + 1);
            reload();
          }}
        />
      )}
    </Page>
  );
}

interface ChosenProps {
  chosen: number;
  shown: number;
  total: number;
  onAct: (kind: Kind) => void;
  onAll: (kind: Kind) => void;
  onClear: () => void;
}

/** What can be done with the chosen letters; when all that are shown are chosen, with all that match. */
function Chosen({ chosen, shown, total, onAct, onAll, onClear }: ChosenProps) {
  const [isAll, setAll] = useState(false);
  const canAll = chosen === shown && total > shown;
  const isEvery = isAll && canAll;
  const act = isEvery ? onAll : onAct;
  return (
    <div class="acting" role="toolbar" aria-label="With the chosen letters">
      <strong>{isEvery ? `All ${grouped(total)} that match are chosen` : `${grouped(chosen)} chosen`}</strong>
      {canAll && (
        <Button kind="quiet" onClick={() => setAll(!isAll)} testid="choose-all">
          {isEvery ? `Only the ${grouped(chosen)} shown` : `Choose all ${grouped(total)} that match`}
        </Button>
      )}
      <Button icon="retry" needs="operator" onClick={() => act("replay")} testid="replay-chosen">
        Replay
      </Button>
      <Button icon="trash" kind="danger" needs="admin" onClick={() => act("purge")} testid="purge-chosen">
        Delete
      </Button>
      <Button kind="quiet" onClick={onClear}>
        Clear
      </Button>
    </div>
  );
}

function NothingFound() {
  return (
    <Empty title="No dead letter matches" icon="search">
      Take a term of the filter away.
    </Empty>
  );
}

function AllWell() {
  return (
    <Empty title="No dead letters" icon="check" command="taskbus dlq list">
      A task that fails for good is kept here whole, with what it was given and why it failed, until you send it again
      or delete it. Nothing is lost meanwhile.
    </Empty>
  );
}
