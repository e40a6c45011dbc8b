"""What celery-exporter counts of a worker and its senders, compared with a ledger of what was sent and how it ended."""

import os
import signal
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from taskbus import TaskBus
from taskbus.store.results import AsyncResult
from tests.interop import work_app
from tests.interop.celery_exporter import WORKER_TIMEOUT, Exporter
from tests.interop.stage import NODE, Place, Stage, wait_until

TASKS = "tests.interop.work_app"
HOST = NODE.partition("@")[2]
OURS, CELERYS = "default", "shared"
FATES = {
    "fine": ("received", "started", "succeeded"),
    "failed": ("received", "started", "failed"),
    "refused": ("received", "started", "rejected", "failed"),
    "retried": ("received", "started", "retried", "received", "started", "succeeded"),
    "revoked": ("received", "revoked"),
}
"""What is told of a task that ends so."""


class Ledger:
    """What was sent, and what it was to come to; ``check`` asks the result store whether it has."""

    def __init__(self) -> None:
        self._sent: list[tuple[str, str, str, AsyncResult[Any]]] = []

    def write(self, name: str, queue: str, fate: str, result: AsyncResult[Any]) -> None:
        self._sent.append((f"{TASKS}.{name}", queue, fate, result))

    def check(self) -> None:
        states = {"fine": "SUCCESS", "retried": "SUCCESS", "revoked": "REVOKED"}
        for name, _, fate, result in self._sent:
            wait_until(lambda result=result: result.is_ready, f"{name} has ended")
            assert result.state == states.get(fate, "FAILURE"), (name, fate)

    def events(self, kind: str) -> Counter[tuple[str, ...]]:
        """How many events of a kind there were, by host, name and queue."""
        host = socket.gethostname() if kind == "sent" else HOST
        counts: Counter[tuple[str, ...]] = Counter()
        for name, queue, fate, _ in self._sent:
            counts[host, name, queue] += (*FATES[fate], "sent").count(kind)
        return +counts


