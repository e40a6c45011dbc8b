/** Lines over time, drawn by uPlot in the colours of the theme, with a legend that says the values under the cursor. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import { clock, instant } from "../format";
import { alone } from "../series";
import { isDark } from "../settings";

export type Colour = "blue" | "green" | "red" | "amber" | "violet" | "grey";

export interface ChartLine {
  label: string;
  colour: Colour;
  values: (number | null)[];
  isFilled?: boolean;
  isDashed?: boolean;
}

interface Props {
  /** Says what is shown, for screen readers. */
  label: string;
  t: number[];
  lines: ChartLine[];
  /** Writes a value, on the axis and in the legend. */
  format: (value: number) => string;
  height?: number;
  /** Charts of one name share their cursor. */
  group?: string;
  /** Lowest height of the scale, so that noise does not look like a storm. */
  atLeast?: number;
  /** Steps that the values' axis may take, if they are not those of decimal numbers. */
  steps?: number[];
}

function colourOf(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function faded(colour: string): string {
  return `color-mix(in srgb, ${colour} 14%, transparent)`;
}

function ticks(values: number[]): string[] {
  const span = (values.at(-1) ?? 0) - (values[0] ?? 0);
  return values.map((value) => {
    if (span > 86_400 * 1.5) return instant(value).slice(5, 16);
    return span > 600 || value % 60 === 0 ? clock(value).slice(0, 5) : clock(value);
  });
}

function options({ lines, format, height = 180, group, atLeast = 0, steps }: Props, width: number): uPlot.Options {
  const faint = colourOf("--faint");
  const grid = { stroke: colourOf("--line-soft"), width: 1 };
  const font = `11px ${colourOf("--sans")}`;
  return {
    width,
    height,
    padding: [8, 20, 0, 0],
    legend: { show: false },
    cursor: {
      points: { size: 7 },
      drag: { x: true, y: false },
      ...(group ? { sync: { key: group } } : {}),
    },
    scales: { y: { range: (_, __, most) => [0, Math.max(most * 1.08, atLeast) || 1] } },
    axes: [
      {
        stroke: faint,
        grid: { show: false },
        ticks: { show: false },
        font,
        size: 24,
        space: 70,
        values: (_, at) => ticks(at),
      },
      {
        stroke: faint,
        grid,
        ticks: { show: false },
        font,
        size: 58,
        space: 34,
        ...(steps ? { incrs: steps } : {}),
        values: (_, at) => at.map((value) => format(value).replace(/\.0+(?= |$)/, "")),
      },
    ],
    series: [
      {},
      ...lines.map((line): uPlot.Series => {
        const colour = colourOf(`--chart-${line.colour}`);
        return {
          label: line.label,
          stroke: colour,
          width: 1.75,
          points: { show: false, size: 5, fill: colour, filter: (u, at) => alone(u.data[at] ?? []) },
          ...(line.isFilled ? { fill: faded(colour) } : {}),
          ...(line.isDashed ? { dash: [4, 4] } : {}),
        };
      }),
    ],
  };
}

export function Chart(props: Props) {
  const { label, t, lines, format } = props;
  const frame = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const isZoomed = useRef(false);
  const [index, setIndex] = useState<number | null>(null);
  const shape = lines.map((line) => line.label + line.colour).join();
  const content = useMemo(() => [t, ...lines.map((line) => line.values)] as uPlot.AlignedData, [t, lines]);
  const latest = useRef(content);
  latest.current = content;

  useEffect(() => {
    const element = frame.current;
    if (!element) return;
    const drawn = new uPlot(
      {
        ...options(props, element.clientWidth),
        hooks: {
          setCursor: [(u) => setIndex(u.cursor.idx ?? null)],
          setSelect: [() => (isZoomed.current = true)],
        },
      },
      latest.current,
      element,
    );
    plot.current = drawn;
    const unzoom = () => {
      isZoomed.current = false;
    };
    element.addEventListener("dblclick", unzoom);
    const sizes = new ResizeObserver(() => drawn.setSize({ width: element.clientWidth, height: drawn.height }));
    sizes.observe(element);
    return () => {
      sizes.disconnect();
      element.removeEventListener("dblclick", unzoom);
      drawn.destroy();
      plot.current = null;
    };
  }, [shape, isDark.value, props.height]);

  useEffect(() => plot.current?.setData(content, !isZoomed.current), [content]);

  const at = index !== null && index < t.length ? index : t.length - 1;
  const instantShown = index !== null && t[at] !== undefined ? instant(t[at]) : "";
  const said = lines.map((line) => `${line.label} ${written(line.values[at], format)}`).join(", ");
  return (
    <figure class="chart">
      <figcaption class="legend">
        {lines.map((line) => (
          <span key={line.label} class={`legend-item legend-${line.colour}${line.isDashed ? " legend-dashed" : ""}`}>
            {line.label} <strong class="number">{written(line.values[at], format)}</strong>
          </span>
        ))}
        <span class="legend-at">{instantShown}</span>
      </figcaption>
      <div ref={frame} class="chart-frame" role="img" aria-label={`${label}. Last: ${said}`} />
    </figure>
  );
}

function written(value: number | null | undefined, format: (value: number) => string): string {
  return value === null || value === undefined ? "–" : format(value);
}
