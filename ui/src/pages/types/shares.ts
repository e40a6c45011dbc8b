/** Figures of a type of task that the server leaves to be worked out. */
import type { Counts, ErrorGroup, TaskType } from "../../api";

/** Attempts that ended, however they did. */
export function endedOf(counts: Counts): number {
  const { succeeded, retried, failed, rejected, revoked, expired, crashed } = counts;
  return succeeded + retried + failed + rejected + revoked + expired + crashed;
}

/** The share of tasks that ended badly of those that ended for good, 0 to 1; null where none did. */
export function failureShare(counts: Counts): number | null {
  const bad = counts.failed + counts.rejected + counts.expired;
  const all = bad + counts.succeeded;
  return all ? bad / all : null;
}

/** The error that came most often; null where there was none. */
export function worstOf(type: Pick<TaskType, "errors">): ErrorGroup | null {
  return type.errors.reduce<ErrorGroup | null>(
    (worst, each) => (worst && worst.count >= each.count ? worst : each),
    null,
  );
}
