"""The last quarter of an hour, second by second; and histograms of it, ten seconds by ten seconds."""

from array import array
from collections.abc import Sequence

from taskbus.monitor.histogram import Histogram

LASTING = 900
"""Seconds that are remembered."""
TEN = 10
MINUTE = 6
"""Slots of ten seconds."""


class Ring:
    """Some counts for each of the last 900 seconds.

    A count may be below 0, where something is taken back that was counted in a second before: sums come out right.
    """

    __slots__ = ("_columns", "_newest")

    def __init__(self, width: int) -> None:
        self._columns = [array("f", bytes(4 * LASTING)) for _ in range(width)]
        self._newest = 0

    def add(self, now: float, counts: Sequence[float], seconds: float) -> None:
        """Count these in the second of ``now`` and those before it, ``seconds`` in all, in equal shares."""
        self._turn(int(now))
        over = min(LASTING, max(1, round(seconds)))
        for column, count in zip(self._columns, counts, strict=True):
            if count:
                share = count / over
                for second in range(int(now) - over + 1, int(now) + 1):
                    column[second % LASTING] += share

    def _turn(self, now: int) -> None:
        """Empty the seconds that have come since."""
        if self._newest and now > self._newest:
            for column in self._columns:
                for second in range(max(self._newest + 1, now - LASTING + 1), now + 1):
                    column[second % LASTING] = 0.0
        self._newest = max(self._newest, now)

    def rates(self, now: float, seconds: int) -> list[float]:
        """Each count per second, over the last so many; never below 0."""
        self._turn(int(now))
        places = [second % LASTING for second in range(int(now) - seconds + 1, int(now) + 1)]
        return [max(0.0, sum(column[place] for place in places)) / seconds for column in self._columns]

    def last(self, now: float, seconds: int) -> tuple[list[float], list[list[float]]]:
        """The instants at which the last so many seconds began, oldest first, and each count in them."""
        self._turn(int(now))
        instants = range(int(now) - seconds + 1, int(now) + 1)
        columns = [[column[second % LASTING] for second in instants] for column in self._columns]
        return [float(second) for second in instants], columns

    def is_empty(self, now: float) -> bool:
        """Whether nothing was counted in all that time."""
        return bool(self._newest) and now - self._newest > LASTING


class _Sum:
    """What one task did in some time."""

    __slots__ = ("lost", "runs")

    def __init__(self) -> None:
        self.runs = Histogram()
        self.lost = 0


class Slots:
    """Histograms of all tasks for a quarter of an hour; and of each for the last minute, always added up."""

    def __init__(self) -> None:
        self._all: dict[int, tuple[Histogram, Histogram]] = {}
        self._tasks: dict[int, dict[str, _Sum]] = {}
        self._sums: dict[str, _Sum] = {}

    def add(self, now: float, task: str, waits: Histogram, runs: Histogram, lost: int) -> None:
        """Count what was measured up to now."""
        slot = int(now) // TEN
        all = self._all.get(slot)
        if all is None:
            all = self._all[slot] = Histogram(), Histogram()
        all[0].merge(waits)
        all[1].merge(runs)
        for sums in (self._tasks.setdefault(slot, {}), self._sums):
            sum = sums.get(task)
            if sum is None:
                sum = sums[task] = _Sum()
            sum.runs.merge(runs)
            sum.lost += lost

    def turn(self, now: float) -> None:
        """Forget what is too old."""
        slot = int(now) // TEN
        for each in [each for each in self._all if each <= slot - LASTING // TEN]:
            del self._all[each]
        for each in [each for each in self._tasks if each <= slot - MINUTE]:
            for task, gone in self._tasks.pop(each).items():
                sum = self._sums[task]
                sum.runs = sum.runs.minus(gone.runs)
                sum.lost -= gone.lost
                if not sum.runs.counts and sum.lost <= 0:
                    del self._sums[task]

    def of_task(self, task: str) -> tuple[Histogram, int]:
        """Its runs in the last minute, and how many failed for good."""
        sum = self._sums.get(task)
        return (Histogram(), 0) if sum is None else (sum.runs, sum.lost)

    def last_minute(self) -> tuple[Histogram, Histogram]:
        """The waits and the runs of all tasks."""
        waits, runs = Histogram(), Histogram()
        for slot in self._tasks:
            waits.merge(self._all[slot][0])
            runs.merge(self._all[slot][1])
        return waits, runs

    def at(self, instant: float) -> tuple[Histogram, Histogram]:
        """The waits and the runs of the ten seconds from there."""
        return self._all.get(int(instant) // TEN) or (Histogram(), Histogram())
