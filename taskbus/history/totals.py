"""Charts and counts: what is made of the sums of minutes, hours and days."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from taskbus.errors import ConfigError
from taskbus.history.naming import QUEUE, TASK
from taskbus.history.shapes import RANGES, Counts, ErrorGroup, Failing, Quantiles, Series, TaskType
from taskbus.history.tally import Tally
from taskbus.history.words import Words
from taskbus.monitor.histogram import Histogram
from taskbus.monitor.report import COUNTED

SHARES = (0.5, 0.95, 0.99)
MOST_ERRORS = 5
"""Classes of errors that a task type names."""
MOST_SPARKS = 30
_WIDTH = len(COUNTED)
Read = Callable[[str, Any], list[Any]]
"""Runs one of the named statements."""


class Window(NamedTuple):
    """From ``first`` to before ``last``: what of a range is read, in sums of ``span`` seconds, for ``seconds``."""

    span: int
    first: int
    last: int
    seconds: float


SPANS_OF_ALL = {"15m": 60, "1h": 60, "6h": 60, "24h": 60, "3d": 3600, "30d": 3600}
SPANS_OF_TASKS = {"15m": 60, "1h": 60, "6h": 3600, "24h": 3600, "3d": 3600, "30d": 86_400}
STEPS = {"15m": 60, "1h": 60, "6h": 60, "24h": 300, "3d": 3600, "30d": 3600}
"""Seconds, by range: what sums of all tasks are read in, those of single tasks, and what a chart of all shows."""


def window(range: str, now: float, *, is_all: bool) -> Window:
    """What to read for a range up to ``now``: it begins where a sum does, and may be up to one longer."""
    if range not in RANGES:
        raise ConfigError(f"no range {range!r}; there are {', '.join(RANGES)}")
    span = (SPANS_OF_ALL if is_all else SPANS_OF_TASKS)[range]
    first = int((now - RANGES[range]) // span + 1) * span
    if not is_all:  # many rows in few steps: the range is whole, and its first step as well
        first = int((now - RANGES[range]) // span) * span
    return Window(span, first, int(now // span + 1) * span, max(1.0, now - first))


def quantiles_of(histogram: Histogram) -> Quantiles:
    """The usual ones."""
    p50, p95, p99 = histogram.quantiles(SHARES)
    return Quantiles(p50, p95, p99, histogram.total)


class Steps:
    """Sums by the step of a chart."""

    def __init__(self, found: Window, step: int) -> None:
        self.step = step
        self.first = found.first // step * step
        self.now = found.first + found.seconds
        self._sums: dict[int, Tally] = {}
        self._count = -(-(found.last - self.first) // step)

    def add(self, since: int, counts: Sequence[int], detail: bytes) -> None:
        """Count one row."""
        tally = self._sums.setdefault((since - self.first) // self.step, Tally())
        tally.counts = [mine + its for mine, its in zip(tally.counts, counts, strict=True)]
        tally.merge_detail(detail)

    def series(self) -> Series:
        """The chart of it."""
        nothing = Tally()
        tallies = [self._sums.get(place, nothing) for place in range(self._count)]
        instants = [float(self.first + place * self.step) for place in range(self._count)]
        counts = [Counts(*tally.counts) for tally in tallies]
        lengths = [min(float(self.step), max(1.0, self.now - at)) for at in instants]

        def rates(read: Callable[[Counts], int]) -> list[float]:
            return [read(each) / length for each, length in zip(counts, lengths, strict=True)]

        waits = [tally.wait_histogram().quantiles(SHARES) for tally in tallies]
        runs = [tally.run_histogram().quantiles(SHARES) for tally in tallies]
        return Series(
            float(self.step),
            instants,
            rates(lambda each: each.received),
            rates(lambda each: each.succeeded),
            rates(lost),
            rates(lambda each: each.retried),
            *([each[share] for each in measured] for measured in (waits, runs) for share in range(len(SHARES))),
        )


def lost(counts: Counts) -> int:
    """How many failed for good, for whatever reason."""
    return counts.failed + counts.rejected + counts.expired


def ended(counts: Counts) -> int:
    """How many tasks are over."""
    return counts.succeeded + counts.revoked + lost(counts)


class Totals:
    """What is asked of the sums, with ``read``."""

    def __init__(self, words: Words, read: Read, now: float) -> None:
        self._words = words
        self._read = read
        self._now = now

    def series(self, range: str, task: str | None, queue: str | None) -> Series:
        """See ``History.series``."""
        found = window(range, self._now, is_all=task is None and queue is None)
        steps = Steps(found, STEPS[range] if task is None and queue is None else found.span)
        for since, counts, detail in self._rows(found, task, queue):
            steps.add(since, counts, detail)
        return steps.series()

    def tally(self, range: str, task: str | None, queue: str | None) -> Tally:
        """All that was counted in a range."""
        sum = Tally()
        found = window(range, self._now, is_all=task is None and queue is None)
        for _, counts, detail in self._rows(found, task, queue):
            sum.counts = [mine + its for mine, its in zip(sum.counts, counts, strict=True)]
            sum.merge_detail(detail)
        return sum

    def _rows(self, found: Window, task: str | None, queue: str | None) -> Iterable[tuple[int, list[int], bytes]]:
        given: dict[str, Any] = {"span": found.span, "first": found.first, "last": found.last}
        statement = "series_of_all"
        for kind, name in ((TASK, task), (QUEUE, queue)):
            if name is not None:
                number = self._number(kind, name)
                if number is None:
                    return
                statement, given[kind] = f"series_of_{kind}", number
        if task is not None and queue is not None:
            statement = "series_of_both"
        for since, *counts, detail in self._read(statement, given):
            yield since, counts, detail

    def _number(self, kind: str, name: str) -> int | None:
        found = self._read("names", {"kind": kind, "names": self._words.list([name])})
        return found[0][0] if found else None

    def _names(self, numbers: Iterable[int]) -> dict[int, str]:
        wanted = sorted(set(numbers))
        return dict(self._read("names_of", {"numbers": self._words.list(wanted)})) if wanted else {}

    # --- tasks ---------------------------------------------------------------------------------------------------

    def failing(self, range: str, limit: int) -> list[Failing]:
        """See ``History.failing``."""
        found = window(range, self._now, is_all=False)
        given = {"span": found.span, "first": found.first, "last": found.last, "limit": limit}
        rows = self._read("failing", given)
        newest = self._examples([task for task, _, _ in rows])
        names = self._names(task for task, _, _ in rows)
        return [
            Failing(names.get(task, ""), int(failed), int(total), *_last(newest.get(task, {})))
            for task, failed, total in rows
        ]

    def types(self, range: str, task: str | None) -> list[TaskType]:
        """See ``History.types``."""
        found = window(range, self._now, is_all=False)
        given = {"span": found.span, "first": found.first, "last": found.last}
        if task is not None:
            number = self._number(TASK, task)
            if number is None:
                return []
            given["task"] = number
        kinds: dict[int, _Kind] = {}
        for since, number, queue, *counts, detail in self._read("types" if task is None else "types_of_one", given):
            kind = kinds.get(number)
            if kind is None:
                kind = kinds[number] = _Kind(found)
            kind.add(since, queue, counts, detail)
        names = self._names([*kinds, *(queue for kind in kinds.values() for queue in kind.queues)])
        failed = [number for number, kind in kinds.items() if kind.sum.errors]
        examples = self._examples(failed)
        made = [kind.shown(names.get(number, ""), names, examples.get(number, {})) for number, kind in kinds.items()]
        return sorted(made, key=lambda each: each.task)

    def _examples(self, tasks: Sequence[int]) -> dict[int, dict[str, tuple[float, str, str]]]:
        """By task and error: when it was seen last, an example's id, and its message."""
        if not tasks:
            return {}
        rows = self._read("errors_of_tasks", {"numbers": self._words.list(list(tasks))})
        names = self._names(error for _, error, *_ in rows)
        found: dict[int, dict[str, tuple[float, str, str]]] = {}
        for task, error, last_at, task_id, message in rows:
            found.setdefault(task, {})[names.get(error, "")] = (last_at, task_id, message)
        return found


