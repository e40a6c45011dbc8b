"""Time limits in real runners, in each kind of slot; what a task does not obey is on the board for the supervisor."""

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
import runner_app
from runner_rig import Rig, Runner, job
from worker_process import wait_until

from taskbus import Task
from taskbus.outcome import Dead, Reason


@pytest.fixture
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    with Rig("--threads", str(getattr(request, "param", 0)), "--coroutines", "4") as started:
        started.frame("ready")
        yield started


def times_out(runner: Runner, task: Task[..., Any]) -> None:
    one = job(task)
    runner.run(one)
    outcome = runner.outcome(one)
    assert isinstance(outcome, Dead)
    assert outcome.reason is Reason.TIME_LIMIT
    assert "time_limit of 0.1 s" in outcome.failure.message


@pytest.mark.parametrize("task", [runner_app.spin, runner_app.oversleep, runner_app.aoversleep])
def test_a_task_in_the_main_thread_or_a_coroutine_is_ended_in_place(rig: Rig, task: Task[..., Any]) -> None:
    runner = rig.fork(slots=5)
    for _ in range(3):
        times_out(runner, task)
    assert runner.call(runner_app.add, 1, 2) == 3
    assert runner.call(runner_app.aadd, 1, 2) == 3
    assert runner.board.running() == []


@pytest.mark.parametrize("rig", [2], indirect=True)
def test_a_busy_thread_is_ended_in_place(rig: Rig) -> None:
    runner = rig.fork(slots=6)
    for _ in range(3):
        times_out(runner, runner_app.spin)
    assert runner.call(runner_app.add, 1, 2) == 3


@pytest.mark.parametrize("rig", [0, 2], indirect=True)
def test_the_soft_limit_lets_a_task_clean_up(rig: Rig) -> None:
    runner = rig.fork(slots=6)
    for task in (runner_app.clean_up, runner_app.aclean_up):
        assert runner.call(task) == "cleaned up"


@pytest.mark.parametrize(
    ("rig", "task"),
    [(0, runner_app.swallow), (0, runner_app.aswallow), (2, runner_app.swallow), (2, runner_app.oversleep)],
    indirect=["rig"],
)
def test_a_task_that_does_not_obey_stays_on_the_board_and_is_judged_by_another_runner(
    rig: Rig, task: Task[..., Any]
) -> None:
    runner, other = rig.fork(slots=6), rig.fork(slots=6)
    stuck = job(task)
    begun = time.monotonic()
    runner.run(stuck)
    wait_until(lambda: time.monotonic() - begun > 0.3)
    (entry,) = runner.board.running()
    assert entry.tag == stuck.tag
    assert begun <= entry.started < begun + 0.3
    os.kill(runner.pid, signal.SIGKILL)
    assert rig.how_it_left(runner) == "signal 9 (SIGKILL)"
    runner.wait_for_the_end()
    other.send("judge", stuck, "time_limit")
    outcome = other.outcome(stuck)
    assert isinstance(outcome, Dead)
    assert outcome.reason is Reason.TIME_LIMIT
