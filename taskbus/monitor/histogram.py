"""Durations in fixed buckets: small to send, exact to add up; what is told of them is off by 28 % at most."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any

_STEPS = (1.0, 1.25, 1.6, 2.0, 2.5, 3.15, 4.0, 5.0, 6.3, 7.5, 8.0)
BOUNDS: tuple[float, ...] = tuple(round(step * 10.0**power, 10) for power in range(-5, 5) for step in _STEPS)
"""Upper bounds in seconds, from 10 µs to some 22 hours; what is above is in one more bucket.

The tenths of a decade of ISO 3 (R10), and 7.5, so that the default buckets of Prometheus's clients are among them.
"""


class Histogram:
    """How many durations there were in each bucket; ``sum`` of all, in seconds."""

    __slots__ = ("counts", "sum")

    def __init__(self, counts: dict[int, int] | None = None, sum: float = 0.0) -> None:
        self.counts: dict[int, int] = {} if counts is None else counts
        self.sum = sum

    def add(self, seconds: float) -> None:
        """Count one."""
        bucket = bisect_left(BOUNDS, seconds)
        self.counts[bucket] = self.counts.get(bucket, 0) + 1
        self.sum += seconds

    def merge(self, other: "Histogram") -> None:
        """Add all of another one."""
        for bucket, count in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + count
        self.sum += other.sum

    def minus(self, earlier: "Histogram") -> "Histogram":
        """What came since ``earlier``, which was this one."""
        left = {b: n for b, c in self.counts.items() if (n := c - earlier.counts.get(b, 0)) > 0}
        return Histogram(left, max(0.0, self.sum - earlier.sum))

    @property
    def total(self) -> int:
        """How many there were."""
        return sum(self.counts.values())

    def quantile(self, share: float) -> float | None:
        """The duration that ``share`` (0 to 1) of all do not exceed, told by straight lines between the bounds."""
        return self.quantiles((share,))[0]

    def quantiles(self, shares: Sequence[float]) -> list[float | None]:
        """``quantile`` of each; None where nothing was counted."""
        total = self.total
        return [self._at(share * total) if total else None for share in shares]

    def _at(self, rank: float) -> float:
        below = 0
        upper = 0.0
        for bucket in sorted(self.counts):
            count = self.counts[bucket]
            lower = BOUNDS[bucket - 1] if bucket else 0.0
            upper = BOUNDS[bucket] if bucket < len(BOUNDS) else lower
            if below + count >= rank:
                return lower + (upper - lower) * max(0.0, rank - below) / count
            below += count
        return upper

    def up_to(self, bounds: Iterable[float]) -> list[int]:
        """How many were at most each of ``bounds``, which must be among ``BOUNDS``; as Prometheus wants it."""
        buckets = sorted(self.counts)
        sums = list(accumulate((self.counts[bucket] for bucket in buckets), initial=0))
        return [sums[bisect_right(buckets, bisect_left(BOUNDS, bound))] for bound in bounds]

    def packed(self) -> list[Any]:
        """As plain values for msgpack."""
        return [self.counts, self.sum]

    @classmethod
    def unpacked(cls, packed: Sequence[Any]) -> "Histogram":
        """Of what ``packed`` gave, after msgpack."""
        return cls(dict(packed[0]), packed[1])

    def __repr__(self) -> str:
        return f"<Histogram of {self.total}, {self.sum:.3f} s>"
