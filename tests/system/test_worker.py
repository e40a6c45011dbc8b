"""What a worker does with tasks, seen from outside: real processes on a SQLite file."""

import os
import signal
import time
from pathlib import Path

import pytest
import sample
from conftest import StartWorker
from worker_process import Worker, is_alive, wait_until

from taskbus import Reject, RemoteError, ResultTimeout, State, TaskBus, TimeLimitExceeded, as_completed
from taskbus.outcome import Reason
from taskbus.store.base import DeadLetter, Filter


def lines(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def letters(bus: TaskBus, count: int = 1) -> list[DeadLetter]:
    wait_until(lambda: bus.store.count_dead_letters(Filter()) >= count, what=f"{count} dead letters")
    return list(bus.store.dead_letters(Filter(), limit=100))


def test_def_and_async_def_tasks_return_their_results(bus: TaskBus, start_worker: StartWorker) -> None:
    start_worker("-c", "2")
    assert sample.add.delay(2, 3).get(timeout=15) == 5
    assert sample.aadd.delay(2, b=4).get(timeout=15) == 6


@pytest.mark.parametrize("pool", ["prefork", "threads", "asyncio", "solo"])
def test_every_pool_runs_both_kinds_of_tasks(bus: TaskBus, start_worker: StartWorker, pool: str) -> None:
    worker = start_worker("-P", pool, *([] if pool == "solo" else ["-c", "2"]))
    results = [task.delay(i, 1) for i in range(20) for task in (sample.add, sample.aadd)]
    assert sorted(done.get() for done in as_completed(results, timeout=20)) == sorted([i + 1 for i in range(20)] * 2)
    assert worker.stop() == 0


def test_user_code_runs_in_runners_and_never_in_the_supervisor(
    bus: TaskBus, start_worker: StartWorker, tmp_path: Path
) -> None:
    worker = start_worker("-c", "1")
    pid, thread = sample.where.delay(str(tmp_path / "ran")).get(timeout=15)
    assert pid in worker.runners()
    assert thread == "MainThread"


def test_a_failing_task_is_retried_until_it_succeeds(bus: TaskBus, start_worker: StartWorker, tmp_path: Path) -> None:
    start_worker("-c", "1")
    result = sample.flaky.delay(str(tmp_path / "ran"), 3)
    assert result.get(timeout=15) == 3
    assert lines(tmp_path / "ran") == ["1", "2", "3"]
    assert bus.store.attempts([result.id]).get(result.id, []) == []


def test_the_last_failure_leaves_a_dead_letter_with_every_attempt(
    bus: TaskBus, start_worker: StartWorker, tmp_path: Path
) -> None:
    start_worker("-c", "1")
    result = sample.flaky.delay(str(tmp_path / "ran"), 99)
    with pytest.raises(ValueError, match="attempt 3"):
        result.get(timeout=15)
    (letter,) = letters(bus)
    assert (letter.task_id, letter.reason) == (result.id, Reason.RETRIES_EXHAUSTED)
    assert [attempt.failure.message for attempt in letter.attempts] == ["attempt 1", "attempt 2", "attempt 3"]
    assert all("sample.py" in attempt.failure.traceback for attempt in letter.attempts)
    assert all(attempt.finished_at >= attempt.started_at > 0 for attempt in letter.attempts)


def test_a_retry_waits_in_the_broker(bus: TaskBus, start_worker: StartWorker, tmp_path: Path) -> None:
    start_worker("-c", "1")
    sample.slow_retry.delay(str(tmp_path / "ran"))
    letters(bus)
    first, second = map(float, lines(tmp_path / "ran"))
    assert second - first >= 0.3


def test_a_task_may_ask_for_a_retry_or_reject_its_message(
    bus: TaskBus, start_worker: StartWorker, tmp_path: Path
) -> None:
    start_worker("-c", "1")
    assert sample.retries_when_asked.delay(str(tmp_path / "ran")).get(timeout=15) == "done"
    assert lines(tmp_path / "ran") == ["1", "2"]
    with pytest.raises(Reject, match="no good"):
        sample.rejects.delay().get(timeout=15)
    assert letters(bus)[0].reason is Reason.REJECTED


def test_an_unserialisable_result_is_a_dead_letter_and_the_worker_lives(
    bus: TaskBus, start_worker: StartWorker
) -> None:
    start_worker("-c", "1")
    sample.bad_result.delay()
    assert letters(bus)[0].reason is Reason.BAD_RESULT
    assert sample.add.delay(1, 1).get(timeout=15) == 2


def test_sys_exit_in_a_task_is_that_tasks_failure(bus: TaskBus, start_worker: StartWorker) -> None:
    worker = start_worker("-c", "1")
    wait_until(lambda: sample.add.delay(1, 1).get(timeout=15) == 2)
    before = worker.runners()
    result = sample.leaves.options(headers={"x": "y"}).delay()
    wait_until(lambda: result.failure is not None)
    assert worker.runners() == before


def test_a_delayed_task_does_not_start_early(bus: TaskBus, start_worker: StartWorker, tmp_path: Path) -> None:
    start_worker("-c", "1")
    due_at = time.time() + 0.6
    result = sample.slow_retry.options(eta=due_at).delay(str(tmp_path / "ran"))
    wait_until(lambda: lines(tmp_path / "ran"))
    assert due_at <= float(lines(tmp_path / "ran")[0]) <= due_at + 2.0
    assert result.id


def test_higher_priority_runs_first(bus: TaskBus, start_worker: StartWorker, tmp_path: Path) -> None:
    path = str(tmp_path / "ran")
    with bus.batch():
        for priority in (0, 9, 5, 1):
            sample.record.options(priority=priority).delay(path, str(priority))
    start_worker("-c", "1")
    wait_until(lambda: len(lines(tmp_path / "ran")) == 4)
    assert lines(tmp_path / "ran") == ["9", "5", "1", "0"]


def test_an_expired_task_does_not_run(bus: TaskBus, start_worker: StartWorker, tmp_path: Path) -> None:
    result = sample.record.options(expires=0.01).delay(str(tmp_path / "ran"), "late")
    sent_at = time.time()
    wait_until(lambda: time.time() > sent_at + 0.02, what="it has expired")
    start_worker("-c", "1")
    assert letters(bus)[0].reason is Reason.EXPIRED
    assert result.state is State.REVOKED
    assert lines(tmp_path / "ran") == []


def test_only_the_named_queues_are_consumed(bus: TaskBus, start_worker: StartWorker, tmp_path: Path) -> None:
    path = str(tmp_path / "ran")
    sample.record.options(queue="other").delay(path, "other")
    sample.record.options(queue="mine").delay(path, "mine")
    start_worker("-c", "1", "-Q", "mine")
    wait_until(lambda: lines(tmp_path / "ran"))
    with pytest.raises(ResultTimeout):
        sample.record.options(queue="other").delay(path, "other").get(timeout=0.5)
    assert lines(tmp_path / "ran") == ["mine"]


def test_a_quick_task_does_not_wait_behind_a_slow_one(bus: TaskBus, start_worker: StartWorker, tmp_path: Path) -> None:
    start_worker("-c", "2")
    for done in as_completed([sample.add.delay(i, 1) for i in range(200)], timeout=20):
        done.get()
    with bus.batch():
        slow = sample.sleep.delay(str(tmp_path / "slow"), 5.0)
        quick = [sample.add.delay(i, 1) for i in range(200)]
    for done in as_completed(quick, timeout=4.0):
        done.get()
    assert slow.state is State.PENDING


def test_a_task_may_send_tasks(bus: TaskBus, start_worker: StartWorker, tmp_path: Path) -> None:
    start_worker("-c", "1")
    assert sample.sends_another.delay(str(tmp_path / "ran")).get(timeout=15)
    wait_until(lambda: lines(tmp_path / "ran") == ["from", "inside"])


LIMITED = [sample.spins, sample.oversleeps, sample.aoversleeps, sample.ablocks, sample.holds_the_gil]


@pytest.mark.parametrize("pool", ["prefork", "threads"])
@pytest.mark.parametrize("task", [*LIMITED, sample.swallows_everything], ids=lambda task: task.name.split(".")[-1])
def test_a_time_limit_ends_the_attempt_in_every_kind_of_slot(
    bus: TaskBus, start_worker: StartWorker, task, pool: str
) -> None:
    start_worker("-P", pool, "-c", "1")
    assert sample.add.delay(1, 1).get(timeout=15) == 2
    started = time.monotonic()
    result = task.delay()
    with pytest.raises((TimeLimitExceeded, RemoteError)):
        result.get(timeout=10)
    assert letters(bus)[0].reason is Reason.TIME_LIMIT
    assert sample.add.delay(1, 1).get(timeout=10) == 2
    assert time.monotonic() - started < 8.0


def test_a_killed_attempt_is_retried_as_the_policy_says(
    bus: TaskBus, start_worker: StartWorker, tmp_path: Path
) -> None:
    start_worker("-c", "1")
    sample.stubborn.delay(str(tmp_path / "ran"))
    (letter,) = letters(bus)
    assert letter.reason is Reason.TIME_LIMIT
    assert lines(tmp_path / "ran") == ["ran"] * 3


@pytest.mark.parametrize("pool", ["prefork", "threads"])
@pytest.mark.parametrize("task", [sample.cleans_up, sample.acleans_up], ids=["def", "async"])
def test_a_soft_time_limit_lets_the_task_clean_up(
    bus: TaskBus, start_worker: StartWorker, tmp_path: Path, task, pool: str
) -> None:
    start_worker("-P", pool, "-c", "1")
    if pool == "threads" and task is sample.cleans_up:
        pytest.skip("a thread blocked in a C call sees the limit only when the call returns")
    assert task.delay(str(tmp_path / "ran")).get(timeout=15) == "cleaned up"


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


def test_bytes_that_are_no_message_are_buried_and_the_worker_lives(bus: TaskBus, start_worker: StartWorker) -> None:
    start_worker("-c", "1")
    result = bus.send("sample.no_such_task", [1])
    (letter,) = letters(bus)
    assert (letter.task_id, letter.reason) == (result.id, Reason.UNKNOWN_TASK)
    bus.send("sample.add", [1, 2])
    stranger = TaskBus("other", broker=bus.broker_url)
    stranger.send("sample.add", ["only one"])
    letters(bus, 2)
    reasons = {letter.reason for letter in bus.store.dead_letters(Filter(), limit=10)}
    assert Reason.BAD_ARGUMENTS in reasons
    stranger.close()


def test_an_app_that_cannot_be_imported_is_a_clear_error(bus: TaskBus, tmp_path: Path) -> None:
    with Worker(bus.broker_url, tmp_path, app="no_such_module:app") as worker:
        assert worker.process.wait(20) != 0
        assert "no_such_module" in worker.log.read_text()
        assert "Traceback" not in worker.log.read_text()


def test_a_worker_whose_database_is_deleted_says_so_and_leaves(bus: TaskBus, start_worker: StartWorker) -> None:
    worker = start_worker("-c", "1")
    assert sample.add.delay(1, 1).get(timeout=15) == 2
    for path in Path(bus.broker_url.removeprefix("sqlite:///")).parent.glob("bus.db*"):
        path.unlink()
    assert worker.process.wait(20) == 1
    assert "was deleted or replaced while in use" in worker.log.read_text()
    assert "Traceback" not in worker.log.read_text()


@pytest.mark.parametrize(
    "options", [(), ("--set", "start_method=spawn"), ("-P", "solo")], ids=["fork", "spawn", "solo"]
)
def test_a_workers_own_settings_do_not_reach_programs_that_tasks_start(
    bus: TaskBus, start_worker: StartWorker, options: tuple[str, ...]
) -> None:
    start_worker("-c", "1", "-b", bus.broker_url, *options)
    assert sample.private_variables.delay().get(timeout=20) == []
