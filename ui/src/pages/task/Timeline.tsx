/** Attempts as bars over time: waiting, running, held back before the next try. */
import { useState } from "preact/hooks";
import type { Attempt } from "../../api";
import { stateWord } from "../../components/Badge";
import { Choice } from "../../components/Page";
import { duration, instant } from "../../format";
import { evenScale, isUneven, linearScale, type Span, type SpanKind, spansOf, sums } from "./spans";

const WORDS: Record<SpanKind, string> = { wait: "waited", run: "ran", backoff: "held back" };
const OPEN_WORDS: Record<SpanKind, string> = { wait: "waits", run: "runs", backoff: "is held back" };
const KINDS: SpanKind[] = ["wait", "run", "backoff"];

interface Props {
  attempts: Attempt[];
  now: number;
  /** Marks the attempt that is shown below; a click on a row chooses another. */
  chosen: number;
  onChoose: (attempt: number) => void;
  /** What is said where there is nothing to draw. */
  none?: string;
}

export function Timeline({ attempts, now, chosen, onChoose, none = "Nothing is kept of its attempts." }: Props) {
  const spans = spansOf(attempts, now);
  const [wanted, setWanted] = useState<"scale" | "even" | "">("");
  if (!spans.length) return <p class="faint">{none}</p>;
  const shape = wanted || (isUneven(spans) ? "even" : "scale");
  const scale = shape === "even" ? evenScale(spans) : linearScale(spans);
  const total = sums(spans);
  const tones = [...new Set(spans.filter((span) => span.kind === "run").map((span) => stateWord(span.state)[1]))];
  return (
    <div class="timeline">
      <div class="timeline-head">
        <ul class="timeline-legend">
          {KINDS.filter((kind) => total[kind] > 0).map((kind) => (
            <li key={kind} class={kind === "run" ? "" : `key key-${kind}`}>
              {kind === "run" && tones.map((tone) => <span key={tone} class={`key key-run key-${tone}`} />)}
              {WORDS[kind]} <strong class="number">{duration(total[kind])}</strong>
            </li>
          ))}
        </ul>
        <Choice
          label="Width of bars"
          options={[
            ["even", "Readable"],
            ["scale", "To scale"],
          ]}
          value={shape}
          onChange={setWanted}
        />
      </div>
      <ol>
        {attempts.map((attempt) => {
          const own = spans.filter((span) => span.attempt === attempt.attempt);
          return (
            <li key={attempt.attempt}>
              <button
                type="button"
                class="timeline-row"
                aria-pressed={attempt.attempt === chosen}
                onClick={() => onChoose(attempt.attempt)}
              >
                <span class="timeline-name">
                  {attempt.attempt} <span class="faint">{stateWord(attempt.state)[0]}</span>
                </span>
                <span class="unseen">{own.map(told).join(", ")}</span>
                <span class="timeline-bars" aria-hidden="true">
                  {own.map((span) => (
                    <Bar key={span.kind} span={span} from={scale.at(span.from)} to={scale.at(span.to)} />
                  ))}
                </span>
              </button>
            </li>
          );
        })}
      </ol>
      <div class="timeline-axis" aria-hidden="true">
        {scale.ticks.map((tick) => (
          <span key={tick.offset} class={tickClass(tick.at)} style={{ left: `${tick.at}%` }}>
            {tick.offset === 0 ? "start" : `+${duration(tick.offset)}`}
          </span>
        ))}
      </div>
      {shape === "even" && (
        <p class="timeline-note faint">
          Long stretches are drawn shorter than they were, so that short ones can be seen.
        </p>
      )}
    </div>
  );
}

function Bar({ span, from, to }: { span: Span; from: number; to: number }) {
  const tone = span.kind === "run" ? ` bar-${stateWord(span.state)[1]}` : "";
  return (
    <span
      class={`bar bar-${span.kind}${tone}${span.isOpen ? " bar-open" : ""}`}
      style={{ left: `${from}%`, width: `${to - from}%` }}
      title={`${told(span)}: ${instant(span.from)} to ${instant(span.to)}`}
    >
      {to - from > 7 && <span class={to - from > 24 ? undefined : "not-phone"}>{duration(span.to - span.from)}</span>}
    </span>
  );
}

function told(span: Span): string {
  return `${(span.isOpen ? OPEN_WORDS : WORDS)[span.kind]} ${duration(span.to - span.from)}`;
}

function tickClass(at: number): string {
  return at > 94 ? "tick tick-last" : at < 4 ? "tick tick-first" : "tick";
}
