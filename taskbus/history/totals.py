"""Charts and counts: what is made of the sums of minutes, hours and days."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from taskbus.errors import ConfigError
from taskbus.history.naming import QUEUE, TASK
from taskbus.history.retention import SPANS
from taskbus.history.shapes import RANGES, Counts, ErrorGroup, Failing, Quantiles, Series, TaskType
from taskbus.history.tally import Tally, counted
from taskbus.history.words import Words
from taskbus.monitor.histogram import Histogram
from taskbus.monitor.report import Total

SHARES = (0.5, 0.95, 0.99)
MOST_ERRORS = 5
"""Classes of errors that a task type names."""
KEPT_MINUTES = RANGES["3d"]
Read = Callable[[str, Any], list[Any]]
"""Runs one of the named statements."""


class Piece(NamedTuple):
    """A part of a range, read in sums of ``span`` seconds that begin from ``first`` to before ``last``."""

    span: int
    first: int
    last: int


STEPS_OF_ALL = {"15m": 60, "1h": 60, "6h": 60, "24h": 600, "3d": 3600, "30d": 21_600}
STEPS = {"15m": 60, "1h": 60, "6h": 600, "24h": 600, "3d": 3600, "30d": 21_600}
"""Seconds of a chart's steps, by range: of all tasks together, and of one or of a queue."""
SPARKS = {"15m": 60, "1h": 600, "6h": 600, "24h": 3600, "3d": 21_600, "30d": 86_400}


