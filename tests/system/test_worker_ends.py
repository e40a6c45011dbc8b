"""Runners and workers that die or are told to stop: who is harmed, what is given back, how soon it runs again."""

import os
import signal
import time
from pathlib import Path

import pytest
import sample
from evidence import letters, lines
from worker_process import StartWorker, is_alive, wait_until

from taskbus import State, TaskBus, as_completed
from taskbus.outcome import Reason
from taskbus.store.base import Filter


def test_a_runner_that_dies_is_replaced_and_its_task_runs_again_within_a_second(
    bus: TaskBus, start_worker: StartWorker, tmp_path: Path
) -> None:
    start_worker("-c", "1")
    assert sample.add.delay(1, 1).get(timeout=15) == 2
    started = time.monotonic()
    token = sample.dies_once.delay(str(tmp_path / "ran")).get(timeout=15)
    assert time.monotonic() - started < 1.5
    first, second = map(int, lines(tmp_path / "ran"))
    assert first < second == token


def test_a_task_that_kills_three_runners_is_poison_and_harms_nobody_else(
    bus: TaskBus, start_worker: StartWorker, tmp_path: Path
) -> None:
    worker = start_worker("-c", "2")
    with bus.batch():
        before = [sample.add.delay(i, 1) for i in range(50)]
        sample.dies.delay(str(tmp_path / "ran"), signal.SIGSEGV)
        after = [sample.add.delay(i, 1) for i in range(50)]
    for done in as_completed([*before, *after], timeout=20):
        done.get()
    (letter,) = letters(bus)
    assert letter.reason is Reason.POISON and "SIGSEGV" in letter.failure.message
    assert len(lines(tmp_path / "ran")) == 3
    assert is_alive(worker.pid)
    assert bus.store.count_dead_letters(Filter()) == 1


@pytest.mark.parametrize(
    ("pool", "poison", "neighbour"),
    [
        (("--processes", "1"), sample.adies_later, sample.asleep),
        (("-P", "threads", "-c", "6"), sample.dies_later, sample.sleep),
        (("--processes", "2"), sample.dies_later, sample.asleep),
    ],
    ids=["coroutines", "threads", "both"],
)
def test_poison_harms_nobody_who_runs_beside_it(
    bus: TaskBus, start_worker: StartWorker, tmp_path: Path, pool: tuple[str, ...], poison, neighbour
) -> None:
    worker = start_worker(*pool)
    with bus.batch():
        good = [neighbour.delay(str(tmp_path / f"good{i}"), 0.5) for i in range(3)]
        evil = poison.delay(str(tmp_path / "evil"))
    for done in as_completed(good, timeout=20):
        done.get()
    (letter,) = letters(bus)
    assert (letter.task_id, letter.reason) == (evil.id, Reason.POISON)
    assert len(lines(tmp_path / "evil")) <= 4
    assert is_alive(worker.pid)


def test_a_failing_task_is_told_in_the_log(bus: TaskBus, start_worker: StartWorker, tmp_path: Path) -> None:
    worker = start_worker("-c", "1")
    result = sample.flaky.delay(str(tmp_path / "ran"), 99)
    letters(bus)
    wait_until(lambda: "dlq show" in worker.log.read_text())
    log = worker.log.read_text()
    assert f"sample.flaky {result.id} failed in attempt 1: builtins.ValueError: attempt 1; again in 0.0 s" in log
    assert f"sample.flaky {result.id} is dead (retries_exhausted): builtins.ValueError: attempt 3" in log
    assert f"taskbus dlq show {result.id}" in log


def test_an_at_most_once_task_is_not_run_again_after_a_crash(
    bus: TaskBus, start_worker: StartWorker, tmp_path: Path
) -> None:
    start_worker("-c", "1")
    assert sample.once.delay(str(tmp_path / "well")).get(timeout=15) == "done"
    sample.once.delay(str(tmp_path / "ill"), dies=True)
    assert letters(bus)[0].reason is Reason.POISON
    assert sample.add.delay(1, 1).get(timeout=15) == 2
    assert lines(tmp_path / "ill") == ["ran"]


def test_a_runner_is_replaced_after_max_tasks(bus: TaskBus, start_worker: StartWorker, tmp_path: Path) -> None:
    start_worker("-c", "1", "--max-tasks-per-runner", "3")
    results = [sample.where.delay(str(tmp_path / "ran")) for _ in range(9)]
    pids = [done.get()[0] for done in as_completed(results, timeout=30)]
    assert sorted(pids.count(pid) for pid in set(pids)) == [3, 3, 3]
    assert len(lines(tmp_path / "ran")) == 9


