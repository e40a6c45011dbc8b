"""What is said of schedules at run time, where it cannot be, or where applications meet; by a moved clock."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskbus import TaskBus, every
from taskbus.beat.beat import Beat
from taskbus.errors import ConfigError
from taskbus.schedule.spec import from_text
from taskbus.testing.clock import START, MovableClock


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock(START)


@pytest.fixture
def app(tmp_path: Path, clock: MovableClock) -> Iterator[TaskBus]:
    with made("shop", tmp_path, clock) as app:
        yield app


def made(name: str, folder: Path, clock: MovableClock) -> TaskBus:
    """An application with one task, on the database of this test."""
    app = TaskBus(name, broker=f"sqlite:///{folder}/book.db", clock=clock)
    app.task(name="add")(lambda a: a)
    return app


def start_beat(app: TaskBus) -> None:
    Beat(app.schedules.places(), list(app.schedules.declared.values()), app.name).turn()


def test_a_span_that_ends_before_it_starts_is_not_filled(app: TaskBus) -> None:
    app.schedules.add("hourly", app.tasks["add"].s(1), every(3600, anchor=0))
    for end in (START - 7200, START - 3600):
        with pytest.raises(ConfigError, match="end"):
            app.schedules.backfill("hourly", START - 3600, end)


@pytest.mark.parametrize("seconds", [0, -5])
def test_a_run_that_would_be_over_before_it_starts_is_refused(app: TaskBus, seconds: float) -> None:
    with pytest.raises(ConfigError, match="expires"):
        app.schedule("late", app.tasks["add"].s(1).options(expires=seconds), every(60))


def test_a_name_that_two_applications_use_is_told_of(
    app: TaskBus, tmp_path: Path, clock: MovableClock, caplog: pytest.LogCaptureFixture
) -> None:
    app.schedule("cleanup", app.tasks["add"].s(1), every(60))
    start_beat(app)
    with made("other", tmp_path, clock) as other, caplog.at_level(logging.WARNING):
        other.schedule("cleanup", other.tasks["add"].s(2), every(60))
        app.schedules.places().schedules.resign(app.schedules.places().schedules.leader())
        start_beat(other)
    assert "'cleanup'" in caplog.text and "'shop'" in caplog.text and "'other'" in caplog.text


def test_what_an_application_that_is_no_more_left_behind_can_be_removed(
    app: TaskBus, tmp_path: Path, clock: MovableClock
) -> None:
    app.schedule("left behind", app.tasks["add"].s(1), every(60))
    start_beat(app)
    with pytest.raises(ConfigError, match="in the code"):
        app.schedules.remove("left behind", owner_is_gone=True)
    with made("renamed", tmp_path, clock) as renamed:
        with pytest.raises(ConfigError, match="owner-is-gone"):
            renamed.schedules.remove("left behind")
        renamed.schedules.remove("left behind", owner_is_gone=True)
        assert renamed.schedules.list() == []


def test_a_name_may_be_long_and_in_any_script(app: TaskBus, clock: MovableClock) -> None:
    name = "夜" * 200
    app.schedules.add(name, app.tasks["add"].s(1), every(60))
    start_beat(app)
    clock.advance(60)
    start_beat(app)
    assert app.schedules.get(name).name == name
    with pytest.raises(ConfigError, match="1 to 200"):
        app.schedules.add(name + "x", app.tasks["add"].s(1), every(60))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('{"kind":"any_of"}', "members"),
        ('{"kind":"any_of","members":5}', "any_of"),
        ('{"kind":"every","interval":60,"start":"2027-01-01"}', "start"),
        ('{"kind":"every","interval":60,"end":true}', "end"),
        ('{"kind":"every","interval":60,"anchor":"2027-01-01"}', "anchor"),
        ('{"kind":"every","interval":60,"anchor":NaN}', "anchor"),
        ('{"kind":"every","interval":"60"}', "interval"),
        ('{"kind":"every","interval":60,"jitter":"1"}', "jitter"),
        ('{"kind":"at","time":"2027-01-01"}', "time"),
        ('{"kind":"at","time":Infinity}', "time"),
        ('{"kind":"solar","event":"sunset","latitude":1,"longitude":2,"offset":"x"}', "offset"),
        ('{"kind":"cron","line":"* * * * *","tz":5}', "tz"),
    ],
)
def test_a_text_with_a_field_that_cannot_be_is_refused_by_its_name(text: str, named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_text(text)
    assert named in str(caught.value).replace(text, "")
