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