@pytest.fixture(scope="module")
def sold(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A worker that tells of all it does, and of all that its tasks send; on a queue of ours and one of Celery's."""
    stage = Stage(tmp_path_factory.mktemp("exporter"), place)
    try:
        start(stage)
        yield stage
    finally:
        stage.close()


def start(stage: Stage) -> None:
    stage.start_worker(
        "--events", "-Q", f"{OURS},{CELERYS}", "--set", f"celery_queues={CELERYS}", "--set", "telemetry_sent=true",
        "--set", "telemetry_rate=10000",
    )  # fmt: skip


@pytest.fixture(scope="module")
def exporter(sold: Stage) -> Iterator[Exporter]:
    exporter = Exporter(sold.client)
    exporter.start()
    try:
        wait_until(lambda: exporter.value("celery_worker_up", hostname=HOST) == 1, "a heartbeat is heard")
        yield exporter
        assert exporter.faults == []
    finally:
        exporter.stop()


@pytest.fixture(scope="module")
def bus(sold: Stage) -> Iterator[TaskBus]:
    """A sender that tells of what it sends."""
    with TaskBus(
        "sender", broker=sold.url, results=sold.results, celery_queues=[CELERYS], telemetry_sent=True,
        telemetry_rate=10_000,
    ) as bus:  # fmt: skip
        for task in work_app.app.tasks.values():
            bus._adopt(task)
        yield bus


def test_its_counts_are_those_of_the_ledger(sold: Stage, exporter: Exporter, bus: TaskBus) -> None:
    tasks, ledger = {name.rpartition(".")[2]: task for name, task in bus.tasks.items()}, Ledger()
    with bus.batch():
        for number in range(40):
            queue = (OURS, CELERYS)[number % 2]
            ledger.write("add", queue, "fine", tasks["add"].options(queue=queue).delay(number, 1))
    for _ in range(3):
        ledger.write("boom", OURS, "failed", tasks["boom"].delay("x"))
        ledger.write("once_more", OURS, "retried", tasks["once_more"].delay())
    ledger.write("refuse", OURS, "refused", tasks["refuse"].delay())
    sold.ask("revoke", task_id="revoked-beforehand")
    ledger.write("add", OURS, "revoked", tasks["add"].options(task_id="revoked-beforehand").delay(1, 1))
    passed = tasks["pass_on"].delay(5)
    ledger.write("pass_on", OURS, "fine", passed)
    ledger.write("add", OURS, "fine", bus.result(passed.get(timeout=30)))
    ledger.check()

    kinds = ("sent", "received", "started", "succeeded", "rejected", "revoked", "retried")
    for kind in kinds:
        wait_until(lambda kind=kind: exporter.counted(f"celery_task_{kind}_total") == ledger.events(kind), kind)
    failures = {("ValueError", HOST, f"{TASKS}.boom", OURS): 3, ("Reject", HOST, f"{TASKS}.refuse", OURS): 1}
    wait_until(lambda: exporter.counted("celery_task_failed_total") == failures, "failed")
    assert exporter.counted("celery_task_runtime_count") == ledger.events("succeeded")
    assert all(seconds > 0 for seconds in exporter.counted("celery_task_runtime_sum").values())
    assert bus.announcer is not None and bus.announcer.dropped == 0


def test_its_gauges_are_those_of_the_worker(sold: Stage, exporter: Exporter, bus: TaskBus, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    running = [bus.tasks[f"{TASKS}.wait_for"].delay(str(gate)) for _ in range(2)]
    wait_until(lambda: exporter.value("celery_worker_tasks_active", hostname=HOST) == 2, "a heartbeat says two")
    gate.touch()
    for result in running:
        assert result.get(timeout=30) == "seen"
    wait_until(lambda: exporter.value("celery_worker_tasks_active", hostname=HOST) == 0, "a heartbeat says none")
    if sold.url.startswith("amqp"):
        wait_until(lambda: _consumers(exporter) <= 2, "the worker, which rests, merges its subscriptions")
    exporter.look_at_queues()
    for queue in (OURS, CELERYS):
        assert exporter.value("celery_active_worker_count", queue_name=queue) == 1
        assert exporter.value("celery_active_process_count", queue_name=queue) == 2
        assert exporter.value("celery_queue_length", queue_name=queue) == 0
        if sold.url.startswith("amqp"):
            assert exporter.value("celery_active_consumer_count", queue_name=queue) == 1


def _consumers(exporter: Exporter) -> float:
    exporter.look_at_queues()
    return sum(exporter.value("celery_active_consumer_count", queue_name=queue) or 0 for queue in (OURS, CELERYS))


def test_it_knows_when_a_worker_is_gone_and_what_waits_then(sold: Stage, exporter: Exporter, bus: TaskBus) -> None:
    os.kill(sold.worker.process.pid, signal.SIGKILL)
    sold.worker.process.wait()
    exporter.look_for_silence(later=WORKER_TIMEOUT - 30)
    assert exporter.value("celery_worker_up", hostname=HOST) == 1
    exporter.look_for_silence(later=WORKER_TIMEOUT + 1)
    assert exporter.value("celery_worker_up", hostname=HOST) == 0

    add = bus.tasks[f"{TASKS}.add"]
    waiting = [add.options(queue=queue).delay(1, 1) for queue in (OURS, CELERYS) for _ in range(3)]
    exporter.look_at_queues()
    is_redis = sold.url.startswith("redis")  # where it counts Celery's lists, and ours are no lists
    for queue, length in ((OURS, 0 if is_redis else 3), (CELERYS, 3)):
        assert exporter.value("celery_active_worker_count", queue_name=queue) == 0
        assert exporter.value("celery_queue_length", queue_name=queue) == length

    start(sold)
    wait_until(lambda: exporter.value("celery_worker_up", hostname=HOST) == 1, "the next one is up")
    for result in waiting:
        assert result.get(timeout=30) == 2
    sold.worker.end()
    wait_until(lambda: exporter.value("celery_worker_up", hostname=HOST) == 0, "it has said goodbye")
