"""To watch one task to its end: each change of its state, and how far it says it has come."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from taskbus.app import TaskBus
from taskbus.cli.opening import opened_reports
from taskbus.cli.options import Format
from taskbus.cli.output import emit_one
from taskbus.cli.phrase import safe
from taskbus.cli.tables import console, say
from taskbus.context import Progress
from taskbus.errors import TaskBusError
from taskbus.outcome import State
from taskbus.steering.tracing import running_tasks
from taskbus.store.reports import ReportStore
from taskbus.store.results import AsyncResult

POLL = 0.25
"""Seconds between two looks at its progress; its end is known at once."""
LOOK = 1.0
"""Seconds between two looks at what workers say they run."""


@dataclass(frozen=True, slots=True)
class Stand:
    """How a task stands. ``worker``: where it runs, as far as workers have said so; ``error``: of its last attempt."""

    state: str
    attempt: int = 0
    worker: str = ""
    error: str = ""
    progress: Progress | None = None


def follow(app: TaskBus, result: AsyncResult[Any], output: Format, timeout: float | None) -> None:
    """Show what becomes of it, until it has ended or ``timeout`` seconds have passed: a line a change.

    JSON lines go to stdout, all else to stderr; with another form of output that a program reads, nothing is shown.
    Raises ``ResultError`` for a task that keeps no results.
    """
    with _reports(app) as reports, _shown(output) as show:
        last: Stand | None = None
        for stand in _stands(app, result, reports, timeout):
            if stand != last:
                show(result.id, stand, last)
            last = stand


def _stands(
    app: TaskBus, result: AsyncResult[Any], reports: ReportStore | None, timeout: float | None
) -> Iterator[Stand]:
    deadline = None if timeout is None else time.monotonic() + timeout
    looked_at, running = -LOOK, Stand("")
    while True:
        now = time.monotonic()
        if reports is not None and now - looked_at >= LOOK:
            reports.watch(app.clock() + 10)
            looked_at, running = now, _running(app, reports, result.id)
        yield _stand(result, running)
        left = POLL if deadline is None else min(POLL, deadline - time.monotonic())
        if left <= 0 or result.final is not None:
            return
        result.wait(left)


def _stand(result: AsyncResult[Any], running: Stand) -> Stand:
    """As it is on record; what workers say they run counts until then."""
    stored = result.recorded()
    state = State.PENDING if stored is None else stored.state
    attempt = 0 if stored is None else stored.attempt
    failure = None if stored is None else stored.failure
    error = f"{failure.type}: {failure.message}" if failure is not None else ""
    stand = Stand(str(state), attempt, "", error)
    if state.is_final:
        return stand
    progress = result.progress()
    if running.state and running.attempt > (attempt if error else 0):
        stand = running
    elif stored is None and progress is not None:  # heard of before its worker has reported it
        stand = Stand(str(State.STARTED))
    return replace(stand, progress=progress)


def _running(app: TaskBus, reports: ReportStore, task_id: str) -> Stand:
    for each in running_tasks(reports, app.clock()):
        if each.running.id == task_id:
            return Stand(str(State.STARTED), each.running.attempt, each.seen.name)
    return Stand("")


@contextmanager
def _reports(app: TaskBus) -> Iterator[ReportStore | None]:
    """What workers report; None where it cannot be had, as the result tells the most."""
    try:
        opened = opened_reports(app)
        reports = opened.__enter__()
    except TaskBusError:
        yield None
        return
    try:
        yield reports
    finally:
        opened.__exit__(None, None, None)


Show = Callable[[str, Stand, Stand | None], None]


@contextmanager
def _shown(output: Format) -> Iterator[Show]:
    if output is Format.JSONL:
        yield _emit
    elif output is not Format.TABLE:
        yield lambda task_id, stand, last: None
    elif console(err=True).is_terminal:
        with _bar() as show:
            yield show
    else:
        yield lambda task_id, stand, last: say(" ".join(filter(None, (words(stand), amount(stand.progress)))))


def _emit(task_id: str, stand: Stand, last: Stand | None) -> None:
    item = {**asdict(stand), "progress": stand.progress._asdict() if stand.progress is not None else None}
    emit_one(Format.JSONL, "change", {"task_id": task_id, "at": time.time(), **item}, lambda: None)


@contextmanager
def _bar() -> Iterator[Show]:
    """A bar for its progress, below a line for each state."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Bar(*columns, console=console(err=True), transient=True) as bar:
        row = bar.add_task("", total=None, note="")

        def show(task_id: str, stand: Stand, last: Stand | None) -> None:
            if last is None or replace(stand, progress=None) != replace(last, progress=None):
                bar.console.print(safe(words(stand)))
            progress = stand.progress
            total = progress.total or None if progress is not None else None
            done = progress.done if progress is not None else 0
            note = safe(progress.note) if progress is not None else ""
            bar.update(row, description=stand.state, total=total, completed=done, note=note)

        yield show


def words(stand: Stand) -> str:
    """How it stands, in words: the state, which attempt, where, and what went wrong."""
    attempt = f"attempt {stand.attempt}" if stand.attempt else ""
    where = f"on {stand.worker}" if stand.worker else ""
    return " ".join(filter(None, (stand.state, attempt, where, f"({stand.error})" if stand.error else "")))


def amount(progress: Progress | None) -> str:
    """How far it is, in words; empty where it has not said."""
    if progress is None:
        return ""
    share = f"{progress.done / progress.total:.0%}" if progress.total else f"{progress.done:g}"
    return " ".join(filter(None, (share, progress.note)))
