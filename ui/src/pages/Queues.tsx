/** Every queue: how much waits, for how long, who works on it. */

import { useMemo } from "preact/hooks";
import { useLocation } from "preact-iso";
import { api, type Queue } from "../api";
import { Button } from "../components/Button";
import { Empty, Failure, Loading } from "../components/Empty";
import { QuickFilter } from "../components/FilterBar";
import { Page, Panel } from "../components/Page";
import { QUEUE_COLUMNS, QUEUE_DETAILS } from "../components/queueCells";
import { type Column, Table } from "../components/Table";
import { plural } from "../format";
import { useAsked, useLive, useQuery } from "../hooks";
import { at } from "../place";
import { pause, resume } from "../queueActs";

export function Queues() {
  const { route } = useLocation();
  const asked = useAsked(api.queues, [], 10);
  const live = useLive("queues").value;
  const [filter, setFilter] = useQuery<string>("filter", "");
  const all = live?.queues ?? asked.value?.items ?? null;
  const rows = useMemo(
    () => (all ?? []).filter((queue) => queue.name.toLowerCase().includes(filter.toLowerCase())),
    [all, filter],
  );
  const columns: Column<Queue>[] = [
    ...QUEUE_COLUMNS,
    ...QUEUE_DETAILS,
    {
      key: "actions",
      title: "",
      show: (queue) => (
        <div class="row-actions">
          {queue.is_paused ? (
            <Button
              kind="quiet"
              icon="play"
              needs="operator"
              label={`Resume ${queue.name}`}
              onClick={() => resume(queue.name).then(asked.reload)}
            />
          ) : (
            <Button
              kind="quiet"
              icon="pause"
              needs="operator"
              label={`Pause ${queue.name}`}
              onClick={() => pause(queue.name).then(asked.reload)}
            />
          )}
        </div>
      ),
    },
  ];
  return (
    <Page title="Queues" actions={<QuickFilter value={filter} onChange={setFilter} label="Filter by name" />}>
      <Panel isFlush>
        {asked.error && !all && <Failure error={asked.error} reload={asked.reload} />}
        {!all && !asked.error && <Loading />}
        {all && (
          <Table
            caption="Queues"
            testid="queues"
            columns={columns}
            rows={rows}
            rowKey={(queue) => queue.name}
            open={(queue) => route(at.queue(queue.name))}
            initial={{ key: "name", isDown: false }}
            foot={plural(rows.length, "queue")}
            empty={
              filter ? (
                <Empty title={`No queue has “${filter}” in its name`} icon="search" />
              ) : (
                <Empty title="No queue is known yet" icon="queues" command="taskbus worker -A module:app">
                  A queue appears when a worker takes tasks from it, or when the first task is sent to it.
                </Empty>
              )
            }
          />
        )}
      </Panel>
    </Page>
  );
}
