"""What was counted, as sums that can be taken back: what a node says of a minute replaces what it said before.

Everything is exact but for the sums of seconds, which are floats.
"""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from operator import add
from typing import Any

import msgpack

from taskbus.history.fitting import fitted_count, fitted_name
from taskbus.monitor.histogram import BOUNDS, Histogram
from taskbus.monitor.report import COUNTED, Total, unpack_totals

MAX_ERRORS = 100
"""Classes of errors that are told apart in one row; the least frequent are counted under "".

Of ``deaths`` it is those that came last: so none of their counts ever moves to another name.
"""
Key = tuple[str, str]
"""Task and queue."""
_UNKNOWN = len(BOUNDS)


class Tally:
    """Counts by the names of ``COUNTED``, histograms by bucket, errors and deaths by class; any may be negative."""

    __slots__ = ("counts", "deaths", "errors", "run_sum", "runs", "wait_sum", "waits")

    def __init__(self) -> None:
        self.counts = [0] * len(COUNTED)
        self.waits: dict[int, int] = {}
        self.runs: dict[int, int] = {}
        self.errors: dict[str, int] = {}
        self.deaths: dict[str, int] = {}
        self.wait_sum = self.run_sum = 0.0

    def add(self, total: Total, sign: int = 1) -> None:
        """Count all of it, or take it back (``sign`` -1)."""
        for place, name in enumerate(COUNTED):
            self.counts[place] += sign * total.counts.get(name, 0)
        _add(self.waits, total.waits.counts, sign)
        _add(self.runs, total.runs.counts, sign)
        _add(self.errors, total.errors, sign)
        _add(self.deaths, total.deaths, sign)
        self.wait_sum += sign * total.waits.sum
        self.run_sum += sign * total.runs.sum

    def merge(self, other: "Tally") -> None:
        """Add all of another one."""
        self.count(other.counts)
        _add(self.waits, other.waits)
        _add(self.runs, other.runs)
        _add(self.errors, other.errors)
        _add(self.deaths, other.deaths)
        self.wait_sum += other.wait_sum
        self.run_sum += other.run_sum

    def count(self, counts: Sequence[int]) -> None:
        """Add counts in the order of ``COUNTED``."""
        self.counts = list(map(add, self.counts, counts))

    def merge_detail(self, detail: bytes) -> None:
        """Add all that another one ``detail`` is of has but its counts."""
        waits, wait_sum, runs, run_sum, errors, deaths = msgpack.unpackb(detail, strict_map_key=False)
        _add(self.waits, waits)
        _add(self.runs, runs)
        if errors:
            _add(self.errors, errors)
        if deaths:
            _add(deaths, self.deaths)
            self.deaths = deaths  # the kept ones stay in front
        self.wait_sum += wait_sum
        self.run_sum += run_sum

    @property
    def is_nothing(self) -> bool:
        counted = (self.waits, self.runs, self.errors, self.deaths)
        return not (any(self.counts) or any(any(each.values()) for each in counted))

    def detail(self) -> bytes:
        """All but the counts, as bytes."""
        errors = _most({name: count for name, count in self.errors.items() if count})
        waits, runs = ({at: n for at, n in each.items() if n} for each in (self.waits, self.runs))
        deaths = _first({name: count for name, count in self.deaths.items() if count})
        packed: bytes = msgpack.packb([waits, max(0.0, self.wait_sum), runs, max(0.0, self.run_sum), errors, deaths])
        return packed

    def wait_histogram(self) -> Histogram:
        return Histogram({at: n for at, n in self.waits.items() if n > 0}, self.wait_sum)

    def run_histogram(self) -> Histogram:
        return Histogram({at: n for at, n in self.runs.items() if n > 0}, self.run_sum)


def _add(to: dict[Any, int], what: Mapping[Any, int], sign: int = 1) -> None:
    for each, count in what.items():
        if each in to:
            to[each] += sign * count
        else:
            to[each] = sign * count


def _most(errors: dict[str, int]) -> dict[str, int]:
    if len(errors) <= MAX_ERRORS:
        return errors
    by_count = sorted(errors, key=lambda name: (name == "", -errors[name]))
    kept = {name: errors[name] for name in by_count[: MAX_ERRORS - 1]}
    kept[""] = sum(errors[name] for name in by_count[MAX_ERRORS - 1 :])
    return kept


def _first(deaths: dict[str, int]) -> dict[str, int]:
    if len(deaths) <= MAX_ERRORS:
        return deaths
    named = [name for name in deaths if name]
    kept = {name: deaths[name] for name in named[: MAX_ERRORS - 1]}
    kept[""] = deaths.get("", 0) + sum(deaths[name] for name in named[MAX_ERRORS - 1 :])
    return kept


def difference(new: Iterable[Total], old: Iterable[Total]) -> dict[Key, Tally]:
    """What must be added where ``old`` was counted, so that ``new`` is."""
    changes: dict[Key, Tally] = {}
    for totals, sign in ((new, 1), (old, -1)):
        for total in totals:
            tally = changes.get((total.task, total.queue))
            if tally is None:
                tally = changes[total.task, total.queue] = Tally()
            tally.add(total, sign)
    return changes


def read_totals(packed: bytes) -> list[Total]:
    """The totals in what a node said, in the measure of the tables.

    Raises:
        ValueError: they cannot be read.
    """
    try:
        return [_fitted(total) for total in unpack_totals(packed)]
    except Exception as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _fitted(total: Total) -> Total:
    return Total(
        fitted_name(total.task),
        fitted_name(total.queue),
        {name: fitted_count(total.counts[name]) for name in COUNTED if name in total.counts},
        _histogram(total.waits),
        _histogram(total.runs),
        _errors(total.errors),
        _errors(total.deaths),
    )


def _histogram(given: Histogram) -> Histogram:
    counts: dict[int, int] = {}
    for bucket, count in given.counts.items():
        place = min(max(0, int(bucket)), _UNKNOWN)
        counts[place] = counts.get(place, 0) + fitted_count(count)
    return Histogram(counts, min(max(0.0, float(given.sum)), 1e15))


def _errors(given: Mapping[str, int]) -> dict[str, int]:
    errors: dict[str, int] = {}
    for name, count in given.items():
        name = fitted_name(name)
        errors[name] = errors.get(name, 0) + fitted_count(count)
    return errors


def squeezed(packed: bytes) -> bytes:
    """Bytes for a table, smaller where that is quick."""
    return zlib.compress(packed, 1)


def expanded(packed: bytes) -> bytes:
    """What was ``squeezed``."""
    return zlib.decompress(packed)


def counted(rows: Sequence[int]) -> dict[str, int]:
    """Numbers in the order of ``COUNTED``, by name."""
    return dict(zip(COUNTED, rows, strict=True))
