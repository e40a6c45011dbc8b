import { duration, instant, relative } from "../format";
import { now } from "../live";

/** How long ago an instant was, kept up to date; the date and time on hover and for screen readers' `datetime`. */
export function Time({ at, none = "–" }: { at: number | null | undefined; none?: string }) {
  if (at === null || at === undefined) return <span class="faint">{none}</span>;
  return (
    <time dateTime={new Date(at * 1000).toISOString()} title={instant(at)}>
      {relative(at, now.value)}
    </time>
  );
}

export function Duration({ seconds }: { seconds: number | null | undefined }) {
  if (seconds === null || seconds === undefined) return <span class="faint">–</span>;
  return (
    <span class="number" title={seconds >= 60 ? `${seconds.toFixed(3)} s` : undefined}>
      {duration(seconds)}
    </span>
  );
}

/** How long something has lasted since `at`, kept up to date. */
export function Since({ at }: { at: number | null }) {
  if (at === null) return <span class="faint">–</span>;
  return (
    <span class="number" title={`since ${instant(at)}`}>
      {duration(Math.max(0, Math.floor(now.value - at)))}
    </span>
  );
}
