"""What ``taskbus top`` shows as cells, for the screen and for the plain table."""

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from rich.text import Text

from taskbus.cli.phrase import count, safe, size, span
from taskbus.cli.top_figures import Picture, QueueFigures, RunningFigures, TaskFigures, WorkerFigures

VIEWS = ("task", "queue", "worker")
BAR = 12
RATES = ("now/s", "1m/s", "5m/s")
COLUMNS = {
    "task": ("task", *RATES, "running", "failed", "retried", "wait p50", "p95", "run p50", "p95 "),
    "queue": ("queue", "ready", "delayed", "held", "oldest", *RATES, "workers", "dead", "state"),
    "worker": ("worker", "kind", "busy", "slots", "held", "memory", "cpu", "now/s", "up for", "queues"),
    "running": ("id", "task", "for", "progress", "attempt", "queue", "worker"),
}
"""By view; ``running`` is shown below each of them."""
LEFT = frozenset({"task", "queue", "worker", "kind", "state", "queues", "id", "progress"})
"""Columns of words; the others hold numbers, and are set to the right."""
Cell = str | Text


class Row(NamedTuple):
    """A line: ``key`` is the name or id that it is about."""

    key: str
    cells: Sequence[Cell]


def rows(picture: Picture, view: str, pattern: str = "") -> list[Row]:
    """The lines of a view whose name has ``pattern`` in it, or fits it where it has wildcards."""
    made: dict[str, tuple[Sequence[Any], Callable[[Any], Row]]] = {
        "task": (picture.tasks, _task),
        "queue": (picture.queues, _queue),
        "worker": (picture.workers, _worker),
        "running": (picture.running, _running),
    }
    figures, make = made[view]
    return [make(each) for each in figures if _is_meant(each, pattern)]


def _is_meant(figures: Any, pattern: str) -> bool:
    names = [figures.id, figures.task, figures.worker] if isinstance(figures, RunningFigures) else [figures[0]]
    pattern = pattern.lower()
    whole = pattern if set(pattern) & set("*?[") else f"*{pattern}*"
    return any(fnmatchcase(str(name).lower(), whole) for name in names)


def summary(picture: Picture) -> Text:
    """All of it in a line or two."""
    every = picture.all
    alive = [each for each in picture.workers if each.is_alive and each.kind == "worker"]
    slots = sum(each.slots for each in alive)
    waiting = sum(each.ready for each in picture.queues)
    text = Text()
    parts = [
        (f"{rate(every.now)}/s", "bold green", f" ({rate(every.m1)} in 1 m, {rate(every.m5)} in 5 m)"),
        (f"{every.running:,} of {slots:,}", "bold cyan", " slots busy"),
        (f"{waiting:,}", "bold", " waiting"),
        (count(len(alive), "worker"), "bold" if alive else "bold red", ""),
        (f"{every.failed:,}", "bold red" if every.failed else "bold", " failed in 5 m"),
    ]
    for number, (figure, style, after) in enumerate(parts):
        text.append("   " if number else "").append(figure, style).append(after)
    text.append("\nwaited ", "dim").append(f"{duration(every.wait_p50)} p50, {duration(every.wait_p95)} p95")
    text.append("   ran ", "dim").append(f"{duration(every.run_p50)} p50, {duration(every.run_p95)} p95")
    if picture.error:
        text.append(f"\n{safe(picture.error)}", "bold red")
    elif not alive:
        text.append("\nNo worker reports: start one with taskbus worker -A module:app", "yellow")
    return text


def _task(each: TaskFigures) -> Row:
    return Row(
        each.task,
        [
            safe(each.task),
            *map(rate, (each.now, each.m1, each.m5)),
            number(each.running),
            _marked(each.failed, "bold red"),
            _marked(each.retried, "yellow"),
            *map(duration, (each.wait_p50, each.wait_p95, each.run_p50, each.run_p95)),
        ],
    )


def _queue(each: QueueFigures) -> Row:
    is_stuck = each.ready and not each.workers and not each.is_paused
    state = Text("paused", "yellow") if each.is_paused else Text("no worker", "bold red") if is_stuck else Text("")
    return Row(
        each.queue,
        [
            safe(each.queue),
            *map(number, (each.ready, each.delayed, each.held)),
            duration(each.age),
            *map(rate, (each.now, each.m1, each.m5)),
            number(each.workers),
            _marked(each.dead, "bold red"),
            state,
        ],
    )


def _worker(each: WorkerFigures) -> Row:
    is_worker = each.kind == "worker"
    kind = Text("silent", "bold red") if not each.is_alive else Text("stopping", "yellow") if each.is_stopping else None
    return Row(
        each.name,
        [
            safe(each.name),
            kind or safe(each.kind),
            bar(each.active, each.slots) if is_worker else "",
            number(each.slots) if is_worker else "",
            number(each.held) if is_worker else "",
            size(each.rss) if each.rss else "",
            f"{each.cpu:.0%}",
            rate(each.now) if is_worker else "",
            span(each.up_for) if each.up_for else "",
            safe(", ".join(each.queues)),
        ],
    )


def _running(each: RunningFigures) -> Row:
    note = f" {safe(each.note)}" if each.note else ""
    if each.done is None:
        progress: Cell = ""
    elif each.total:
        progress = Text(meter(each.done / each.total), "cyan").append(
            f" {each.done / each.total:4.0%}{note}", "default"
        )
    else:
        progress = f"{each.done:g}{note}"
    return Row(
        each.id,
        [
            safe(each.id),
            safe(each.task),
            clock(each.ran_for),
            progress,
            str(each.attempt),
            safe(each.queue),
            safe(each.worker),
        ],
    )


# --- cells -----------------------------------------------------------------------------------------------------------


def rate(value: float) -> str:
    """How many a second, with about three digits; a dot where there are none."""
    if value < 0.005:
        return "·"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def number(value: int) -> str:
    """How many; a dot where there are none, so that those that count stand out."""
    return f"{value:,}" if value else "·"


def duration(seconds: float | None) -> str:
    """A duration in one unit; a dash where there is none."""
    if seconds is None:
        return "-"
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    return f"{seconds:.3g} s" if seconds < 100 else span(seconds)


def clock(seconds: float) -> str:
    """A duration that goes on, in whole seconds."""
    return span(float(int(seconds))) if seconds >= 1 else f"{seconds:.1f} s"


def meter(share: float) -> str:
    """A bar of ``BAR`` characters."""
    full = round(BAR * min(1.0, max(0.0, share)))
    return "━" * full + "─" * (BAR - full)


def bar(active: int, slots: int) -> Text:
    """How many slots are busy, as a bar and as a number."""
    share = active / slots if slots else 0.0
    text = Text(meter(share), "red" if share >= 1 else "yellow" if share > 0.8 else "green")
    return text.append(f" {active:>3,}", "default")


def _marked(value: int, style: str) -> Cell:
    return Text(number(value), style if value else "")
