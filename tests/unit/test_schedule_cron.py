"""Cron lines in local time: against an oracle that tries every minute, and the cases that everybody gets wrong."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim

from taskbus.errors import ConfigError
from taskbus.schedule.cron import cron
from tests.unit.schedule_oracle import compare

SOME = ("Europe/London", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca")


@pytest.mark.parametrize("zone", SOME)
def test_ten_years_are_as_the_oracle_says(zone: str) -> None:
    assert compare(zone) > 1000


def runs(line: str, tz: str, first: str, last: str) -> list[str]:
    """Those from one local time to another, both in winter or summer time as it is then, as local times."""
    zone = ZoneInfo(tz)
    start, stop = (datetime.fromisoformat(each).replace(tzinfo=zone).timestamp() for each in (first, last))
    found = cron(line, tz=tz).instants(start - 1, stop)
    return [datetime.fromtimestamp(each, zone).strftime("%d %H:%M:%S %z") for each in found]


def test_a_time_that_does_not_exist_runs_at_the_first_that_does() -> None:
    assert runs("30 2 * * *", "America/New_York", "2027-03-13 12:00", "2027-03-15 12:00") == [
        "14 03:00:00 -0400",
        "15 02:30:00 -0400",
    ]


def test_several_times_that_do_not_exist_are_one_run() -> None:
    assert runs("0,20,40 2 * * *", "America/New_York", "2027-03-14 00:00", "2027-03-14 12:00") == ["14 03:00:00 -0400"]


def test_a_time_that_exists_twice_runs_once_if_it_is_daily() -> None:
    assert runs("30 1 * * *", "America/New_York", "2027-11-06 12:00", "2027-11-08 12:00") == [
        "07 01:30:00 -0400",
        "08 01:30:00 -0500",
    ]


def test_an_hourly_one_runs_at_each_real_hour() -> None:
    assert runs("30 * * * *", "America/New_York", "2027-11-07 00:00", "2027-11-07 02:59") == [
        "07 00:30:00 -0400",
        "07 01:30:00 -0400",
        "07 01:30:00 -0500",
        "07 02:30:00 -0500",
    ]


def test_clocks_that_change_by_half_an_hour() -> None:
    assert runs("*/15 * * * *", "Australia/Lord_Howe", "2027-04-04 01:30", "2027-04-04 02:00") == [
        "04 01:30:00 +1100",
        "04 01:45:00 +1100",
        "04 01:30:00 +1030",
        "04 01:45:00 +1030",
        "04 02:00:00 +1030",
    ]
    assert runs("15 2 * * *", "Australia/Lord_Howe", "2027-10-03 00:00", "2027-10-03 12:00") == ["03 02:30:00 +1100"]


def test_seconds_names_last_days_and_nth_weekdays() -> None:
    assert runs("*/30 0 0 1 JAN *", "UTC", "2027-01-01 00:00", "2027-01-02 00:00") == [
        "01 00:00:00 +0000",
        "01 00:00:30 +0000",
    ]
    assert runs("0 9 L * *", "UTC", "2028-02-01 00:00", "2028-03-01 00:00") == ["29 09:00:00 +0000"]
    assert runs("0 9 * * MON#2", "UTC", "2027-11-01 00:00", "2027-11-30 00:00") == ["08 09:00:00 +0000"]
    assert runs("0 9 * * 5L", "UTC", "2027-11-01 00:00", "2027-11-30 00:00") == ["26 09:00:00 +0000"]


def test_leap_days_and_sundays_of_both_numbers() -> None:
    assert runs("0 0 29 2 *", "UTC", "2027-01-01 00:00", "2033-01-01 00:00") == [
        "29 00:00:00 +0000",
        "29 00:00:00 +0000",
    ]
    span = ("2026-12-25 00:00", "2027-02-01 00:00")
    assert runs("0 0 * * 0", "UTC", *span) == runs("0 0 * * 7", "UTC", *span) == runs("@weekly", "UTC", *span) != []


def test_where_cronsim_itself_goes_another_way() -> None:
    """Why it is asked about local times alone: a line of six fields leaves out a day, and a third one is run twice."""
    zone = ZoneInfo("America/New_York")
    sim = CronSim("0 30 2 * * *", datetime(2027, 3, 14, tzinfo=zone))
    assert next(sim) == datetime(2027, 3, 15, 2, 30, tzinfo=zone)
    assert runs("0 30 2 * * *", "America/New_York", "2027-03-14 00:00", "2027-03-14 12:00") == ["14 03:00:00 -0400"]
    sim = CronSim("0 30 1 * * *", datetime(2027, 11, 7, tzinfo=zone))
    assert [each.fold for each in (next(sim), next(sim))] == [0, 1]
    assert runs("0 30 1 * * *", "America/New_York", "2027-11-07 00:00", "2027-11-07 12:00") == ["07 01:30:00 -0400"]


@pytest.mark.parametrize(
    ("line", "tz", "named"),
    [
        ("61 * * * *", "UTC", "minute"),
        ("* 25 * * *", "UTC", "hour"),
        ("0 0 31 2 *", "UTC", "day-of-month"),
        ("0 0 * FOO *", "UTC", "month"),
        ("0 0 * * 8", "UTC", "day-of-week"),
        ("99 * * * * *", "UTC", "second"),
        ("* * * *", "UTC", "4 fields"),
        ("", "UTC", "0 fields"),
        ("*/0 * * * *", "UTC", "minute"),
        ("0 0 29 2 MON#6", "UTC", "day-of-week"),
        ("* * * * *", "Europe/Pariss", "Europe/Paris"),
        ("* * * * *", "", "tz"),
        ("* * * * *", "../etc", "tz"),
    ],
)
def test_what_cannot_be_is_refused_by_name(line: str, tz: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        cron(line, tz=tz)
