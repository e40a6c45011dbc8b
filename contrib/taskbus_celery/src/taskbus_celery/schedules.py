"""Schedules as Celery writes them: values, which ``beat`` of TaskBus can be given as ``cron`` and ``every``."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from taskbus_celery.exceptions import NotSupported

_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


class schedule:
    """Every so many seconds. ``relative`` has no effect."""

    def __init__(self, run_every: Any = None, relative: bool = False, nowfun: Any = None, app: Any = None) -> None:
        self.run_every = run_every if isinstance(run_every, timedelta) else timedelta(seconds=float(run_every or 0))
        self.relative = relative

    @property
    def seconds(self) -> float:
        """Its interval."""
        return max(0.0, self.run_every.total_seconds())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, schedule) and self.run_every == other.run_every

    def __hash__(self) -> int:
        return hash(self.run_every)

    def __repr__(self) -> str:
        return f"<freq: {self.seconds:g} seconds>"


class crontab:
    """Times by the clock, as in crontab(5), with one difference: see ``expression``."""

    def __init__(
        self,
        minute: Any = "*",
        hour: Any = "*",
        day_of_week: Any = "*",
        day_of_month: Any = "*",
        month_of_year: Any = "*",
        **_: Any,
    ) -> None:
        self._orig_minute, self._orig_hour = minute, hour
        self._orig_day_of_week, self._orig_day_of_month = day_of_week, day_of_month
        self._orig_month_of_year = month_of_year

    @classmethod
    def from_string(cls, crontab: str) -> "crontab":
        """Of the five fields of crontab(5)."""
        minute, hour, day_of_month, month_of_year, day_of_week = crontab.split()
        return cls(minute, hour, day_of_week, day_of_month, month_of_year)

    @property
    def expression(self) -> str:
        """The five fields of crontab(5).

        Raises ``NotSupported`` where both the day of the week and that of the month are restricted: for Celery both
        must fit, for cron one is enough.
        """
        fields = [
            _field(given)
            for given in (
                self._orig_minute,
                self._orig_hour,
                self._orig_day_of_month,
                self._orig_month_of_year,
                self._orig_day_of_week,
            )
        ]
        if fields[2] != "*" and fields[4] != "*":
            raise NotSupported(
                f"{self!r} wants a day of the week and one of the month at once, and cron takes either: run it on each "
                "of those weekdays, and let the task look at the date"
            )
        return " ".join(fields)

    def _key(self) -> tuple[str, ...]:
        return tuple(
            _field(value)
            for value in (
                self._orig_minute, self._orig_hour, self._orig_day_of_week, self._orig_day_of_month,
                self._orig_month_of_year,
            )
        )  # fmt: skip

    def __eq__(self, other: object) -> bool:
        return isinstance(other, crontab) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        minute, hour, day_of_week, day_of_month, month_of_year = self._key()
        return f"<crontab: {minute} {hour} {day_of_month} {month_of_year} {day_of_week} (m/h/dM/MY/d)>"


class solar:
    """What the sun does at a place, in degrees north and east."""

    def __init__(self, event: str, lat: float, lon: float, **_: Any) -> None:
        self.event, self.lat, self.lon = event, lat, lon

    def __repr__(self) -> str:
        return f"<solar: {self.event} at latitude {self.lat}, longitude: {self.lon}>"


def maybe_schedule(given: Any, relative: bool = False, app: Any = None) -> Any:
    """Seconds and timedeltas as ``schedule``, schedules as they are."""
    return schedule(given, relative) if isinstance(given, int | float | timedelta) else given


def _field(given: Any) -> str:
    """A field of crontab(5), with names of days and months in short, which both know."""
    if isinstance(given, int):
        return str(given)
    parts = given.split(",") if isinstance(given, str) else list(given) if isinstance(given, Iterable) else [given]
    return ",".join(_short(str(part).strip().lower()) for part in parts)


def _short(part: str) -> str:
    """Names in short; a range that goes over the end (``fri-mon``), which cron does not know, as a list."""
    span, slash, step = part.partition("/")
    ends = [end[:3] if end[:3] in (*_DAYS, *_MONTHS) else end for end in span.split("-")]
    for names in (_DAYS, _MONTHS):
        if len(ends) == 2 and not step and all(end in names for end in ends):
            first, last = map(names.index, ends)
            if first > last:
                return ",".join((*names[first:], *names[: last + 1]))
    return f"{'-'.join(ends)}{slash}{step}"
