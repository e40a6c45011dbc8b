/** Who changed what, the newest first. */
import { type AuditEntry, api } from "../../api";
import { Badge } from "../../components/Badge";
import { Empty, Failure, Loading } from "../../components/Empty";
import { Panel } from "../../components/Page";
import { type Column, Table } from "../../components/Table";
import { Time } from "../../components/Time";
import { capped, grouped } from "../../format";
import { usePages } from "../../hooks";

const PAGE = 50;

const COLUMNS: Column<AuditEntry & { place: number }>[] = [
  { key: "at", title: "When", show: (entry) => <Time at={entry.at} /> },
  {
    key: "user",
    title: "Who",
    show: (entry) => (
      <>
        <strong>{entry.user || "somebody"}</strong>
        <span class="second">{entry.role}</span>
      </>
    ),
  },
  {
    key: "action",
    title: "What",
    show: (entry) => (
      <>
        <Badge>{entry.action}</Badge> {outcomeOf(entry) && <Badge tone="bad">{outcomeOf(entry)}</Badge>}
      </>
    ),
  },
  {
    key: "target",
    title: "Of what",
    isElastic: true,
    from: "medium",
    show: (entry) => (
      <>
        <code class="cut" title={entry.target}>
          {entry.target}
        </code>
        {entry.detail && <span class="second">{entry.detail}</span>}
      </>
    ),
  },
  {
    key: "count",
    title: "Changed",
    isNumber: true,
    from: "medium",
    show: (entry) => grouped(entry.count),
  },
];

/** "refused" or "failed" if it was not done, else "". */
function outcomeOf(entry: AuditEntry): string {
  return /^(refused|failed): /.exec(entry.detail)?.[1] ?? "";
}

export function Audit() {
  const pages = usePages((after, signal) => api.audit({ after, limit: PAGE }, signal), [], 10);
  const rows = pages.items?.map((entry, place) => ({ ...entry, place }));
  return (
    <Panel
      isFlush
      title="Changes made"
      beside={pages.list && capped(pages.list.count, pages.list.is_capped)}
      testid="audit"
    >
      {pages.error && <Failure error={pages.error} reload={pages.reload} />}
      {!rows && pages.isLoading && <Loading lines={6} />}
      {rows && (
        <Table
          caption="Changes made, the newest first"
          columns={COLUMNS}
          rows={rows}
          rowKey={(entry) => `${entry.at} ${entry.place}`}
          more={pages.more}
          isLoadingMore={pages.isLoadingMore}
          rowHeight={52}
          empty={
            <Empty title="Nobody has changed anything yet" icon="check">
              Whatever is changed through this page or its API is recorded here: who, what, and how much.
            </Empty>
          }
        />
      )}
    </Panel>
  );
}
