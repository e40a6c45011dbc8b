/** Attempts as bars: when a task waited, ran, and was held back before it was tried again. */

export interface TimedAttempt {
  attempt: number;
  state: string;
  queued_at: number | null;
  started_at: number | null;
  ended_at: number | null;
  waited: number | null;
  ran_for: number | null;
  retry_in: number | null;
}

export type SpanKind = "wait" | "run" | "backoff";

/** A stretch of time, in instants. `isOpen`: it has not ended yet; `to` is now, or when it will end. */
export interface Span {
  attempt: number;
  kind: SpanKind;
  state: string;
  from: number;
  to: number;
  isOpen: boolean;
}

export interface Tick {
  /** In per cent of the width. */
  at: number;
  /** Seconds since the beginning. */
  offset: number;
}

/** How instants are laid out over a width of 100. */
export interface Scale {
  from: number;
  to: number;
  at(instant: number): number;
  ticks: Tick[];
}

/** The bars of all attempts, in their order. */
export function spansOf(attempts: readonly TimedAttempt[], now: number): Span[] {
  const found: Span[] = [];
  for (const [place, each] of attempts.entries()) {
    const add = (kind: SpanKind, from: number, to: number, isOpen: boolean) => {
      if (to > from || isOpen) {
        found.push({ attempt: each.attempt, kind, state: each.state, from, to: Math.max(from, to), isOpen });
      }
    };
    if (each.started_at === null) {
      if (each.queued_at !== null)
        add("wait", Math.min(each.queued_at, now), each.ended_at ?? now, each.ended_at === null);
      continue;
    }
    // Where the time it could have started at is not told, a wait begins no sooner than the attempt before has ended.
    const before = attempts[place - 1];
    const freed = before?.ended_at ? before.ended_at + (before.retry_in ?? 0) : 0;
    const ready =
      each.waited !== null ? each.started_at - each.waited : Math.max(each.queued_at ?? each.started_at, freed);
    add("wait", Math.min(ready, each.started_at), each.started_at, false);
    const ended = each.ended_at ?? (each.ran_for === null ? null : each.started_at + each.ran_for);
    found.push({
      attempt: each.attempt,
      kind: "run",
      state: each.state,
      from: each.started_at,
      to: Math.max(each.started_at, ended ?? now),
      isOpen: ended === null,
    });
    if (ended !== null && each.retry_in !== null && each.retry_in > 0) {
      add("backoff", ended, ended + each.retry_in, place === attempts.length - 1 && ended + each.retry_in > now);
    }
  }
  return found;
}

/** Seconds that were spent in each kind of span. */
export function sums(spans: readonly Span[]): Record<SpanKind, number> {
  const total: Record<SpanKind, number> = { wait: 0, run: 0, backoff: 0 };
  for (const span of spans) total[span.kind] += span.to - span.from;
  return total;
}

/** Instants to scale: an hour is 3,600 times as wide as a second. */
export function linearScale(spans: readonly { from: number; to: number }[], ticks = 5): Scale {
  const from = Math.min(...spans.map((span) => span.from));
  const to = Math.max(...spans.map((span) => span.to), from + 0.001);
  const at = (instant: number) => clamp(((instant - from) / (to - from)) * 100);
  const step = niceStep((to - from) / ticks);
  const told: Tick[] = [];
  for (let offset = 0; offset <= to - from + step * 1e-6; offset += step) told.push({ at: at(from + offset), offset });
  return { from, to, at, ticks: told };
}

/**
 * Instants so that short stretches can be seen beside long ones: each stretch between two instants at which something
 * began or ended is as wide as the logarithm of its length. The order stays, and so does what is longer than what.
 */
export function evenScale(spans: readonly { from: number; to: number }[]): Scale {
  const points = [...new Set(spans.flatMap((span) => [span.from, span.to]))].sort((a, b) => a - b);
  const from = points[0] ?? 0;
  const to = points[points.length - 1] ?? from;
  const lengths = points.slice(1).map((point, place) => point - (points[place] as number));
  const unit = Math.max(0.001, Math.min(...lengths));
  const widths = lengths.map((length) => Math.log2(2 + length / unit));
  const whole = widths.reduce((sum, width) => sum + width, 0) || 1;
  const starts = [0];
  for (const width of widths) starts.push((starts[starts.length - 1] as number) + (width / whole) * 100);
  const at = (instant: number) => {
    if (instant <= from || !lengths.length) return 0;
    if (instant >= to) return 100;
    const place = points.findIndex((point) => point > instant) - 1;
    const start = starts[place] as number;
    const share = (instant - (points[place] as number)) / (lengths[place] as number);
    return start + share * ((starts[place + 1] as number) - start);
  };
  return { from, to, at, ticks: apart(points.map((point) => ({ at: at(point), offset: point - from }))) };
}

/** Whether bars drawn to scale would hide some: a stretch is less than a two-hundredth of the whole. */
export function isUneven(spans: readonly Span[]): boolean {
  if (!spans.length) return false;
  const whole = Math.max(...spans.map((span) => span.to)) - Math.min(...spans.map((span) => span.from));
  return spans.some((span) => span.to - span.from < whole / 200);
}

/** 1, 2 or 5 times a power of ten up to a second; then steps of clocks: 15 s, 1 m, 1 h, 1 d. */
export function niceStep(least: number): number {
  const clock = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400];
  if (least > 1) return clock.find((step) => step >= least) ?? Math.ceil(least / 86400) * 86400;
  const power = 10 ** Math.floor(Math.log10(Math.max(least, 1e-6)));
  return ([1, 2, 5, 10].find((times) => times * power >= least * 0.999999) ?? 10) * power;
}

function apart(ticks: Tick[], room = 12): Tick[] {
  const last = ticks[ticks.length - 1];
  const kept: Tick[] = [];
  for (const tick of ticks) {
    const before = kept[kept.length - 1];
    const isFar = !before || tick.at - before.at >= room;
    if (tick === last ? isFar : isFar && (last?.at ?? 100) - tick.at >= room) kept.push(tick);
  }
  return kept;
}

function clamp(share: number): number {
  return Math.min(100, Math.max(0, share));
}
