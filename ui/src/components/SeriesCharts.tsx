/** The two charts of anything that runs: tasks a second, and how long they wait or run. Both share their cursor. */
import { useMemo } from "preact/hooks";
import type { Range, Series } from "../api";
import { duration, rate } from "../format";
import { useQuery } from "../hooks";
import { CLOCK_STEPS, rateLines, timeLines } from "../series";
import { Chart } from "./Chart";
import { Choice, Panel, RANGES } from "./Page";

const TIMES = [
  ["wait", "Waiting"],
  ["run", "Running"],
] as const;

/** The range of time in the URL, and the buttons that choose it. */
export function useRange(byDefault: Range = "15m"): [Range, preact.JSX.Element] {
  const [range, setRange] = useQuery<Range>("range", byDefault);
  const known = RANGES.some(([name]) => name === range) ? range : byDefault;
  return [known, <Choice key="range" label="Range of time" options={RANGES} value={known} onChange={setRange} />];
}

export function SeriesCharts({ series, group, height = 190 }: { series: Series; group: string; height?: number }) {
  const [time, setTime] = useQuery<"wait" | "run">("time", "wait");
  const rates = useMemo(() => rateLines(series), [series]);
  const times = useMemo(() => timeLines(series, time), [series, time]);
  return (
    <div class="columns">
      <Panel title="Tasks per second">
        <Chart label="Tasks per second" t={series.t} lines={rates} format={rate} group={group} height={height} />
      </Panel>
      <Panel
        title={time === "wait" ? "Time in the queue" : "Time in work"}
        actions={<Choice label="Which time" options={TIMES} value={time} onChange={setTime} />}
      >
        <Chart
          label={time === "wait" ? "Time in the queue" : "Time in work"}
          t={series.t}
          lines={times}
          format={duration}
          group={group}
          height={height}
          atLeast={0.01}
          steps={CLOCK_STEPS}
        />
      </Panel>
    </div>
  );
}
