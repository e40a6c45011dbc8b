/** What it all stands on: broker, results, history, beats; settings, versions, and who changed what. */
import type { ComponentChildren } from "preact";
import { api, type System as Whole } from "../api";
import { Badge } from "../components/Badge";
import { Failure, Loading } from "../components/Empty";
import { Icon } from "../components/Icon";
import { Facts, Page, Panel } from "../components/Page";
import { Time } from "../components/Time";
import { bytes, duration, grouped } from "../format";
import { useAsked } from "../hooks";
import { at } from "../place";
import { Audit } from "./system/Audit";
import { Settings } from "./system/Settings";

const REFRESH = 10;
type Items = [string, ComponentChildren][];

export function System() {
  const asked = useAsked((signal) => api.system(signal), [], REFRESH);
  return (
    <Page title="System">
      {asked.error && <Failure error={asked.error} reload={asked.reload} />}
      {!asked.value && asked.isLoading && <Loading lines={10} />}
      {asked.value && <Shown system={asked.value} />}
      <Audit />
      {asked.value && <Settings config={asked.value.config} />}
    </Page>
  );
}

function Shown({ system }: { system: Whole }) {
  return (
    <>
      <Remarks remarks={system.remarks} />
      <div class="columns columns-three">
        <Broker broker={system.broker} />
        <Results results={system.results} />
        <History history={system.history} />
      </div>
      <div class="columns">
        <Beats beats={system.beats} />
        <Panel title="Versions" testid="versions">
          <Facts items={Object.entries(system.versions)} />
        </Panel>
      </div>
    </>
  );
}

const WEIGHTS = {
  refused: ["bad", "warning"],
  risk: ["warn", "warning"],
  fine: ["good", "check"],
} as const;

function Remarks({ remarks }: { remarks: Whole["remarks"] }) {
  if (!remarks.length) return null;
  const order = Object.keys(WEIGHTS);
  const sorted = [...remarks].sort((a, b) => order.indexOf(a.weight) - order.indexOf(b.weight));
  return (
    <Panel title="What the servers say of themselves" isFlush testid="remarks">
      <ul class="remarks">
        {sorted.map((remark) => {
          const [tone, icon] = WEIGHTS[remark.weight] ?? WEIGHTS.risk;
          return (
            <li key={`${remark.subject} ${remark.text}`}>
              <span class={`text-${tone}`}>
                <Icon name={icon} />
                <span class="unseen">{remark.weight}: </span>
              </span>
              <span>
                <strong>{remark.subject}</strong> {remark.text}
                {remark.advice && <span class="second remark-advice">{remark.advice}</span>}
              </span>
            </li>
          );
        })}
      </ul>
    </Panel>
  );
}

function Broker({ broker }: { broker: Whole["broker"] }) {
  const items: Items = [
    ["Address", <code key="url">{broker.url}</code>],
    [
      "Answers in",
      broker.latency === null ? (
        <Badge key="latency" tone="bad">
          it does not answer
        </Badge>
      ) : (
        duration(broker.latency)
      ),
    ],
  ];
  if (broker.version) items.push(["Version", broker.version]);
  return (
    <Panel title="Broker" testid="broker">
      <Trouble error={broker.error} />
      <Facts items={items} />
      <ul class="features" aria-label="What it promises">
        {broker.features.map((each) => (
          <li key={each}>{each.replaceAll("_", " ")}</li>
        ))}
      </ul>
    </Panel>
  );
}

function Results({ results }: { results: Whole["results"] }) {
  const items: Items = [
    ["Address", <code key="url">{results.url}</code>],
    [
      "Settles",
      results.is_shared
        ? "with the broker, in one transaction"
        : "in a step of its own: a task may be repeated, none is lost",
    ],
  ];
  if (results.latency !== null) items.splice(1, 0, ["Answers in", duration(results.latency)]);
  if (results.dead_letters !== null) {
    items.push([
      "Dead letters",
      <a key="dead" href={at.letters("")}>
        {grouped(results.dead_letters)}
      </a>,
    ]);
  }
  return (
    <Panel title="Results" testid="results">
      <Trouble error={results.error} />
      <Facts items={items} />
    </Panel>
  );
}

function History({ history }: { history: Whole["history"] }) {
  const items: Items = [["Address", <code key="url">{history.url}</code>]];
  if (history.size !== null) items.push(["Size", bytes(history.size)]);
  items.push(["Records of tasks", grouped(history.rows)], ["Reach back", duration(history.kept)]);
  return (
    <Panel title="History" testid="history">
      <Trouble error={history.error} />
      <Facts items={items} />
    </Panel>
  );
}

function Trouble({ error }: { error: string }) {
  return error ? <p class="error-line trouble">{error}</p> : null;
}

function Beats({ beats }: { beats: Whole["beats"] }) {
  return (
    <Panel title="Beats" testid="beats">
      {beats.length === 0 && (
        <p class="muted">
          None is running, so no schedule sends anything. Start one: <code>taskbus beat -A module:app</code>, or a
          worker with <code>-B</code>.
        </p>
      )}
      <ul class="beats">
        {beats.map((beat) => (
          <li key={beat.node}>
            <strong>{beat.name}</strong>
            {beat.is_leader ? <Badge tone="good">does the work</Badge> : <Badge>stands by</Badge>}
            {!beat.is_alive && <Badge tone="bad">silent</Badge>}
            <span class="faint">
              heard of <Time at={beat.at} />
            </span>
          </li>
        ))}
      </ul>
    </Panel>
  );
}
