"""What a process has counted: by task and queue, a minute at a time, until somebody has taken it; and since its start.

One thread counts, without a lock; another one may read at any time. What it reads of the minute that is going on may
be a task behind; a minute that is over changes no more, and is told until ``posted`` says that it was taken.
"""

from bisect import bisect_left
from collections.abc import Mapping
from threading import Lock
from typing import Any

from taskbus.monitor.histogram import BOUNDS, Histogram
from taskbus.monitor.report import COUNTED, Total, pack_totals

MAX_CELLS = 2000
"""Tasks and queues that are told apart within a minute; the rest are counted as the task ""."""
MAX_ERRORS, TOLD_ERRORS = 200, 50
"""Classes of errors of one task that are told apart while counting, and in what is told."""
KEEP_MINUTES = 72 * 60
"""Minutes that are kept while nobody takes them."""
KEEP_BYTES = 64 << 20
"""Bytes they may have; the oldest go first."""

Key = tuple[str, str]
"""Task and queue."""


class Cell:
    """What was counted of one task from one queue. The names are those of ``COUNTED``; ``waits`` and ``runs`` have a
    count for each bucket of a ``Histogram``. Whoever counts writes the fields, as fast as that is.

    ``skipped``: successes of which no record was made since the last one, ``last`` being one of them.
    """

    __slots__ = (*COUNTED, "deaths", "errors", "last", "run_sum", "runs", "skipped", "wait_sum", "waits")

    received: int
    started: int
    succeeded: int
    retried: int
    failed: int
    rejected: int
    revoked: int
    expired: int
    crashed: int
    given_back: int

    def __init__(self) -> None:
        for name in COUNTED:
            setattr(self, name, 0)
        self.waits = [0] * (len(BOUNDS) + 1)
        self.runs = [0] * (len(BOUNDS) + 1)
        self.wait_sum = self.run_sum = 0.0
        self.errors: dict[str, int] = {}
        self.deaths: dict[str, int] = {}
        self.skipped = 0
        self.last: Any = None

    def lasted(self, waited: float, ran_for: float) -> None:
        """Count an attempt that has started."""
        self.started += 1
        self.waits[bisect_left(BOUNDS, waited)] += 1
        self.wait_sum += waited
        self.runs[bisect_left(BOUNDS, ran_for)] += 1
        self.run_sum += ran_for

    def erred(self, error: str) -> None:
        """Count an error by its class."""
        _count(self.errors, error, 1)

    def died(self, error: str) -> None:
        """Count an error by its class that was a task's last. Before it is counted as failed: see ``total``."""
        self.erred(error)
        _count(self.deaths, error, 1)

    def add(self, other: "Cell") -> None:
        """Add all of another one."""
        for name in COUNTED:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.waits = [mine + its for mine, its in zip(self.waits, other.waits, strict=True)]
        self.runs = [mine + its for mine, its in zip(self.runs, other.runs, strict=True)]
        self.wait_sum += other.wait_sum
        self.run_sum += other.run_sum
        for error, count in other.errors.items():
            _count(self.errors, error, count)
        for error, count in other.deaths.items():
            _count(self.deaths, error, count)

    def total(self, key: Key) -> Total:
        """The same in the words of a report. Read in this order, there are never fewer ``deaths`` than ``failed``."""
        counts = {name: count for name in COUNTED if (count := getattr(self, name))}
        waits, runs = (_histogram(each[:]) for each in (self.waits, self.runs))
        waits.sum, runs.sum = self.wait_sum, self.run_sum
        return Total(*key, counts, waits, runs, _most(dict(self.errors)), dict(self.deaths))


def _count(errors: dict[str, int], error: str, count: int) -> None:
    name = error if error in errors or len(errors) < MAX_ERRORS else ""
    errors[name] = errors.get(name, 0) + count


def _histogram(counts: list[int]) -> Histogram:
    return Histogram({bucket: count for bucket, count in enumerate(counts) if count})


def _most(errors: dict[str, int]) -> dict[str, int]:
    if len(errors) <= TOLD_ERRORS:
        return errors
    by_count = sorted(errors, key=lambda name: (name == "", -errors[name]))
    told = {name: errors[name] for name in by_count[:TOLD_ERRORS]}
    told[""] = told.get("", 0) + sum(errors[name] for name in by_count[TOLD_ERRORS:])
    return told


class Tallies:
    """See the module's docstring. ``cells`` and ``cell`` are for the thread that counts, the rest for any other."""

    def __init__(self) -> None:
        self._minute = 0
        self._cells: dict[Key, Cell] = {}
        self._over: dict[int, dict[Key, Cell]] = {}
        self._packed: dict[int, bytes] = {}
        self._before: dict[Key, Cell] = {}
        self._told = (0, b"")
        self._turning = Lock()

    # --- counting ------------------------------------------------------------------------------------------------

    def cells(self, at: float) -> dict[Key, Cell]:
        """The cells of the minute of this instant. A clock that is set back does not bring back a minute."""
        minute = int(at // 60)
        if minute > self._minute:
            self._turn(minute)
        return self._cells

    def cell(self, key: Key) -> Cell:
        """A cell of the minute that is going on."""
        cells = self._cells
        if key not in cells and len(cells) >= MAX_CELLS:
            key = ("", key[1] if len(cells) < 2 * MAX_CELLS else "")
        cell = cells.get(key)
        if cell is None:
            cell = cells[key] = Cell()
        return cell

    def _turn(self, minute: int) -> None:
        with self._turning:
            if self._cells:
                self._over[self._minute] = self._cells
                for key, cell in self._cells.items():
                    known = self._before.get(key)
                    if known is None and len(self._before) >= MAX_CELLS:
                        key = ("", "")
                    self._before.setdefault(key, Cell()).add(cell)
            self._cells, self._minute = {}, minute

    # --- telling -------------------------------------------------------------------------------------------------

    def totals(self) -> list[Total]:
        """All that was counted since the start, by task and queue."""
        with self._turning:
            before, cells = dict(self._before), dict(self._cells)
        totals = []
        for key in before.keys() | cells.keys():
            both = Cell()
            for part in (before.get(key), cells.get(key)):
                if part is not None:
                    both.add(part)
            totals.append(both.total(key))
        return totals

    def minutes(self, limit: int = 60) -> dict[int, bytes]:
        """What was not taken yet, packed as in a report, the oldest ``limit`` minutes; none that has not changed."""
        with self._turning:
            over, self._over = self._over, {}
            minute, cells = self._minute, dict(self._cells)
        for each, counted in over.items():
            self._packed[each] = _packed(counted)
        self._forget(minute)
        told = {each: self._packed[each] for each in sorted(self._packed)[:limit]}
        if cells and len(told) < limit and (minute, packed := _packed(cells)) != self._told:
            told[minute] = packed
        return told

    def posted(self, minutes: Mapping[int, bytes]) -> None:
        """These were taken: tell of none again, unless more is counted in it."""
        for minute, packed in minutes.items():
            if self._packed.get(minute) == packed:
                del self._packed[minute]
            self._told = (minute, packed)

    def _forget(self, minute: int) -> None:
        for each in [each for each in self._packed if each < minute - KEEP_MINUTES]:
            del self._packed[each]
        held = sum(map(len, self._packed.values()))
        for each in sorted(self._packed):
            if held <= KEEP_BYTES:
                break
            held -= len(self._packed.pop(each))


def _packed(cells: Mapping[Key, Cell]) -> bytes:
    return pack_totals(cell.total(key) for key, cell in cells.items())
