"""What a cron line means in a zone, found out the slow way: every local minute is tried, none is reasoned about."""

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from taskbus.schedule.cron import cron

MINUTE = timedelta(minutes=1)
FROM, UNTIL = 2018, 2028


class Line:
    """A cron line of numbers, and what it matches; written apart from the code that is under test."""

    def __init__(self, minutes: str, hours: str, days: str = "*", months: str = "*", weekdays: str = "*") -> None:
        self.text = f"{minutes} {hours} {days} {months} {weekdays}"
        self.minutes = _numbers(minutes, 0, 59)
        self.hours = _numbers(hours, 0, 23)
        self.days = _numbers(days, 1, 31)
        self.months = _numbers(months, 1, 12)
        self.weekdays = {each % 7 for each in _numbers(weekdays, 0, 7)}
        self.is_hourly = minutes.startswith("*") or len(self.hours) == 24
        self.takes_both = days == "*" or weekdays == "*"

    def matches_day(self, day: date) -> bool:
        is_day, is_weekday = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return day.month in self.months and (is_day and is_weekday if self.takes_both else is_day or is_weekday)


def _numbers(text: str, low: int, high: int) -> set[int]:
    found = set[int]()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, _, last = (f"{low}-{high}" if span == "*" else span).partition("-")
        found |= set(range(int(first), int(last or first) + 1, int(step or 1)))
    return found


def expected(line: Line, zone: ZoneInfo, days: Sequence[date]) -> list[float]:
    """The instants that the local times of these days mean."""
    found = set[float]()
    for day in days:
        if line.matches_day(day):
            for hour in line.hours:
                for minute in line.minutes:
                    found.update(_meant(datetime(day.year, day.month, day.day, hour, minute), zone, line.is_hourly))
    return sorted(found)


def _meant(local: datetime, zone: ZoneInfo, is_hourly: bool) -> Iterator[float]:
    while not _exists(local, zone):
        local += MINUTE
    first, second = (local.replace(tzinfo=zone, fold=fold).timestamp() for fold in (0, 1))
    yield first
    if is_hourly:
        yield second


def _exists(local: datetime, zone: ZoneInfo) -> bool:
    there = local.replace(tzinfo=zone).astimezone(UTC)
    return there.astimezone(zone).replace(tzinfo=None) == local


def found(line: Line, zone: str, start: float, stop: float) -> list[float]:
    """What the code under test says of [start, stop)."""
    return [each for each in cron(line.text, tz=zone).instants(start - 1, stop) if each < stop]


def all_days(first: int, last: int) -> list[date]:
    start = date(first, 1, 1)
    return [start + timedelta(days=n) for n in range((date(last, 1, 1) - start).days)]


def days_of_change(zone: ZoneInfo, days: Sequence[date]) -> list[list[date]]:
    """The days around each change of clocks, three at a time: found by asking for the offset at every midnight."""
    offsets = [datetime(day.year, day.month, day.day, tzinfo=UTC).astimezone(zone).utcoffset() for day in days]
    places = [n for n in range(2, len(days) - 2) if offsets[n] != offsets[n - 1]]
    return [list(days[n - 2 : n + 2]) for n in places]


def random_lines(seed: str) -> list[Line]:
    """Lines that meet a change of clocks: at night, some on some days only."""
    drawn = random.Random(seed)
    lines = [Line(str(drawn.randrange(60)), str(drawn.randrange(0, 5))) for _ in range(2)]
    lines.append(Line("0,30", f"{drawn.randrange(3)}-{drawn.randrange(3, 6)}", "*", "3-11", drawn.choice(["0", "6,0"])))
    lines.append(Line(str(drawn.randrange(60)), "*/2", str(drawn.randrange(1, 29)), "*", "*"))
    return lines


def compare(name: str) -> int:
    """Compare lines in one zone over ten years; returns how many instants were compared."""
    zone, days, count = ZoneInfo(name), all_days(FROM, UNTIL), 0
    for line in random_lines(name):
        count += _compare(line, name, zone, days)
    for some in days_of_change(zone, days):
        for line in (Line("*/15", "*"), Line("30", "*"), Line("0", "*"), Line("*/7", "1"), Line("30", "1,2")):
            count += _compare(line, name, zone, some)
    return count


def _compare(line: Line, name: str, zone: ZoneInfo, days: Sequence[date]) -> int:
    """Within the days but for their first and last hours, where a change may reach over."""
    start = datetime(days[0].year, days[0].month, days[0].day, 12, tzinfo=UTC).timestamp() + 86_400
    stop = datetime(days[-1].year, days[-1].month, days[-1].day, 12, tzinfo=UTC).timestamp() - 86_400
    right = [each for each in expected(line, zone, days) if start <= each < stop]
    assert found(line, name, start, stop) == right, f"{line.text} in {name}, from {days[0]}"
    return len(right)
