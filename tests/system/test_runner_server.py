"""The runners' server and its runners, as real processes; the test plays the supervisor."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import runner_app
from runner_rig import Rig, job
from worker_process import is_alive, wait_until

from taskbus.outcome import Dead, Reason


@pytest.fixture
def rig() -> Iterator[Rig]:
    with Rig() as started:
        started.frame("ready")
        yield started


def touched(path: str) -> None:
    wait_until(lambda: Path(f"{path}.started").exists(), what=f"{path}.started")


def test_the_server_says_what_it_has_imported() -> None:
    with Rig() as rig:
        hello = rig.frame("ready")[1]
    assert hello["app"] == "runners"
    assert hello["broker"] == hello["results"] == "memory://runners"
    assert hello["config"]["coroutines"] == 100
    assert hello["tasks"]["runner_app.aoversleep"] == {
        "is_async": True,
        "time_limit": 0.1,
        "at_most_once": False,
        "queue": "default",
        "store_results": True,
        "result_ttl": 86_400.0,
        "takes": 0,
        "parameters": [],
    }


def test_a_runner_runs_functions_and_coroutines(rig: Rig) -> None:
    runner = rig.fork()
    jobs = [job(task, number, 1) for number in range(40) for task in (runner_app.add, runner_app.aadd)]
    runner.run(*jobs)
    assert [runner.value(one) for one in jobs] == [number + 1 for number in range(40) for _ in range(2)]
    wait_until(lambda: runner.board.running() == [])


def test_functions_run_in_the_main_thread_of_a_fork_of_the_server(rig: Rig) -> None:
    runner = rig.fork()
    assert runner.call(runner_app.whereabouts) == [runner.pid, rig.process.pid, "MainThread"]


def test_thread_slots_run_functions_side_by_side(tmp_path: Path) -> None:
    with Rig("--threads", "3", "--coroutines", "5") as rig:
        rig.frame("ready")
        runner = rig.fork(slots=8)
        jobs = [job(runner_app.hold, f"{tmp_path}/{number}") for number in range(3)]
        runner.run(*jobs)
        for number in range(3):
            touched(f"{tmp_path}/{number}")
        assert {entry.tag for entry in runner.board.running()} == {one.tag for one in jobs}
        for number in range(3):
            Path(f"{tmp_path}/{number}").touch()
        assert [runner.value(one) for one in jobs] == ["released"] * 3
        assert runner.call(runner_app.whereabouts)[2].startswith("taskbus-slot-")
        assert runner.call(runner_app.aadd, 1, 2) == 3


def test_a_killed_runner_is_reported_with_its_signal_and_replaced_at_will(rig: Rig) -> None:
    runner, other = rig.fork(), rig.fork()
    os.kill(runner.pid, signal.SIGKILL)
    assert rig.how_it_left(runner) == "signal 9 (SIGKILL)"
    assert other.call(runner_app.add, 1, 2) == 3
    assert rig.fork().call(runner_app.add, 2, 2) == 4


@pytest.mark.parametrize(
    ("task", "argument", "how"),
    [(runner_app.die, signal.SIGSEGV, "signal 11 (SIGSEGV)"), (runner_app.leave, 3, "exit status 3")],
)
def test_a_task_that_ends_its_process_is_on_the_board(rig: Rig, task: object, argument: int, how: str) -> None:
    runner = rig.fork()
    one = job(task, argument)  # type: ignore[arg-type]
    runner.run(one)
    assert rig.how_it_left(runner) == how
    assert [(entry.slot, entry.tag) for entry in runner.board.running()] == [(0, one.tag)]


def test_what_has_not_started_can_be_recalled(rig: Rig, tmp_path: Path) -> None:
    runner = rig.fork()
    busy, *waiting = [job(runner_app.hold, f"{tmp_path}/go") for _ in range(4)]
    runner.run(busy, *waiting)
    touched(f"{tmp_path}/go")
    runner.send("recall")
    assert sorted(runner.frame("returned")[1]) == [one.tag for one in waiting]
    Path(f"{tmp_path}/go").touch()
    assert runner.value(busy) == "released"
    assert runner.call(runner_app.add, 1, 2) == 3


def test_coroutines_beyond_the_slots_wait_and_can_be_recalled(tmp_path: Path) -> None:
    with Rig("--coroutines", "2") as rig:
        rig.frame("ready")
        runner = rig.fork(slots=3)
        jobs = [job(runner_app.ahold, f"{tmp_path}/{number}") for number in range(4)]
        runner.run(*jobs)
        touched(f"{tmp_path}/0")
        touched(f"{tmp_path}/1")
        runner.send("recall")
        assert runner.frame("returned")[1] == [one.tag for one in jobs[2:]]
        assert sorted(entry.slot for entry in runner.board.running()) == [1, 2]
        Path(f"{tmp_path}/0").touch()
        Path(f"{tmp_path}/1").touch()
        assert [runner.value(one) for one in jobs[:2]] == ["released"] * 2


def test_a_stopped_runner_returns_what_waits_finishes_what_runs_and_leaves(rig: Rig, tmp_path: Path) -> None:
    runner = rig.fork()
    running, waiting = job(runner_app.until_stopped, f"{tmp_path}/a"), job(runner_app.add, 1, 2)
    beside = job(runner_app.ahold, f"{tmp_path}/b")
    runner.run(running, waiting, beside)
    touched(f"{tmp_path}/a")
    touched(f"{tmp_path}/b")
    runner.send("stop")
    assert runner.frame("returned")[1] == [waiting.tag]
    assert runner.value(running) is True
    assert is_alive(runner.pid)
    Path(f"{tmp_path}/b").touch()
    assert runner.value(beside) == "released"
    assert rig.how_it_left(runner) == ""


def test_an_idle_runner_leaves_when_told_to(rig: Rig) -> None:
    runner = rig.fork()
    runner.send("stop")
    assert runner.frame("returned")[1] == []
    assert rig.how_it_left(runner) == ""


def test_an_attempt_killed_elsewhere_is_judged_without_running_it(rig: Rig, tmp_path: Path) -> None:
    runner = rig.fork()
    busy = job(runner_app.hold, f"{tmp_path}/go")
    runner.run(busy)
    touched(f"{tmp_path}/go")
    killed = job(runner_app.spin)
    runner.send("judge", killed, "time_limit")
    outcome = runner.outcome(killed)
    assert isinstance(outcome, Dead)
    assert outcome.reason is Reason.TIME_LIMIT
    assert outcome.failure.type == "taskbus.errors.TimeLimitExceeded"
    Path(f"{tmp_path}/go").touch()


def test_a_report_does_not_wait_behind_a_long_task(rig: Rig, tmp_path: Path) -> None:
    runner = rig.fork()
    quick = [job(runner_app.add, 1, 2) for _ in range(10)]
    runner.run(*quick, job(runner_app.hold, f"{tmp_path}/go"))
    assert [runner.value(one) for one in quick] == [3] * 10
    assert not Path(f"{tmp_path}/go").exists()
    Path(f"{tmp_path}/go").touch()


def test_when_the_supervisor_is_gone_no_process_is_left(rig: Rig, tmp_path: Path) -> None:
    runners = [rig.fork() for _ in range(3)]
    runners[0].run(job(runner_app.hold, f"{tmp_path}/never"))
    runners[1].run(job(runner_app.swallow))
    touched(f"{tmp_path}/never")
    pids = [rig.process.pid, *(runner.pid for runner in runners)]
    rig.link.close()
    rig.process.wait(15)
    wait_until(lambda: not any(is_alive(pid) for pid in pids))


def test_a_runner_leaves_when_its_own_link_ends(rig: Rig, tmp_path: Path) -> None:
    runner = rig.fork()
    runner.run(job(runner_app.hold, f"{tmp_path}/never"))
    touched(f"{tmp_path}/never")
    runner.link.close()
    assert rig.how_it_left(runner) == "exit status 1"


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="only Linux tells a child that its parent died")
def test_runners_die_with_their_server(rig: Rig) -> None:
    runners = [rig.fork() for _ in range(2)]
    runners[0].run(job(runner_app.swallow))
    rig.process.kill()
    wait_until(lambda: not any(is_alive(runner.pid) for runner in runners))


def test_signals_for_the_whole_group_are_left_to_the_supervisor(rig: Rig, tmp_path: Path) -> None:
    runner = rig.fork()
    busy = job(runner_app.hold, f"{tmp_path}/go")
    runner.run(busy)
    touched(f"{tmp_path}/go")
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(runner.pid, number)
        os.kill(rig.process.pid, number)
    Path(f"{tmp_path}/go").touch()
    assert runner.value(busy) == "released"
    assert rig.fork().call(runner_app.add, 1, 2) == 3


def test_programs_that_tasks_start_obey_signals(rig: Rig) -> None:
    assert rig.fork().call(runner_app.child_obeys_sigterm) == -signal.SIGTERM


@pytest.mark.parametrize("start_method", ["forkserver", "spawn"])
def test_a_program_left_behind_does_not_hold_the_link_open(start_method: str) -> None:
    with Rig("--start-method", start_method) as rig:
        rig.frame("ready")
        runner = rig.fork()
        program = runner.call(runner_app.leave_a_program_behind)
        os.kill(runner.pid, signal.SIGKILL)
        try:
            runner.wait_for_the_end()
        finally:
            os.kill(program, signal.SIGKILL)


def test_runners_draw_different_random_numbers_and_read_no_terminal(rig: Rig) -> None:
    assert rig.fork().call(runner_app.draw) != rig.fork().call(runner_app.draw)
    assert rig.fork().call(runner_app.read_stdin) == ""


def test_an_exit_in_a_background_coroutine_stops_neither_loop_nor_runner(rig: Rig) -> None:
    runner = rig.fork()
    assert runner.call(runner_app.exit_in_the_background) == "alive"
    assert runner.call(runner_app.aadd, 1, 2) == 3


@pytest.mark.parametrize("point", ["runner.start", "runner.body_done", "runner.sent"])
def test_a_runner_can_be_made_to_die_at_each_step(point: str) -> None:
    with Rig(TASKBUS_FAILPOINTS=f"{point}:kill9@2") as rig:
        rig.frame("ready")
        runner = rig.fork()
        assert runner.call(runner_app.add, 1, 2) == 3
        one = job(runner_app.add, 1, 2)
        runner.run(one)
        assert rig.how_it_left(runner) == "signal 9 (SIGKILL)"
        assert [entry.tag for entry in runner.board.running()] == ([] if point == "runner.sent" else [one.tag])
