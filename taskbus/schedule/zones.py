"""Local time, and what becomes of a time that a zone's change of clocks leaves out or repeats. The rules stand here.

A *local time* is seconds since 1970 as the zone's clock on the wall shows them, an *instant* is Unix seconds UTC.

*   **A local time that does not exist** (clocks go forward) means the first instant that does: in New York, where
    02:00 is followed by 03:00, what is to run at 02:30 runs at 03:00. What several such times mean is one instant, and
    a timetable names an instant once.
*   **A local time that exists twice** (clocks go back) means the first of the two, once. A timetable that is *hourly or
    finer* goes by real intervals there: it means both.

A cron line is hourly or finer if it names all 24 hours, or if its field of minutes or seconds begins with a star.
"""

from bisect import bisect_right
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from difflib import get_close_matches
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from taskbus.errors import ConfigError

STEP = 6 * 3600
"""Seconds between two looks at a zone: no zone has changed its clocks twice within so few."""
DAY = 86_400.0
LAST_YEAR = 9990


class Change(NamedTuple):
    """A zone's clocks are changed ``at`` an instant; the offsets, seconds east of UTC, are those before and after."""

    at: float
    before: float
    after: float

    @property
    def is_forward(self) -> bool:
        return self.after > self.before


@lru_cache(maxsize=1024)
def zone_of(name: str) -> tzinfo:
    """The zone of that name; ``UTC`` needs no zone database. Raises ``ConfigError``, with a near name."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        known = available_timezones()
        if not known:
            raise ConfigError(f"tz={name!r}: this machine has no time zones; pip install tzdata") from None
        near = get_close_matches(name, known, 1, 0.5)
        hint = f"did you mean {near[0]!r}?" if near else "names are those of the IANA database, such as 'Europe/Paris'"
        raise ConfigError(f"tz={name!r} is no time zone; {hint}") from None


def offset_at(zone: tzinfo, instant: float) -> float:
    """Seconds that local time is ahead of UTC."""
    offset = datetime.fromtimestamp(instant, zone).utcoffset()
    return (offset or timedelta(0)).total_seconds()


def first_change(name: str, after: float, until: float) -> Change | None:
    """The first change of clocks later than ``after``, and not later than ``until``."""
    for year in range(_year(after), _year(until) + 1):
        for change in _changes(name, year):
            if change.at > until:
                return None
            if change.at > after:
                return change
    return None


def last_change(name: str, until: float) -> Change | None:
    """The last change of clocks not later than ``until``, if it was within the day before: no fold is longer."""
    found = [change for year in range(_year(until - DAY), _year(until) + 1) for change in _changes(name, year)]
    place = bisect_right([change.at for change in found], until)
    return found[place - 1] if place and found[place - 1].at > until - DAY else None


@lru_cache(maxsize=8192)
def _changes(name: str, year: int) -> tuple[Change, ...]:
    """All changes of a zone's clocks within a year (of UTC), in their order."""
    return () if name == "UTC" or year > LAST_YEAR else tuple(_scan(zone_of(name), year))


def _scan(zone: tzinfo, year: int) -> Iterator[Change]:
    start, stop = (int(datetime(each, 1, 1, tzinfo=UTC).timestamp()) for each in (year, year + 1))
    low, before = start - 1, offset_at(zone, start - 1)
    while low < stop - 1:
        high = min(low + STEP, stop - 1)
        after = offset_at(zone, high)
        if after != before:
            yield Change(float(_edge(zone, low, high, before)), before, after)
        low, before = high, after


def _edge(zone: tzinfo, low: int, high: int, before: float) -> int:
    """The first second in (low, high] at which the offset is not ``before``."""
    while high - low > 1:
        middle = (low + high) // 2
        if offset_at(zone, middle) == before:
            low = middle
        else:
            high = middle
    return high


def _year(instant: float) -> int:
    return datetime.fromtimestamp(instant, UTC).year
