"""What a worker says of itself, and does when it is told to, by the result store: real processes on a SQLite file."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgpack
import pytest
import sample
from worker_process import StartWorker, wait_until

from taskbus import TaskBus
from taskbus.clock import wall_clock
from taskbus.monitor.report import NodeState, TaskRecord, unpack_records, unpack_state, unpack_totals
from taskbus.store.report_opening import open_reports
from taskbus.store.reports import ReportStore


@pytest.fixture
def reports(bus: TaskBus) -> Iterator[ReportStore]:
    with closing(open_reports(bus.results_url, wall_clock)) as store:
        yield store


def states(reports: ReportStore) -> list[NodeState]:
    return [unpack_state(node.state) for node in reports.nodes()]


def counted(reports: ReportStore) -> Counter[str]:
    """What all nodes have counted, over all tasks and minutes."""
    counts: Counter[str] = Counter()
    for minute in reports.minutes({}):
        for total in unpack_totals(minute.totals):
            counts.update(total.counts)
    return counts


def records(reports: ReportStore) -> list[TaskRecord]:
    return [record for bundle in reports.records({}, 100_000) for record in unpack_records(bundle.records)]


def order(reports: ReportStore, do: str, **arguments: Any) -> int:
    return reports.order(msgpack.packb({"do": do, **arguments}), time.time())


def replies(reports: ReportStore, number: int) -> list[Any]:
    return [msgpack.unpackb(answer.answer, strict_map_key=False) for answer in reports.answers(number)]


def test_a_worker_is_there_while_it_works_and_gone_once_it_has_stopped(
    bus: TaskBus, start_worker: StartWorker, reports: ReportStore
) -> None:
    worker = start_worker("-c", "2", "--name", "ann@home")
    wait_until(lambda: states(reports), what="a report")
    (state,) = states(reports)
    assert (state.kind, state.name, state.pid, state.app) == ("worker", "ann@home", worker.pid, "sample")
    assert "sample.add" in state.tasks
    assert state.queues == ["default"]
    wait_until(lambda: len(states(reports)[0].runners) == 2, what="its runners")
    assert states(reports)[0].rss > 10_000_000
    assert worker.stop() == 0
    assert states(reports) == []


def test_every_attempt_is_counted_once_by_what_became_of_it(
    bus: TaskBus, start_worker: StartWorker, reports: ReportStore, tmp_path: Path
) -> None:
    worker = start_worker("-c", "2")
    results = [sample.add.delay(number, 1) for number in range(200)]
    dead = sample.flaky.delay(str(tmp_path / "ran"), 99)
    refused = sample.rejects.delay()
    wait_until(lambda: all(result.state.is_final for result in [*results, dead, refused]))
    assert worker.stop() == 0
    counts = counted(reports)
    assert counts["received"] == 200 + 3 + 1
    assert (counts["succeeded"], counts["retried"], counts["failed"], counts["rejected"]) == (200, 2, 1, 1)
    assert counts["started"] == 204
    told = records(reports)
    assert sum(record.weight for record in told if record.state == "SUCCESS") == 200
    assert [record.attempt for record in told if record.id == dead.id] == [1, 2, 3]
    (last,) = (record for record in told if record.id == dead.id and record.attempt == 3)
    assert (last.state, last.error, last.message) == ("FAILURE", "builtins.ValueError", "attempt 3")
    assert "sample.py" in last.traceback


def test_what_runs_is_shown_while_it_runs(
    bus: TaskBus, start_worker: StartWorker, reports: ReportStore, tmp_path: Path
) -> None:
    start_worker("-c", "1")
    result = sample.waits_for.delay(str(tmp_path / "go"))
    wait_until(lambda: states(reports) and states(reports)[0].running, what="a running task")
    (running,) = states(reports)[0].running
    assert running[:2] == [result.id, "sample.waits_for"]
    (tmp_path / "go").touch()
    wait_until(lambda: not states(reports)[0].running, what="its end")


def test_a_worker_takes_nothing_from_a_paused_queue_not_even_at_its_start(
    bus: TaskBus, start_worker: StartWorker, reports: ReportStore
) -> None:
    reports.pause("paused")
    held = sample.add.options(queue="paused").delay(1, 1)
    worker = start_worker("-c", "1", "-Q", "paused,default")
    assert sample.add.delay(2, 2).get(timeout=15) == 4  # it works, so it would have taken the other one
    assert not held.state.is_final
    assert {size.name: size.ready for size in bus.broker.queues()}["paused"] == 1
    reports.resume("paused")
    assert held.get(timeout=15) == 2
    reports.pause("paused")
    wait_until(lambda: worker.log.read_text().count("paused queues: paused") == 2, what="the pause")
    later = sample.add.options(queue="paused").delay(3, 3)
    assert sample.add.delay(2, 3).get(timeout=15) == 5
    assert not later.state.is_final
    reports.resume("paused")
    assert later.get(timeout=15) == 6


def test_orders_are_carried_out_and_answered_on_a_database_too(
    bus: TaskBus, start_worker: StartWorker, reports: ReportStore, tmp_path: Path
) -> None:
    start_worker("-c", "1", "--name", "ann@home")
    wait_until(lambda: states(reports))
    number = order(reports, "ping")
    wait_until(lambda: replies(reports, number), what="an answer")
    assert replies(reports, number) == [{"ok": "pong"}]
    running = sample.waits_for.delay(str(tmp_path / "go"))
    wait_until(lambda: states(reports)[0].running)
    number = order(reports, "revoke", task_id=[running.id], terminate=True)
    wait_until(lambda: running.state.is_final, what="its end")
    assert running.state == "REVOKED"
    number = order(reports, "pool_grow", n=1)
    wait_until(lambda: len(states(reports)[0].runners) == 2, what="two runners")
    for wrong in (order(reports, "rate_limit", task_name="nobody", rate_limit="1/s"), order(reports, "fly")):
        wait_until(lambda wrong=wrong: replies(reports, wrong), what="an answer")
        assert "error" in replies(reports, wrong)[0]


@pytest.mark.parametrize("mode", ["inspect", "off"])
def test_a_worker_whose_remote_control_is_switched_off_obeys_no_order(
    bus: TaskBus, start_worker: StartWorker, reports: ReportStore, mode: str
) -> None:
    start_worker("-c", "1", TASKBUS_REMOTE_CONTROL=mode)
    wait_until(lambda: states(reports))
    asked, told = order(reports, "stats"), order(reports, "pool_grow", n=1)
    wait_until(lambda: replies(reports, told) and replies(reports, asked), what="answers")
    assert f"remote_control={mode}" in replies(reports, told)[0]["error"]
    assert ("ok" in replies(reports, asked)[0]) == (mode == "inspect")
    assert states(reports)[0].processes == 1


def test_a_revocation_reaches_a_worker_that_starts_later_and_a_shutdown_does_not(
    bus: TaskBus, start_worker: StartWorker, reports: ReportStore
) -> None:
    called_off = sample.add.delay(1, 1)
    order(reports, "revoke", task_id=[called_off.id])
    shutdown = order(reports, "shutdown")
    start_worker("-c", "1")
    wait_until(lambda: called_off.state.is_final)
    assert called_off.state == "REVOKED"
    assert sample.add.delay(1, 2).get(timeout=15) == 3
    assert replies(reports, shutdown) == []


def test_a_shutdown_that_is_ordered_ends_the_worker_in_good_order(
    bus: TaskBus, start_worker: StartWorker, reports: ReportStore
) -> None:
    worker = start_worker("-c", "1")
    wait_until(lambda: states(reports))
    order(reports, "shutdown")
    assert worker.process.wait(15) == 0
    assert states(reports) == []


SLOTS = {
    "main": ("counts", ["-c", "1"]),
    "thread": ("counts", ["-P", "threads", "-c", "2"]),
    "coroutine": ("acounts", ["-P", "asyncio", "-c", "2"]),
}


@pytest.mark.parametrize(("task", "options"), SLOTS.values(), ids=SLOTS)
def test_progress_is_seen_while_a_task_runs_and_the_last_of_it_is_kept(
    bus: TaskBus, start_worker: StartWorker, reports: ReportStore, tmp_path: Path, task: str, options: list[str]
) -> None:
    worker = start_worker(*options)
    result = getattr(sample, task).delay(str(tmp_path / "go"))
    assert result.progress() is None
    wait_until(lambda: (seen := result.progress()) and seen[:3] == (1, 4, "first"), what="the first")
    wait_until(lambda: states(reports) and states(reports)[0].running, what="it in a report")
    wait_until(lambda: states(reports)[0].running[0][7][:3] == [1, 4, "first"], what="progress in a report")
    (tmp_path / "go").touch()
    assert result.get(timeout=15) == 4
    wait_until(lambda: (seen := result.progress()) and seen[:3] == (4, 4, "last"), what="the last")
    assert worker.stop() == 0
    (record,) = records(reports)
    assert list(record.progress)[:3] == [4, 4, "last"]


def test_progress_is_reported_without_secrets(
    bus: TaskBus, start_worker: StartWorker, reports: ReportStore, tmp_path: Path
) -> None:
    worker = start_worker("-c", "1")
    result = sample.tells_its_key.delay("open sesame", str(tmp_path / "go"))
    shown = "asking with *** at https://bob:***@shop"
    wait_until(lambda: (seen := states(reports)) and seen[0].running and seen[0].running[0][7], what="progress")
    assert states(reports)[0].running[0][7][2] == shown
    (tmp_path / "go").touch()
    result.get(timeout=15)
    assert worker.stop() == 0
    (record,) = records(reports)
    assert record.progress[2] == shown


def test_progress_is_kept_by_a_worker_of_one_process_without_reports_too(
    bus: TaskBus, start_worker: StartWorker, reports: ReportStore, tmp_path: Path
) -> None:
    worker = start_worker("-P", "solo", TASKBUS_REPORTS="off")
    (tmp_path / "go").touch()
    result = sample.counts.delay(str(tmp_path / "go"))
    assert result.get(timeout=15) == 4
    assert worker.stop() == 0
    assert (seen := result.progress()) is not None
    assert seen[:3] == (4, 4, "last")
    assert reports.minutes({}) == reports.records({}) == []


def test_a_failed_attempt_is_recorded_with_the_last_lines_it_logged_and_without_secrets(
    bus: TaskBus, start_worker: StartWorker, reports: ReportStore
) -> None:
    worker = start_worker("-c", "1")
    result = sample.logs_and_fails.delay("hunter2", 300)
    wait_until(lambda: result.state.is_final)
    assert worker.stop() == 0
    (record,) = records(reports)
    assert len(record.logs) == 200
    assert record.logs[0].endswith("WARNING shop: line 101")
    assert record.logs[-1].endswith("ERROR shop.alone: my key is ***")
    assert record.args == "('***', 300)"
    assert record.message == "cannot log in with ***"
    assert "hunter2" not in repr(record)


def test_logs_are_not_kept_where_that_is_switched_off(
    bus: TaskBus, start_worker: StartWorker, reports: ReportStore
) -> None:
    worker = start_worker("-c", "1", TASKBUS_TASK_LOGS="off", TASKBUS_REDACT="lines")
    result = sample.logs_and_fails.delay("hunter2", 1)
    wait_until(lambda: result.state.is_final)
    assert worker.stop() == 0
    (record,) = records(reports)
    assert record.logs == ()
    assert record.args == "('***', '***')"
