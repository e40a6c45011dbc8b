/** What a list of tasks is narrowed by with the mouse; each writes its term into the filter. */
import { Choice } from "../../components/Page";
import { type Known, stateOf, termValue, withTerm } from "./filter";

const SHOWN = [
  ["", "All"],
  ["STARTED", "Running"],
  ["PENDING", "Waiting"],
  ["FAILURE", "Failed"],
  ["RETRY", "Retrying"],
  ["SUCCESS", "Succeeded"],
  ["REVOKED", "Revoked"],
] as const;
const AGES = [
  ["", "Any time"],
  ["15m", "Last 15 minutes"],
  ["1h", "Last hour"],
  ["6h", "Last 6 hours"],
  ["1d", "Last day"],
  ["7d", "Last 7 days"],
] as const;
export const SORTS = [
  ["newest", "Newest first"],
  ["slowest", "Slowest first"],
  ["longest_wait", "Longest wait first"],
] as const;
export type TaskSort = (typeof SORTS)[number][0];

interface Props {
  where: string;
  onChange: (where: string) => void;
  known: Known;
  sort: TaskSort;
  onSort: (sort: TaskSort) => void;
}

export function Facets({ where, onChange, known, sort, onSort }: Props) {
  const set = (key: string, value: string) => onChange(withTerm(where, key, value));
  const state = stateOf(where) as (typeof SHOWN)[number][0];
  const names = [
    ["queue", "Any queue", known.queues],
    ["task", "Any task", known.tasks],
    ["worker", "Any worker", known.workers],
  ] as const;
  return (
    <div class="facets">
      <Choice label="State" options={SHOWN} value={state} onChange={(value) => set("state", value)} />
      {names.map(([key, any, values]) => (
        <Pick
          key={key}
          label={key}
          options={[["", any], ...values.map((value) => [value, value] as const)]}
          value={termValue(where, key)}
          onChange={(value) => set(key, value)}
        />
      ))}
      <Pick
        label="time"
        options={AGES}
        value={termValue(where, "age", "<")}
        onChange={(value) => onChange(withTerm(where, "age", value, "<"))}
      />
      <Pick label="order" options={SORTS} value={sort} onChange={(value) => onSort(value as TaskSort)} />
    </div>
  );
}

interface PickProps {
  label: string;
  options: readonly (readonly [value: string, text: string])[];
  value: string;
  onChange: (value: string) => void;
}

/** One of many; a value that is none of them stands among them, so that what the filter says is always told. */
export function Pick({ label, options, value, onChange }: PickProps) {
  const all = options.some(([each]) => each === value) ? options : [...options, [value, value] as const];
  return (
    <select
      class={value && value !== options[0]?.[0] ? "pick pick-set" : "pick"}
      aria-label={`By ${label}`}
      value={value}
      onChange={(event) => onChange(event.currentTarget.value)}
    >
      {all.map(([each, text]) => (
        <option key={each} value={each}>
          {text}
        </option>
      ))}
    </select>
  );
}