def test_a_runner_that_grows_too_big_is_replaced_between_tasks(bus: TaskBus, start_worker: StartWorker) -> None:
    worker = start_worker("-c", "1", "--max-memory-per-runner", "150M")
    pid = sample.grows.delay(200).get(timeout=15)
    wait_until(lambda: not is_alive(pid), what="the big runner has left")
    assert sample.add.delay(1, 1).get(timeout=15) == 2
    assert is_alive(worker.pid)


def test_killing_the_supervisor_ends_every_process_below_it(bus: TaskBus, start_worker: StartWorker) -> None:
    worker = start_worker("-c", "2")
    assert sample.add.delay(1, 1).get(timeout=15) == 2
    below = worker.children()
    assert len(below) == 3
    os.kill(worker.pid, signal.SIGKILL)
    wait_until(lambda: not any(is_alive(pid) for pid in below), timeout=2.0, what="no orphan is left")


def test_killing_the_runners_server_costs_nothing_but_time(
    bus: TaskBus, start_worker: StartWorker, tmp_path: Path
) -> None:
    worker = start_worker("-c", "1")
    result = sample.sleep.delay(str(tmp_path / "ran"), 0.5)
    wait_until(lambda: lines(tmp_path / "ran"))
    os.kill(worker.children()[0], signal.SIGKILL)
    result.wait(timeout=15)
    assert lines(tmp_path / "ran") == ["start", "start", "end"]


def test_a_stopped_worker_finishes_what_runs_and_gives_back_the_rest(
    bus: TaskBus, start_worker: StartWorker, tmp_path: Path
) -> None:
    worker = start_worker("-c", "1")
    running = sample.sleep.delay(str(tmp_path / "ran"), 1.0)
    wait_until(lambda: lines(tmp_path / "ran"))
    waiting = sample.record.delay(str(tmp_path / "later"), "later")
    assert worker.stop() == 0
    assert running.state is State.SUCCESS
    assert lines(tmp_path / "later") == []
    start_worker("-c", "1")
    waiting.get(timeout=15)


def test_a_long_task_hears_of_the_stop(bus: TaskBus, start_worker: StartWorker, tmp_path: Path) -> None:
    worker = start_worker("-c", "1")
    result = sample.wait_for_stop.delay(str(tmp_path / "ran"))
    wait_until(lambda: lines(tmp_path / "ran"))
    assert worker.stop() == 0
    assert result.get(timeout=5) == "saw it"


@pytest.mark.parametrize("task", [sample.sleep, sample.asleep], ids=["def", "async"])
def test_after_the_grace_period_a_task_is_given_back_at_once(
    bus: TaskBus, start_worker: StartWorker, tmp_path: Path, task
) -> None:
    worker = start_worker("-c", "1", "--grace", "0.3")
    task.delay(str(tmp_path / "ran"), 30.0)
    wait_until(lambda: lines(tmp_path / "ran"))
    assert worker.stop(timeout=5.0) == 0
    (queue,) = [size for size in bus.broker.queues() if size.name == "default"]
    assert (queue.ready, queue.running) == (1, 0)
    (delivery,) = bus.broker.peek("default", 10)
    assert (delivery.crashes, delivery.losses) == (0, 0)


def test_a_second_signal_stops_at_once(bus: TaskBus, start_worker: StartWorker, tmp_path: Path) -> None:
    worker = start_worker("-c", "1")
    sample.sleep.delay(str(tmp_path / "ran"), 30.0)
    wait_until(lambda: lines(tmp_path / "ran"))
    worker.process.send_signal(signal.SIGTERM)
    wait_until(lambda: "stopping" in worker.log.read_text())
    assert worker.stop(signal.SIGTERM, timeout=5.0) == 1
    (delivery,) = bus.broker.peek("default", 10)
    assert (delivery.crashes, delivery.losses) == (0, 0)


def test_a_worker_whose_database_is_deleted_says_so_and_leaves(bus: TaskBus, start_worker: StartWorker) -> None:
    worker = start_worker("-c", "1")
    assert sample.add.delay(1, 1).get(timeout=15) == 2
    for path in Path(bus.broker_url.removeprefix("sqlite:///")).parent.glob("bus.db*"):
        path.unlink()
    assert worker.process.wait(20) == 1
    assert "was deleted or replaced while in use" in worker.log.read_text()
    assert "Traceback" not in worker.log.read_text()
