"""Jobs that go through many things: how far they are, and what is known of them when their server is gone."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskbus.history.history import History
from taskbus.history.opening import open_history
from taskbus.steering.jobs import SILENT_AFTER, Jobs, Step
from taskbus.steering.refusal import NotThere, Refusal
from taskbus.testing.clock import MovableClock


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock(1_800_000_000.0)


@pytest.fixture
def history(tmp_path: Path, clock: MovableClock) -> Iterator[History]:
    opened = open_history(f"sqlite:///{tmp_path}/history.db", clock)
    yield opened
    opened.close()


class Steps:
    """Work of which each step waits until it may be done."""

    def __init__(self) -> None:
        self.may_go, self.is_at = threading.Event(), threading.Event()

    def __call__(self) -> Iterator[Step]:
        yield Step(done=2)
        yield Step(failed=1, error="t1: refused")
        self.is_at.set()
        assert self.may_go.wait(30)
        yield Step(done=1)


def test_a_job_that_has_ended_is_known_to_the_next_server(history: History, clock: MovableClock) -> None:
    jobs, steps = Jobs(clock, history), Steps()
    steps.may_go.set()
    started = jobs.start("replay", steps, total=4, where="task:mail.*", by="ann")
    jobs.close()
    (known,) = Jobs(clock, history).list()
    assert known == jobs.get(started.id) == Jobs(clock, history).get(started.id)
    assert (known.done, known.failed, known.by, known.where) == (3, 1, "ann", "task:mail.*")
    assert (known.state, known.error, known.ended_at) == ("done", "t1: refused", clock())


def test_a_job_whose_server_died_is_told_of_as_interrupted_with_what_was_done(
    history: History, clock: MovableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that is held up stands for the process that is gone: it says nothing more to the history."""
    monkeypatch.setattr("taskbus.steering.jobs.KEEP_EVERY", 0.0)
    jobs, steps = Jobs(clock, history), Steps()
    started = jobs.start("purge", steps, total=4, by="ann")
    assert steps.is_at.wait(30)
    later = Jobs(clock, history)
    assert later.get(started.id).state == "running"
    with pytest.raises(Refusal, match="runs in another server"):
        later.cancel(started.id)

    clock.advance(SILENT_AFTER + 1)
    (known,) = later.list()
    assert (known.state, known.done, known.failed) == ("failed", 2, 1)
    assert known.error == "interrupted: its server ended; t1: refused"
    assert later.cancel(started.id).state == "failed", "there is nothing to cancel"
    stored = history.job(started.id)
    assert stored is not None and stored.state == "failed", "retention never takes one that runs"

    steps.may_go.set()
    jobs.close()
    assert Jobs(clock, history).get(started.id).state == "done", "it was alive after all, and its word counts"


def test_a_history_that_is_away_holds_up_no_job(
    history: History, clock: MovableClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    history.close()
    for file in tmp_path.iterdir():
        file.unlink()
    tmp_path.joinpath("history.db").mkdir()
    jobs, steps = Jobs(clock, history), Steps()
    steps.may_go.set()
    started = jobs.start("purge", steps, total=4)
    jobs.close()
    assert jobs.get(started.id).done == 3
    assert "the history cannot be told" in caplog.text


def test_without_a_history_jobs_are_known_to_their_own_server_alone(clock: MovableClock) -> None:
    jobs, steps = Jobs(clock), Steps()
    steps.may_go.set()
    started = jobs.start("purge", steps, total=4)
    jobs.close()
    assert [job.id for job in jobs.list()] == [started.id]
    with pytest.raises(NotThere, match="there is no job"):
        Jobs(clock).get(started.id)
