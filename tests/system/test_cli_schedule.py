"""``taskbus schedule``: what a user sees, and changes, while nothing else runs."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sample_schedules as sample
from cli_runs import Run, taskbus

from taskbus import TaskBus
from taskbus.beat.beat import Beat
from taskbus.cli.exits import FAILED, NOT_FOUND, USAGE


@pytest.fixture
def app(tmp_path: Path) -> Iterator[TaskBus]:
    with TaskBus("sample_schedules", broker=f"sqlite:///{tmp_path}/taskbus.db") as app:
        for task in sample.app.tasks.values():
            app._adopt(task)
        app.schedule("yearly", sample.report.s("north"), sample.cron("0 0 1 1 *", tz="Europe/Paris"))
        Beat(app.schedules.places(), list(app.schedules.declared.values()), app.name).turn()
        yield app


def schedule(*arguments: object) -> Run:
    return taskbus("schedule", *arguments)


def add(*arguments: object) -> Run:
    return taskbus("schedule", "add", "-A", "sample_schedules:app", *arguments)


def test_all_schedules_are_listed_with_their_origin(app: TaskBus, tmp_path: Path) -> None:
    assert add("mine", "sample_schedules.report", "east", "width=3", "--every", 60).status == 0
    listed = schedule("list", "-o", "json").json
    assert listed["database"] == f"sqlite:///{tmp_path}/taskbus.db"
    assert {item["name"]: item["origin"] for item in listed["items"]} == {
        "mine": "store", "sample_schedules.often": "code", "yearly": "code",
    }  # fmt: skip
    table = schedule("list")
    assert "cron '0 0 1 1 *' Europe/Paris" in table.out and "every 60 s" in table.out


def test_one_is_shown_paused_run_and_removed(app: TaskBus) -> None:
    add("mine", "sample_schedules.report", "east", "--cron", "0 9 * * *", "--tz", "Europe/Rome")
    assert schedule("pause", "mine").status == 0
    assert "paused" in schedule("show", "mine").out
    assert schedule("resume", "mine").status == 0
    task_id = schedule("run", "mine").out.strip()
    shown = schedule("show", "mine", "-o", "json").json
    assert [run["task_id"] for run in shown["runs"]] == [task_id] and not shown["is_paused"]
    assert [size.ready for size in app.broker.queues()] == [1]
    assert schedule("remove", "mine", "--yes").status == 0
    assert schedule("show", "mine").status == NOT_FOUND
    refused = schedule("remove", "yearly", "--yes")
    assert refused.status == NOT_FOUND and "in the code" in refused.err


def test_next_shows_local_time_and_utc(app: TaskBus) -> None:
    shown = schedule("next", "yearly", "--count", 2)
    assert shown.out.count("-01-01 00:00:00+01:00") == 2 and "-12-31 23:00:00Z" in shown.out
    items = schedule("next", "yearly", "--count", 3, "-o", "jsonl").lines
    assert [item["scheduled_at"] for item in items] == [item["due_at"] for item in items] and len(items) == 3


def test_backfill_sends_what_did_not_run(app: TaskBus) -> None:
    add("hourly", "sample_schedules.report", "east", "--every", 3600, "--anchor", "2027-01-01T00:00Z")
    filled = schedule("backfill", "hourly", "2020-01-01T00:00Z", "2020-01-01T05:00Z", "--yes")
    assert filled.out.split()[:2] == ["2020-01-01", "00:00:00Z"] and len(filled.out.splitlines()) == 5
    assert schedule("backfill", "hourly", "2020-01-01T00:00Z", "2020-01-01T06:00Z", "--yes", "-o", "json").json[
        "items"
    ] == [1577854800.0]


def test_times_without_a_zone_are_in_the_one_that_is_given(app: TaskBus) -> None:
    tokyo = ("--tz", "Asia/Tokyo")
    once = add("once", "sample_schedules.report", "east", *tokyo, "--at", "2040-01-01T09:00", "-o", "json")
    assert once.json["next_at"] == 2208988800.0
    late = add("late", "sample_schedules.report", "east", *tokyo, "--cron", "@daily", "--start", "20400101")
    assert "2040-01-01 00:00:00+09:00" in late.out
    assert "start 2040-01-01 00:00:00+09:00" in schedule("show", "late").out


def test_a_span_to_fill_is_in_the_schedules_zone_and_may_be_looked_at_first(app: TaskBus) -> None:
    span = ("yearly", "2019-01-01", "2020-01-01")
    looked = schedule("backfill", *span, "--dry-run")
    assert looked.out.splitlines() == ["2019-01-01 00:00:00+01:00"] and "Would send 1 run" in looked.err
    assert sum(size.ready for size in app.broker.queues()) == 0
    assert schedule("backfill", *span, "--yes").out == looked.out
    refused = schedule("backfill", "yearly", "2020-01-01", "2019-01-01", "--yes")
    assert refused.status == USAGE and "is not after" in refused.err


def test_the_schedules_of_the_code_are_shown_where_nothing_was_ever_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_app = ("-A", "sample_schedules:app", "-b", f"sqlite:///{tmp_path}/new.db")
    assert schedule("list", *with_app[2:]).status == NOT_FOUND
    assert "when a beat starts" in schedule("list", *with_app).out
    assert schedule("next", "yearly", "--count", 1, *with_app).out.count("-01-01 00:00:00+01:00") == 1
    assert "no beat knows it yet" in schedule("show", "yearly", *with_app).out


def test_what_is_left_of_an_application_that_is_no_more_is_removed(app: TaskBus) -> None:
    assert "--owner-is-gone" in schedule("remove", "yearly", "--yes").err
    assert schedule("remove", "yearly", "--yes", "--owner-is-gone").status == 0
    assert schedule("show", "yearly").status == NOT_FOUND


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("x", "sample_schedules.report", "east"), USAGE, "say when"),
        (("x", "sample_schedules.report", "--every", "5"), USAGE, "region"),
        (("x", "sample_schedules.report", "east", "--cron", "61 * * * *"), USAGE, "minute"),
        (("x", "sample_schedules.report", "east", "--cron", "* * * * *", "--tz", "Mars"), USAGE, "tz='Mars'"),
        (("x", "sample_schedules.reprt", "east", "--every", "5"), NOT_FOUND, "sample_schedules.report"),
        (("x", "sample_schedules.report", "east", "--at", "2001-01-01"), USAGE, "no time after now"),
        (("x", "sample_schedules.report", "east", "--at", "soon"), USAGE, "ISO 8601"),
        (("yearly", "sample_schedules.report", "east", "--every", "5", "--replace"), USAGE, "in the code"),
        (("x", "sample_schedules.report", "east", "--solar", "sunset"), USAGE, "--place"),
        (("x", "sample_schedules.report", "east", "--every", "5", "--place", "1", "2"), USAGE, "--solar"),
        (("x", "sample_schedules.report", "east", "--cron", "@daily", "--anchor", "0"), USAGE, "--every"),
        (("x", "sample_schedules.report", "east", "--every", "5", "--expires", "-1"), USAGE, "expires"),
        (("x", "sample_schedules.report", "east", "--every", "5", "--start", "20301331"), USAGE, "--start"),
        (("x", "sample_schedules.report", "east", "--timetable", '{"kind":"at","time":"soon"}'), USAGE, "time='soon'"),
        (("x", "sample_schedules.report", "east", "--timetable", '{"kind":"any_of"}'), USAGE, "members"),
    ],
)
def test_what_cannot_be_is_refused_with_the_field(
    app: TaskBus, arguments: tuple[str, ...], status: int, said: str
) -> None:
    refused = add(*arguments)
    assert (refused.status, said in refused.err) == (status, True), refused.err
    assert refused.status != FAILED and {info.name for info in app.schedules.list()} == {
        "sample_schedules.often", "yearly",
    }  # fmt: skip


def test_it_is_said_that_nobody_sends(app: TaskBus) -> None:
    app.clock = lambda: 0.0
    store = app.schedules.places().schedules
    row = store.read(["yearly"])["yearly"]
    store.save(row._replace(due_at=1000.0))
    assert "Is a beat running?" in schedule("list").err
