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

/** A share of one as a slim bar, for load and memory. */
export function Meter({ share, label }: { share: number; label: string }) {
  return (
    <meter
      class="meter"
      min={0}
      max={1}
      high={0.85}
      optimum={0}
      value={Math.max(0, Math.min(1, share))}
      aria-label={label}
      title={label}
    />
  );
}
