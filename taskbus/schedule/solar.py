"""``solar(...)``: what the sun does at a place. Needs astral: ``pip install "taskbus[solar]"``."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from taskbus.errors import ConfigError
from taskbus.schedule.timetable import Timetable, limits, seconds

EVENTS = {
    "dawn_astronomical": ("dawn", 18), "dawn_nautical": ("dawn", 12), "dawn_civil": ("dawn", 6),
    "sunrise": ("sunrise", None), "solar_noon": ("noon", None), "sunset": ("sunset", None),
    "dusk_civil": ("dusk", 6), "dusk_nautical": ("dusk", 12), "dusk_astronomical": ("dusk", 18),
}  # fmt: skip
"""Celery's names; astral's function, and by how many degrees the sun is below the horizon."""
DAYS = 400
"""Days within which an event must happen again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Solar(Timetable):
    """``offset`` seconds after an ``event`` at a place, in degrees north and east; days without it are left out."""

    event: str
    latitude: float
    longitude: float
    offset: float = 0.0

    def __post_init__(self) -> None:
        if self.event not in EVENTS:
            near = get_close_matches(str(self.event), EVENTS, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(EVENTS)}"
            raise ConfigError(f"solar(event={self.event!r}) is no event of the sun; {hint}")
        for name, value, most in (("latitude", self.latitude, 90), ("longitude", self.longitude, 180)):
            if isinstance(value, bool) or not isinstance(value, int | float) or not -most <= value <= most:
                raise ConfigError(f"solar({name}={value!r}) must be degrees from -{most} to {most}")
        seconds("offset", self.offset)
        _astral()
        Timetable.__post_init__(self)

    def following(self, instant: float, base: float) -> float | None:
        wanted = instant - self.offset
        day = datetime.fromtimestamp(wanted, UTC).date() - timedelta(days=2)
        best: float | None = None
        for _ in range(DAYS):
            found = self._on(day)
            if found is not None and found > wanted and (best is None or found < best):
                best = found
            # An event of a day may fall on the day before or after it, by UTC.
            if best is not None and datetime.fromtimestamp(best, UTC).date() + timedelta(days=1) < day:
                break
            day += timedelta(days=1)
        return None if best is None else best + self.offset

    def _on(self, day: Any) -> float | None:
        """The instant of a day's event, to the second; None where there is none (a polar day, or night)."""
        module = _astral()
        function, degrees = EVENTS[self.event]
        observer = import_module("astral").Observer(self.latitude, self.longitude)
        extra = {} if degrees is None else {"depression": degrees}
        try:
            found: datetime = getattr(module, function)(observer, day, tzinfo=UTC, **extra)
        except ValueError:
            return None
        return float(math.floor(found.timestamp()))

    def __str__(self) -> str:
        after = f" {self.offset:+g} s" if self.offset else ""
        return f"{self.event}{after} at {self.latitude:g}, {self.longitude:g}"


def solar(
    event: str,
    *,
    latitude: float,
    longitude: float,
    offset: float | timedelta = 0.0,
    jitter: float | timedelta = 0.0,
    start: float | datetime | None = None,
    end: float | datetime | None = None,
) -> Solar:
    """What the sun does at a place: ``sunrise``, ``sunset``, ``solar_noon``, ``dawn_civil``, ``dusk_civil`` and so on.

    ``latitude`` and ``longitude``: degrees north and east. ``offset``: seconds after the event, negative for before it.
    For ``jitter``, ``start`` and ``end`` see ``Timetable``.
    """
    return Solar(
        event=event, latitude=latitude, longitude=longitude, offset=seconds("offset", offset),
        **limits(jitter, start, end),
    )  # fmt: skip


def _astral() -> Any:
    try:
        return import_module("astral.sun")
    except ModuleNotFoundError:
        raise ConfigError('solar(...) needs astral: pip install "taskbus[solar]"') from None
