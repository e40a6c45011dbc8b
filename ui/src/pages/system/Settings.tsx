/** The settings in force, without secrets, and where each comes from. */
import { useState } from "preact/hooks";
import type { System } from "../../api";
import { Empty } from "../../components/Empty";
import { QuickFilter } from "../../components/FilterBar";
import { Panel } from "../../components/Page";
import { type Column, Table } from "../../components/Table";
import { useQuery } from "../../hooks";

type Setting = System["config"][number];

const COLUMNS: Column<Setting>[] = [
  { key: "name", title: "Setting", by: (each) => each.name, show: (each) => <code>{each.name}</code> },
  {
    key: "value",
    title: "Value",
    isElastic: true,
    show: (each) => (
      <code class="cut" title={each.value}>
        {each.value || <span class="faint">empty</span>}
      </code>
    ),
  },
  {
    key: "origin",
    title: "From",
    from: "medium",
    by: (each) => each.origin,
    show: (each) => <span class={each.origin === "default" ? "faint" : undefined}>{each.origin}</span>,
  },
];

export function Settings({ config }: { config: Setting[] }) {
  const [words, setWords] = useQuery<string>("setting", "");
  const [isWhole, setWhole] = useState(false);
  const fits = (each: Setting) =>
    `${each.name} ${each.value} ${each.origin}`.toLowerCase().includes(words.toLowerCase());
  // What somebody has set comes first: the rest is as it is everywhere.
  const found = isWhole || words ? config : config.filter((each) => each.origin !== "default");
  const rows = found.filter(fits).sort((a, b) => Number(a.origin === "default") - Number(b.origin === "default"));
  return (
    <Panel
      isFlush
      title="Settings"
      beside={`${config.filter((each) => each.origin !== "default").length} set, the others as by default`}
      actions={<QuickFilter value={words} onChange={setWords} label="Narrow" />}
      testid="settings"
    >
      <Table
        caption="Settings in force"
        columns={COLUMNS}
        rows={rows}
        rowKey={(each) => each.name}
        empty={<Empty title={words ? "No such setting" : "All are as by default"} icon={words ? "search" : "check"} />}
      />
      {!words && (
        <button type="button" class="button button-quiet running-more" onClick={() => setWhole(!isWhole)}>
          {isWhole ? "Show those that are set only" : `Show all ${config.length}`}
        </button>
      )}
    </Panel>
  );
}
