"""Processes that tasks start: forked ones and programs. They work as anywhere else, and none is left behind."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import sample
from runner_rig import Rig
from worker_process import StartWorker, Worker, is_alive, wait_until

from taskbus import AsyncResult, Task, TaskBus


def pid_in(path: Path) -> int:
    wait_until(lambda: path.exists() and path.read_text().endswith("\n"), what=f"a pid in {path}")
    return int(path.read_text().split()[0])


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Path]:
    """Where a task's processes note their pids; what is left behind is killed after the test."""
    path = tmp_path / "child"
    yield path
    for pid in map(int, path.read_text().split() if path.exists() else ()):
        if is_alive(pid):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("pool", ["prefork", "threads"])
@pytest.mark.parametrize("task", [sample.squares, sample.asquares], ids=["def", "async def"])
def test_a_pool_of_processes_works_inside_a_task(
    bus: TaskBus, start_worker: StartWorker, pool: str, task: Task[[list[int]], list[int]]
) -> None:
    start_worker("-P", pool, "-c", "1")
    assert task.delay([1, 2, 3]).get(timeout=15) == [1, 4, 9]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 1)])
def test_a_signal_ends_a_process_that_a_task_has_forked(
    bus: TaskBus, start_worker: StartWorker, child: Path, number: int, code: int
) -> None:
    start_worker("-c", "1")
    assert sample.terminates.delay(str(child), number).get(timeout=15) == code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_forked_process_outlives_its_worker(
    bus: TaskBus, start_worker: StartWorker, child: Path, number: int
) -> None:
    worker = start_worker("-c", "1")
    sample.leaves_behind.delay(str(child)).get(timeout=15)
    family = [*worker.children(), pid_in(child)]
    assert all(map(is_alive, family))
    worker.stop(number)
    wait_until(lambda: not any(map(is_alive, family)), what="the end of every process")


def test_a_forked_process_outlives_the_thread_that_forked_it(
    bus: TaskBus, start_worker: StartWorker, child: Path
) -> None:
    start_worker("-c", "1")
    sample.leaves_behind.delay(str(child), in_thread=True).get(timeout=15)
    sample.add.delay(1, 1).get(timeout=15)
    assert is_alive(pid_in(child))


@pytest.mark.parametrize("task", [sample.becomes_a_daemon, sample.starts_a_service])
def test_a_process_with_a_session_of_its_own_is_a_daemon_and_stays(
    bus: TaskBus, start_worker: StartWorker, child: Path, task: Task[[str], None]
) -> None:
    worker = start_worker("-c", "1")
    task.delay(str(child)).get(timeout=15)
    assert worker.stop() == 0
    assert is_alive(pid_in(child))


def test_a_forked_process_holds_neither_the_link_nor_the_board_of_its_runner(child: Path) -> None:
    with Rig(app="sample:app") as rig:
        rig.frame("ready")
        runner = rig.fork()
        runner.call(sample.leaves_behind, str(child), True)
        pid = pid_in(child)
        try:
            held = [os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()]
            assert not [name for name in held if "taskbus-board" in name]
            rig.process.send_signal(signal.SIGSTOP)  # it would end the forked process along with its runner
            os.kill(runner.pid, signal.SIGKILL)
            runner.wait_for_the_end()
            assert is_alive(pid)
        finally:
            rig.process.send_signal(signal.SIGCONT)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)  # it holds the pipe that the rig reads


@pytest.mark.parametrize("task", [sample.comes_back_from_a_fork, sample.acomes_back_from_a_fork])
def test_a_fork_that_comes_back_from_its_task_leaves_and_reports_nothing(
    bus: TaskBus, start_worker: StartWorker, tmp_path: Path, task: Task[[str], str]
) -> None:
    worker = start_worker("-c", "1")
    assert task.delay(str(tmp_path / "status")).get(timeout=15) == "from the parent"
    assert (tmp_path / "status").read_text() == "1\n"
    assert "end it with os._exit()" in worker.log.read_text()
    assert sample.add.delay(1, 1).get(timeout=15) == 2


# --- Ctrl-C ------------------------------------------------------------------------------------------------------


def started(worker: Worker, path: Path) -> tuple[AsyncResult[int], int]:
    """A program that a task runs, and its pid."""
    result = sample.runs.delay(str(path), "sleep", "1.5")
    return result, pid_in(path)


def test_ctrl_c_lets_a_task_finish_the_program_it_runs(bus: TaskBus, start_worker: StartWorker, child: Path) -> None:
    worker = start_worker("-c", "1")
    result, pid = started(worker, child)
    os.killpg(worker.pid, signal.SIGINT)  # what a terminal does to its foreground group
    assert worker.process.wait(20) == 0
    assert result.get(timeout=5) == 0
    assert not is_alive(pid)


def test_a_stop_at_once_ends_the_programs_that_tasks_run(bus: TaskBus, start_worker: StartWorker, child: Path) -> None:
    worker = start_worker("-c", "1")
    sample.runs.delay(str(child), "sleep", "600")
    pid = pid_in(child)
    worker.stop(signal.SIGQUIT)
    wait_until(lambda: not is_alive(pid), what="the program's end")


def test_a_program_ends_with_the_runner_that_its_task_loses(
    bus: TaskBus, start_worker: StartWorker, child: Path
) -> None:
    worker = start_worker("-c", "1")
    sample.runs.delay(str(child), "sleep", "600")
    pid = pid_in(child)
    os.kill(worker.runners()[0], signal.SIGKILL)
    wait_until(lambda: not is_alive(pid), what="the program's end")


def test_a_stop_in_good_order_leaves_alone_what_a_task_has_left_running(
    bus: TaskBus, start_worker: StartWorker, child: Path
) -> None:
    worker = start_worker("-c", "1")
    sample.leaves_a_program.delay(str(child)).get(timeout=15)
    assert worker.stop() == 0
    assert is_alive(pid_in(child))


def test_a_task_has_no_terminal_to_stop_at(bus: TaskBus, start_worker: StartWorker, child: Path) -> None:
    worker = start_worker("-c", "1")
    started(worker, child)
    assert {os.getsid(pid) for pid in worker.children()} == {worker.children()[0]}


def test_killing_the_supervisors_group_takes_everything_down(
    bus: TaskBus, start_worker: StartWorker, child: Path
) -> None:
    worker = start_worker("-c", "2")
    sample.leaves_behind.delay(str(child)).get(timeout=15)
    family = [*worker.children(), pid_in(child)]
    os.killpg(worker.pid, signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, family)), what="the end of every process")
