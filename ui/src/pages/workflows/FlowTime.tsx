/** A workflow over time: a bar for each node that was started. */
import { useRef } from "preact/hooks";
import { stateWord } from "../../components/Badge";
import { Gap } from "../../components/Table";
import { useSight } from "../../components/windowing";
import { duration, grouped, instant } from "../../format";
import { ganttOf, type Row } from "./gantt";
import { type Drawn, named } from "./graph";
import { Sign } from "./marks";

interface Props {
  nodes: readonly Drawn[];
  now: number;
  chosen: string;
  onChoose: (id: string) => void;
}

const HEIGHT = 32;

export function FlowTime({ nodes, now, chosen, onChoose }: Props) {
  const { rows, scale, waiting } = ganttOf(nodes, now);
  const body = useRef<HTMLTableSectionElement>(null);
  const sight = useSight(rows.length, HEIGHT, body);
  return (
    <div class="gantt" data-testid="gantt">
      <table>
        <caption class="unseen">When each node of the workflow started and how long it took</caption>
        <colgroup>
          <col class="gantt-names" />
          <col />
        </colgroup>
        <thead class="unseen">
          <tr>
            <th scope="col">Node</th>
            <th scope="col">Time</th>
          </tr>
        </thead>
        <tbody ref={body}>
          <Gap rows={sight.from} height={sight.height} />
          {rows.slice(sight.from, sight.to).map((row, place) => (
            <tr
              key={row.node.id}
              data-row={sight.from + place}
              class={row.node.id === chosen ? "gantt-chosen" : undefined}
              style={{ height: `${HEIGHT}px` }}
            >
              <th scope="row">
                <button type="button" onClick={() => onChoose(row.node.id)} aria-pressed={row.node.id === chosen}>
                  <Sign state={row.node.state} />
                  <NodeName node={row.node} />
                </button>
              </th>
              <td>
                <Bar row={row} from={scale.at(row.from)} to={scale.at(row.to)} />
              </td>
            </tr>
          ))}
          <Gap rows={rows.length - sight.to} height={sight.height} />
        </tbody>
      </table>
      <div class="timeline-axis gantt-axis" aria-hidden="true">
        {scale.ticks.map((tick) => (
          <span
            key={tick.offset}
            class={tick.at > 94 ? "tick tick-last" : tick.at < 4 ? "tick tick-first" : "tick"}
            style={{ left: `${tick.at}%` }}
          >
            {tick.offset === 0 ? "start" : `+${duration(tick.offset)}`}
          </span>
        ))}
      </div>
      {waiting > 0 && <p class="faint gantt-note">{grouped(waiting)} more have not started.</p>}
    </div>
  );
}

function Bar({ row, from, to }: { row: Row; from: number; to: number }) {
  const text = duration(row.to - row.from);
  const isInside = to - from > 14;
  return (
    <span class="gantt-track">
      <span
        class={`bar bar-run bar-${stateWord(row.node.state)[1]}${row.isOpen ? " bar-open" : ""}`}
        style={{ left: `${from}%`, width: `${to - from}%` }}
        title={`${instant(row.from)} to ${row.isOpen ? "now" : instant(row.to)}`}
      >
        {isInside && <span>{text}</span>}
      </span>
      {!isInside && (
        <span
          class={to > 88 ? "gantt-beside gantt-before" : "gantt-beside"}
          style={{ left: `${to > 88 ? from : to}%` }}
        >
          {text}
        </span>
      )}
    </span>
  );
}

/** The name with its module, which a phone has no room for. */
function NodeName({ node }: { node: Drawn }) {
  const [module, name] = named(node.label);
  return (
    <span class="name cut" title={node.label}>
      {node.kind === "many" && `${grouped(node.members.length)} × `}
      {module && <span class="faint not-phone">{module}.</span>}
      {name}
    </span>
  );
}
