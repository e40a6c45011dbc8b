"""How long what is kept."""

from dataclasses import dataclass

DAY = 86_400.0
SPANS = (60, 600, 3600, 21_600, 86_400)
"""Seconds of the sums that are kept, those of a day beginning at midnight UTC; each is made of whole ones before it.

So a range of any length is few rows: minutes up to where ten of them begin, these up to the hour, and so on.
"""

EVER = 0
"""Stands for a span: the sums of all time, of each task from each queue, which are never forgotten."""


@dataclass(frozen=True, slots=True)
class Retention:
    """Seconds for which things are kept, and how many records at most: whatever comes first.

    ``successes``, ``failures``: task records, a retry counting as a failure. ``minutes``, ``hours``: totals of minutes
    and of ten of them; of hours and more.
    ``audit``: the audit log, and jobs that have ended. ``rows`` and ``bytes`` are of task records; beyond them the
    oldest successes go first, and failures only where no success is left.
    """

    successes: float = 7 * DAY
    failures: float = 30 * DAY
    minutes: float = 3 * DAY
    hours: float = 365 * DAY
    audit: float = 365 * DAY
    rows: int = 1_000_000
    bytes: int = 1 << 30


DEFAULT = Retention()
