import { grouped, percent } from "../format";

/** How much of something is done, as a bar with its figures. */
export function ProgressBar({ done, total, note }: { done: number; total: number; note?: string }) {
  const share = total > 0 ? done / total : 0;
  const words = total > 0 ? `${percent(share)} · ${grouped(done)} of ${grouped(total)}` : grouped(done);
  return (
    <div class="progress">
      {total > 0 ? (
        <progress max={total} value={Math.min(done, total)} aria-label={note || "Progress"} />
      ) : (
        <progress aria-label={note || "Progress"} />
      )}
      <span class="progress-words">
        {words}
        {note && <span class="faint"> {note}</span>}
      </span>
    </div>
  );
}

/** A share of one as a slim bar, for load and memory; `label` says it in words. */
export function Meter({ share, label, isWide }: { share: number; label: string; isWide?: boolean }) {
  const value = Math.max(0, Math.min(1, share));
  return (
    <span
      class={`meter${isWide ? " meter-wide" : ""}${value > 0.9 ? " meter-full" : ""}`}
      role="meter"
      aria-valuemin={0}
      aria-valuemax={1}
      aria-valuenow={value}
      aria-label={label}
      title={label}
    >
      <span style={{ width: `${value * 100}%` }} />
    </span>
  );
}