class _Kind:
    """What is summed up of one task."""

    def __init__(self, found: Window) -> None:
        self.sum = Tally()
        self.queues: set[int] = set()
        self._found = found
        steps = (found.last - found.first) // found.span
        self._each = -(-steps // MOST_SPARKS)
        self._sparks = [0] * -(-steps // self._each)

    def add(self, since: int, queue: int, counts: Sequence[int], detail: bytes) -> None:
        self.queues.add(queue)
        self.sum.counts = [mine + its for mine, its in zip(self.sum.counts, counts, strict=True)]
        self.sum.merge_detail(detail)
        place = (since - self._found.first) // self._found.span // self._each
        self._sparks[place] += ended(Counts(*counts))

    def shown(self, task: str, names: Mapping[int, str], examples: Mapping[str, tuple[float, str, str]]) -> TaskType:
        counts, length = Counts(*self.sum.counts), float(self._each * self._found.span)
        errors = sorted(((n, name) for name, n in self.sum.errors.items() if n > 0), reverse=True)[:MOST_ERRORS]
        return TaskType(
            task,
            sorted(names.get(queue, "") for queue in self.queues),
            counts,
            ended(counts) / self._found.seconds,
            quantiles_of(self.sum.wait_histogram()),
            quantiles_of(self.sum.run_histogram()),
            [_group(name, count, examples.get(name)) for count, name in errors],
            [count / length for count in self._sparks],
        )


def _group(name: str, count: int, example: tuple[float, str, str] | None) -> ErrorGroup:
    last_at, task_id, message = example or (0.0, "", "")
    return ErrorGroup(name, count, message, last_at, task_id)


def _last(errors: Mapping[str, tuple[float, str, str]]) -> tuple[str, float]:
    """The newest error of a task, and when it was."""
    if not errors:
        return "", 0.0
    error = max(errors, key=lambda name: errors[name][0])
    return error, errors[error][0]
