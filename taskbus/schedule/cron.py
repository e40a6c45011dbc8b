"""``cron(...)``: crontab(5)'s lines, parsed and stepped through by cronsim; local time by the rules of ``zones``.

cronsim is asked about local times alone, which it counts as if no clock were ever changed. What it does by itself at a
change is Debian's way, and not quite ours: see ``tests/unit/test_schedule_cron.py``.
"""

import math
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import ClassVar
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from taskbus.errors import ConfigError
from taskbus.schedule.timetable import Timetable, limits
from taskbus.schedule.zones import first_change, last_change, offset_at, zone_of

FIELDS = ("second", "minute", "hour", "day-of-month", "month", "day-of-week")
SHORTHANDS = {
    "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}  # fmt: skip
_EPOCH = datetime(1970, 1, 1)
_ALL_HOURS = set(range(24))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cron(Timetable):
    """The local times in zone ``tz`` that match ``line``."""

    line: str
    tz: str = "UTC"
    _parsed: CronSim = field(init=False, repr=False, compare=False)
    _is_hourly: bool = field(init=False, repr=False, compare=False)
    SEARCH_FROM: ClassVar[datetime] = datetime(2000, 1, 1)

    def __post_init__(self) -> None:
        if not isinstance(self.tz, str) or not isinstance(self.line, str):
            raise ConfigError(
                f"cron({self.line!r}, tz={self.tz!r}): line and tz must be texts, such as '*/5 * * * *', 'Europe/Paris'"
            )
        zone_of(self.tz)
        parsed = _parse(self.line)
        seconds, minutes = parsed.parts[:2]
        object.__setattr__(self, "_parsed", parsed)
        object.__setattr__(
            self, "_is_hourly", seconds.startswith("*") or minutes.startswith("*") or parsed.hours == _ALL_HOURS
        )
        Timetable.__post_init__(self)

    def following(self, instant: float, base: float) -> float | None:
        start, zone = instant, zone_of(self.tz)
        offset = offset_at(zone, start)
        local = start + offset
        past = last_change(self.tz, start)
        if past is not None and not self._is_hourly and local < past.at + past.before:
            local = _just_before(past.at + past.before)  # the second time that these local times exist
        while True:
            match = self._match_after(local)
            if match is None:
                return None
            change = first_change(self.tz, start, match - offset)
            if change is None:
                return match - offset
            if change.is_forward and match < change.at + change.after:
                return change.at
            start, offset = change.at, change.after
            repeats = change.is_forward or self._is_hourly
            local = _just_before(change.at + (change.after if repeats else change.before))

    def _match_after(self, local: float) -> float | None:
        """The first local time later than this one that matches, as if no clock were ever changed."""
        parsed = copy(self._parsed)
        try:
            parsed.dt = _EPOCH + timedelta(seconds=math.floor(local))
            return (next(parsed) - _EPOCH).total_seconds()
        except (StopIteration, OverflowError):
            return None

    def __str__(self) -> str:
        return f"cron {self.line!r}" + ("" if self.tz == "UTC" else f" {self.tz}")


def cron(
    line: str,
    *,
    tz: str | ZoneInfo = "UTC",
    jitter: float | timedelta = 0.0,
    start: float | datetime | None = None,
    end: float | datetime | None = None,
) -> Cron:
    """The times of a crontab line in a time zone; ``docs/howto/schedule_tasks.md`` says what a change of clocks does.

    ``line``: minute, hour, day of month, month, day of week, with a field of seconds before them if there are six.
    Names (``MON``, ``JAN``), ranges, steps, lists, ``L`` and ``LW`` (the last day, or weekday, of the month), ``5L``
    (its last Friday) and ``1#2`` (its second Monday) are understood, and ``@daily`` and the like. For ``jitter``,
    ``start`` and ``end`` see ``Timetable``.

    Raises ``ConfigError`` for what is no such line, for one that no day matches, and for an unknown zone.
    """
    if isinstance(tz, ZoneInfo):
        tz = tz.key
    return Cron(line=line, tz=tz, **limits(jitter, start, end))


def _parse(line: str) -> CronSim:
    """The line as cronsim reads it; raises ``ConfigError`` that names the field."""
    text = SHORTHANDS.get(line.strip().lower(), line)
    parts = text.split()
    try:
        parsed = CronSim(text, Cron.SEARCH_FROM)
    except (CronSimError, AssertionError, ValueError, TypeError) as error:
        raise ConfigError(f"cron({line!r}): {_fault(str(error), parts)}") from None
    try:
        next(copy(parsed))
    except (StopIteration, RuntimeError):
        raise ConfigError(f"cron({line!r}): no day of the next 50 years matches its day and month") from None
    return parsed


def _fault(said: str, parts: list[str]) -> str:
    name = said.removeprefix("Bad ")
    if len(parts) not in (5, 6):
        return f"it has {len(parts)} fields; five are minute, hour, day, month, weekday, and six begin with seconds"
    if name not in FIELDS:
        return f"it cannot be read ({said})"
    return f"its field {name} cannot be {parts[FIELDS.index(name) + len(parts) - 6]!r}"


def _just_before(local: float) -> float:
    return math.ceil(local) - 1.0
