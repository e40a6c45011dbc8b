"""What a worker does with tasks, seen from outside: real processes on a SQLite file."""

import time
from pathlib import Path

import pytest
import sample
from evidence import letters, lines
from worker_process import StartWorker, Worker, wait_until

from taskbus import Reject, RemoteError, ResultTimeout, State, TaskBus, TimeLimitExceeded, as_completed
from taskbus.outcome import Reason
from taskbus.store.base import Filter


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


@pytest.mark.parametrize(
    "options", [(), ("--set", "start_method=spawn"), ("-P", "solo")], ids=["fork", "spawn", "solo"]
)
def test_a_workers_own_settings_do_not_reach_programs_that_tasks_start(
    bus: TaskBus, start_worker: StartWorker, options: tuple[str, ...]
) -> None:
    start_worker("-c", "1", "-b", bus.broker_url, *options)
    assert sample.private_variables.delay().get(timeout=20) == []
