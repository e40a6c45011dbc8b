"""Timetables: at which instants something is to run. Values, made by the words at the end of this file and beside it.

``next_after(instant, base)`` is all there is to one. ``base`` is the instant at which the schedule was made, or its
timetable was last changed: intervals without an anchor count from it. Instants are Unix seconds UTC.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any

from taskbus.errors import ConfigError

SHORTEST = 0.1
"""Seconds: the shortest interval."""
LATEST = 1e11
"""Instants are earlier than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timetable(ABC):
    """At which instants something runs.

    ``jitter``: seconds by at most which each run is put off, by how much follows from the schedule's name and the time:
    whoever computes it, finds the same. ``start``, ``end``: runs are not before the one, and before the other.
    """

    jitter: float = 0.0
    start: float | None = None
    end: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= seconds("jitter", self.jitter) < LATEST:
            raise ConfigError(f"{self}: jitter={self.jitter!r} must be seconds, zero or more")
        instant_of("start", self.start)
        instant_of("end", self.end)
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise ConfigError(f"{self}: end={_shown(self.end)} is not after start={_shown(self.start)}")

    def next_after(self, instant: float, base: float = 0.0) -> float | None:
        """The first instant later than ``instant``; None: there is none any more."""
        if self.start is not None and instant < self.start:
            instant = math.nextafter(self.start, -math.inf)
        found = self.following(instant, base)
        return None if found is None or (self.end is not None and found >= self.end) else found

    def instants(self, after: float, until: float, base: float = 0.0) -> Iterator[float]:
        """Those later than ``after`` and not later than ``until``, in their order."""
        found = self.next_after(after, base)
        while found is not None and found <= until:
            yield found
            found = self.next_after(found, base)

    def due_at(self, name: str, nominal: float) -> float:
        """When the run that is named ``nominal`` is to be sent: then, or as much later as the jitter wants."""
        if not self.jitter:
            return nominal
        drawn = int.from_bytes(blake2b(f"{name}\0{nominal!r}".encode(), digest_size=7).digest(), "big") / (1 << 56)
        return nominal + self.jitter * drawn

    def __or__(self, other: "Timetable") -> "AnyOf":
        """Whenever one of the two says so; an instant that both name is one run."""
        return AnyOf((self, other)) if isinstance(other, Timetable) else NotImplemented

    @abstractmethod
    def following(self, instant: float, base: float) -> float | None:
        """As ``next_after``, without the bounds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Every(Timetable):
    """Each ``interval`` seconds of real time, counted from ``anchor``, or from when the schedule was made."""

    interval: float
    anchor: float | None = None

    def __post_init__(self) -> None:
        if not SHORTEST <= seconds("interval", self.interval) < LATEST:
            raise ConfigError(f"every({self.interval!r}): interval must be seconds, {SHORTEST} or more")
        instant_of("anchor", self.anchor)
        Timetable.__post_init__(self)

    def following(self, instant: float, base: float) -> float | None:
        origin = base if self.anchor is None else self.anchor
        count = max(1 if self.anchor is None else -math.inf, math.floor((instant - origin) / self.interval))
        while (found := round(origin + count * self.interval, 6)) <= instant:
            count += 1
        return found

    def __str__(self) -> str:
        return f"every {self.interval:g} s" + ("" if self.anchor is None else f" from {_shown(self.anchor)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class At(Timetable):
    """Once, at ``time``."""

    time: float

    def __post_init__(self) -> None:
        _required("time", self.time)
        Timetable.__post_init__(self)

    def following(self, instant: float, base: float) -> float | None:
        return self.time if self.time > instant else None

    def __str__(self) -> str:
        return f"at {_shown(self.time)}"


@dataclass(frozen=True, slots=True)
class AnyOf(Timetable):
    """Whenever one of ``members`` says so; an instant that several name is one run."""

    members: tuple[Timetable, ...] = ()

    def __post_init__(self) -> None:
        if not self.members or not all(isinstance(each, Timetable) for each in self.members):
            raise ConfigError(f"any_of{self.members!r:.200} must be given timetables: cron(...), every(...), at(...)")
        if any(each.jitter for each in self.members):
            raise ConfigError("any_of(...): jitter is given to any_of as a whole, not to one of its members")
        Timetable.__post_init__(self)

    def following(self, instant: float, base: float) -> float | None:
        return min(filter(None, (each.next_after(instant, base) for each in self.members)), default=None)

    def __str__(self) -> str:
        return " or ".join(map(str, self.members))


def every(
    interval: float | timedelta,
    *,
    anchor: float | datetime | None = None,
    jitter: float | timedelta = 0.0,
    start: float | datetime | None = None,
    end: float | datetime | None = None,
) -> Every:
    """Each ``interval`` (seconds), of real time, whatever local clocks do.

    ``anchor``: an instant that is one of the times, such as ``anchor=0`` for every(300) at minutes divisible by five;
    without one they count from when the schedule was made. For ``jitter``, ``start`` and ``end`` see ``Timetable``.
    """
    return Every(
        interval=seconds("interval", interval), anchor=instant_of("anchor", anchor), **limits(jitter, start, end)
    )


def at(time: float | datetime, *, jitter: float | timedelta = 0.0) -> At:
    """Once, at ``time``: an aware ``datetime``, or Unix seconds."""
    return At(time=_required("time", time), **limits(jitter, None, None))


def any_of(
    *members: Timetable,
    jitter: float | timedelta = 0.0,
    start: float | datetime | None = None,
    end: float | datetime | None = None,
) -> AnyOf:
    """Whenever one of several timetables says so; ``a | b`` in a word."""
    return AnyOf(members, **limits(jitter, start, end))


def limits(jitter: float | timedelta, start: float | datetime | None, end: float | datetime | None) -> dict[str, Any]:
    """What all timetables take, as their fields. Raises ``ConfigError`` that names what cannot be."""
    return {
        "jitter": seconds("jitter", jitter),
        "start": instant_of("start", start),
        "end": instant_of("end", end),
    }  # fmt: skip


def seconds(field: str, value: float | timedelta) -> float:
    """A duration as seconds."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"{field}={value!r} is no duration; give seconds, or a timedelta")
    return float(value)


def instant_of(field: str, value: float | datetime | None) -> float | None:
    """An instant as Unix seconds."""
    if value is None:
        return None
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ConfigError(f"{field}={value!r} has no time zone; use datetime(..., tzinfo=ZoneInfo(...))")
        value = value.timestamp()
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < LATEST:
        raise ConfigError(f"{field}={value!r} is no instant; give an aware datetime, or Unix seconds")
    return float(value)


def _required(field: str, value: float | datetime | None) -> float:
    found = instant_of(field, value)
    if found is None:
        raise ConfigError(f"{field}=None must be an instant, such as datetime(2027, 1, 1, tzinfo=UTC)")
    return found


def _shown(instant: float) -> str:
    return datetime.fromtimestamp(instant, UTC).isoformat().replace("+00:00", "Z")
