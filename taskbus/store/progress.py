"""How far a task has come, kept beside its result, under a key of its own: written by workers, read by callers."""

from taskbus import codec
from taskbus.context import Progress
from taskbus.errors import DecodeError
from taskbus.outcome import State
from taskbus.store.base import ResultStore, SaveResult, StoredResult

PROGRESS = "#progress"
"""What is added to a task's id to make the key of its progress."""


def saved(task_id: str, progress: Progress, ttl: float) -> SaveResult:
    """The change that keeps it, in the place of what was kept before."""
    value = codec.encode(list(progress))
    kept = StoredResult(f"{task_id}{PROGRESS}", "", State.STARTED, value, finished_at=progress.at)
    return SaveResult(kept, ttl)


def progress_of(store: ResultStore, task_id: str) -> Progress | None:
    """What was kept last, None if nothing was. Raises ``StoreError``."""
    key = f"{task_id}{PROGRESS}"
    kept = store.results((key,)).get(key)
    if kept is None or kept.value is None:
        return None
    try:
        done, total, note, at, *_ = codec.decode(kept.value, kept.content_type)
    except (DecodeError, TypeError, ValueError):  # a later version may have written it
        return None
    return Progress(done, total, note, at)