def beginning(range: str, now: float, step: int) -> int:
    """Where a range up to ``now`` begins, in steps that may not be cut: at most one later than it could."""
    if range not in RANGES:
        raise ConfigError(f"no range {range!r}; there are {', '.join(RANGES)}")
    return int((now - RANGES[range]) // step + 1) * step


def pieces(range: str, now: float) -> list[Piece]:
    """What a range is made of, in as few rows as can be. Its first minute (of more than 3d: hour) is a whole one."""
    spans = SPANS if range not in RANGES or RANGES[range] <= KEPT_MINUTES else [span for span in SPANS if span >= 3600]
    at, end = beginning(range, now, spans[0]), int(now) + 1
    found: list[Piece] = []
    for span, larger in zip(spans, (*spans[1:], 0), strict=True):
        up_to = -(-at // larger) * larger if larger else end
        if up_to >= end:  # the last one is of the present, and ends whenever
            return [*found, Piece(span, at, end)]
        if up_to > at:
            found.append(Piece(span, at, up_to))
        at = up_to
    return found


def quantiles_of(histogram: Histogram) -> Quantiles:
    """The usual ones."""
    p50, p95, p99 = histogram.quantiles(SHARES)
    return Quantiles(p50, p95, p99, histogram.total)


class Steps:
    """Sums by the step of a chart."""

    def __init__(self, first: int, step: int, now: float) -> None:
        self.step = step
        self.first = first
        self.now = now
        self._sums: dict[int, Tally] = {}
        self._count = -(-(int(now) + 1 - first) // step)

    def add(self, since: int, counts: Sequence[int], detail: bytes) -> None:
        """Count one row."""
        place = (since - self.first) // self.step
        tally = self._sums.get(place)
        if tally is None:
            tally = self._sums[place] = Tally()
        tally.count(counts)
        tally.merge_detail(detail)

    def series(self) -> Series:
        """The chart of it."""
        nothing = Tally()
        tallies = [self._sums.get(place, nothing) for place in range(self._count)]
        instants = [float(self.first + place * self.step) for place in range(self._count)]
        counts = [Counts.of(tally.counts) for tally in tallies]
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
        step = (STEPS_OF_ALL if task is None and queue is None else STEPS).get(range, 60)
        steps = Steps(beginning(range, self._now, step), step, self._now)
        whole = Piece(step, steps.first, int(self._now) + 1)
        for since, counts, detail in self._rows([whole], task, queue):
            steps.add(since, counts, detail)
        return steps.series()

    def tally(self, range: str, task: str | None, queue: str | None) -> Tally:
        """All that was counted in a range."""
        sum = Tally()
        for _, counts, detail in self._rows(pieces(range, self._now), task, queue):
            sum.count(counts)
            sum.merge_detail(detail)
        return sum

    def ever(self) -> list[Total]:
        """See ``History.totals``."""
        rows = self._read("totals_of_all_time", {})
        names = self._names(number for task, queue, *_ in rows for number in (task, queue))
        made = []
        for task, queue, *counts, detail in rows:
            sum = Tally()
            sum.count(counts)
            sum.merge_detail(detail)
            seen = {name: count for name, count in counted(sum.counts).items() if count}
            waits, runs = sum.wait_histogram(), sum.run_histogram()
            made.append(Total(names.get(task, ""), names.get(queue, ""), seen, waits, runs, sum.errors, sum.deaths))
        return sorted(made, key=lambda total: (total.task, total.queue))

    def _rows(
        self, parts: Sequence[Piece], task: str | None, queue: str | None
    ) -> Iterable[tuple[int, list[int], bytes]]:
        given: dict[str, Any] = {}
        statement = "series_of_all"
        for kind, name in ((TASK, task), (QUEUE, queue)):
            if name is not None:
                number = self._number(kind, name)
                if number is None:
                    return
                statement, given[kind] = f"series_of_{kind}", number
        if task is not None and queue is not None:
            statement = "series_of_both"
        for part in parts:
            for since, *counts, detail in self._read(statement, {**given, **part._asdict()}):
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
        sums: dict[int, list[int]] = {}
        for part in pieces(range, self._now):
            for task, bad, total in self._read("failing", part._asdict()):
                counted = sums.setdefault(task, [0, 0])
                counted[0] += int(bad)
                counted[1] += int(total)
        worst = sorted(((bad, task) for task, (bad, _) in sums.items() if bad > 0), reverse=True)[:limit]
        newest = self._examples([task for _, task in worst])
        names = self._names(task for _, task in worst)
        return [Failing(names.get(task, ""), bad, sums[task][1], *_last(newest.get(task, {}))) for bad, task in worst]

    def types(self, range: str, task: str | None) -> list[TaskType]:
        """See ``History.types``."""
        parts = pieces(range, self._now)
        given: dict[str, Any] = {"task": 0}
        if task is not None:
            given["task"] = self._number(TASK, task)
            if given["task"] is None:
                return []
        kinds: dict[int, _Kind] = {}
        for part in parts:
            for _, number, queue, *counts, detail in self._read(
                "types" if task is None else "types_of_one", {**given, **part._asdict()}
            ):
                kind = kinds.get(number)
                if kind is None:
                    kind = kinds[number] = _Kind()
                kind.add(queue, counts, detail)
        sparks = self._sparks(range, given["task"])
        names = self._names([*kinds, *(queue for kind in kinds.values() for queue in kind.queues)])
        examples = self._examples([number for number, kind in kinds.items() if kind.sum.errors])
        seconds, nothing = max(1.0, self._now - parts[0].first), self._no_sparks(range)
        made = [
            kind.shown(names.get(number, ""), names, examples.get(number, {}), sparks.get(number, nothing), seconds)
            for number, kind in kinds.items()
        ]
        return sorted(made, key=lambda each: each.task)

    def _sparks(self, range: str, task: int) -> dict[int, list[float]]:
        """By task: how many ended a second, step by step."""
        step = SPARKS[range]
        first = beginning(range, self._now, step)
        given = {"span": step, "first": first, "last": int(self._now) + 1, "task": task}
        sparks: dict[int, list[float]] = {}
        for since, number, count in self._read("sparks_of_one" if task else "sparks", given):
            spark = sparks.get(number)
            if spark is None:
                spark = sparks[number] = self._no_sparks(range)
            length = min(float(step), max(1.0, self._now - since))
            spark[(since - first) // step] = int(count) / length
        return sparks

    def _no_sparks(self, range: str) -> list[float]:
        first = beginning(range, self._now, SPARKS[range])
        return [0.0] * -(-(int(self._now) + 1 - first) // SPARKS[range])

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

    def __init__(self) -> None:
        self.sum = Tally()
        self.queues: set[int] = set()

    def add(self, queue: int, counts: Sequence[int], detail: bytes) -> None:
        self.queues.add(queue)
        self.sum.count(counts)
        self.sum.merge_detail(detail)

    def shown(
        self,
        task: str,
        names: Mapping[int, str],
        examples: Mapping[str, tuple[float, str, str]],
        spark: Sequence[float],
        seconds: float,
    ) -> TaskType:
        counts = Counts.of(self.sum.counts)
        errors = sorted(((n, name) for name, n in self.sum.errors.items() if n > 0), reverse=True)[:MOST_ERRORS]
        return TaskType(
            task,
            sorted(names.get(queue, "") for queue in self.queues),
            counts,
            ended(counts) / seconds,
            quantiles_of(self.sum.wait_histogram()),
            quantiles_of(self.sum.run_histogram()),
            [_group(name, count, examples.get(name)) for count, name in errors],
            spark,
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
