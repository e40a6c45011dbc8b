"""Intervals, single instants, the sun, several at once, bounds and jitter; and all of them as text."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskbus.errors import ConfigError
from taskbus.schedule.cron import cron
from taskbus.schedule.solar import solar
from taskbus.schedule.spec import from_text, to_text
from taskbus.schedule.timetable import Timetable, any_of, at, every

NOW = 1_800_000_000.0


def some(timetable: Timetable, count: int, after: float = NOW, base: float = NOW) -> list[float]:
    found: list[float] = []
    for each in timetable.instants(after, 1e10, base):
        found.append(each)
        if len(found) == count:
            break
    return found


def test_an_interval_counts_from_when_the_schedule_was_made() -> None:
    assert some(every(30), 3, base=NOW + 7) == [NOW + 37, NOW + 67, NOW + 97]


def test_an_anchored_interval_counts_from_its_anchor_both_ways() -> None:
    assert some(every(timedelta(minutes=5), anchor=0), 2, after=NOW + 1, base=NOW + 7) == [NOW + 300, NOW + 600]
    assert some(every(60, anchor=NOW + 600), 2, after=NOW - 90) == [NOW - 60, NOW]


@settings(deadline=None)
@given(st.floats(0.1, 1e6), st.floats(0, 4e9), st.floats(0, 1e6))
def test_intervals_only_grow_and_are_found_from_anywhere(interval: float, base: float, later: float) -> None:
    timetable = every(interval)
    found = some(timetable, 4, after=base + later, base=base)
    assert found[0] > base + later and all(a < b for a, b in pairwise(found))
    assert timetable.next_after(found[1] + interval / 3, base) == found[2]


def test_a_single_instant_is_once() -> None:
    assert some(at(NOW + 5), 3) == [NOW + 5]
    assert some(at(NOW), 3) == []


def test_any_of_several_is_each_and_one_where_they_meet() -> None:
    assert some(every(20) | every(30), 5) == [NOW + 20, NOW + 30, NOW + 40, NOW + 60, NOW + 80]


def test_bounds_hold_the_start_and_not_the_end() -> None:
    timetable = every(10, anchor=NOW, start=NOW + 20, end=NOW + 40)
    assert some(timetable, 9) == [NOW + 20, NOW + 30]


def test_jitter_is_the_same_for_whoever_asks_and_spread_over_its_span() -> None:
    timetable = every(60, jitter=30)
    put_off = [timetable.due_at("backup", each) - each for each in some(timetable, 500)]
    assert put_off == [timetable.due_at("backup", each) - each for each in some(every(60, jitter=30), 500)]
    assert min(put_off) >= 0 and max(put_off) < 30 and max(put_off) - min(put_off) > 28
    assert timetable.due_at("other", NOW) != timetable.due_at("backup", NOW)


def test_the_sun_rises_once_a_day_where_it_does() -> None:
    paris = some(solar("sunrise", latitude=48.85, longitude=2.35), 400)
    assert all(86_000 < b - a < 86_800 for a, b in pairwise(paris))
    assert datetime.fromtimestamp(paris[0], ZoneInfo("Europe/Paris")).hour == 8
    svalbard = solar("sunset", latitude=78.2, longitude=15.6)
    night = some(svalbard, 1, after=datetime(2027, 6, 1, tzinfo=UTC).timestamp())
    assert datetime.fromtimestamp(night[0], UTC).month == 8
    east, west = (some(solar("solar_noon", latitude=0, longitude=each), 30) for each in (179.9, -179.9))
    assert all(86_300 < b - a < 86_500 for each in (east, west) for a, b in pairwise(each))


@pytest.mark.parametrize(
    "timetable",
    [
        cron("*/5 * * * *", tz="Europe/Paris", jitter=3),
        every(30, anchor=0, end=NOW),
        at(datetime(2027, 1, 1, tzinfo=UTC)),
        solar("dusk_civil", latitude=1, longitude=2, offset=-60),
        any_of(cron("@daily"), every(7), jitter=1),
    ],
)
def test_a_timetable_comes_back_from_its_text(timetable: Timetable) -> None:
    back = from_text(to_text(timetable))
    assert back == timetable and some(back, 3, base=1.0) == some(timetable, 3, base=1.0)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"kind":"never"}', '{"kind":"every"}', '{"kind":"cron","line":3}'])
def test_what_is_no_timetable_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        from_text(text)


def test_what_cannot_be_is_refused_by_name() -> None:
    naive = datetime(2027, 1, 1)
    for make, named in (
        (lambda: every(0), "interval"),
        (lambda: every(float("nan")), "interval"),
        (lambda: every("30"), "interval"),  # type: ignore[arg-type]
        (lambda: every(5, anchor=naive), "anchor"),
        (lambda: every(5, jitter=-1), "jitter"),
        (lambda: every(5, start=10, end=10), "end"),
        (lambda: at(naive), "time"),
        (lambda: solar("moonrise", latitude=0, longitude=0), "moonrise"),
        (lambda: solar("sunrise", latitude=91, longitude=0), "latitude"),
        (lambda: any_of(), "any_of"),
        (lambda: any_of(every(5, jitter=1), every(7)), "jitter"),
    ):
        with pytest.raises(ConfigError, match=named):
            make()
