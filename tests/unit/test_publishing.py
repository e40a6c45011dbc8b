"""A send has three outcomes and hides none: accepted, an error, or "it may run"; each says which task it is about."""

import asyncio
import pickle
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from taskbus import TaskBus
from taskbus.broker.broker import Broker
from taskbus.broker.transports.memory import MemoryStorage
from taskbus.broker.transports.port import Parcel
from taskbus.errors import BrokerError, PublishFailed, PublishUnknown
from taskbus.testing.transport_basis import message, send, waiting


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    broker = Broker(f"sqlite:///{tmp_path}/queue.db", publish_timeout=0.3)
    yield broker
    broker.close()


@pytest.fixture
def writer(broker: Broker, tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Another program that holds the write lock."""
    connection = sqlite3.connect(tmp_path / "queue.db", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    yield connection
    connection.close()


def failing(monkeypatch: pytest.MonkeyPatch, error: Callable[[], Exception], *, is_queued: bool) -> None:
    """Let the memory transport accept, or not, and fail in either case."""
    publish = MemoryStorage.publish

    def fail(storage: MemoryStorage, parcels: Sequence[Parcel]) -> None:
        if is_queued:
            publish(storage, parcels)
        raise error()

    monkeypatch.setattr(MemoryStorage, "publish", fail)


def test_a_refused_publish_names_its_task(broker: Broker, writer: sqlite3.Connection) -> None:
    with pytest.raises(PublishFailed, match="locked") as caught:
        send(broker, "a")
    assert caught.value.task_ids == ("a",)
    assert not isinstance(caught.value, PublishUnknown)


def test_a_refused_batch_names_the_tasks_of_the_round_trip_that_failed(broker: Broker, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "queue.db", isolation_level=None) as other:
        with pytest.raises(PublishFailed, match="locked") as caught, broker.batch(max_size=2):
            send(broker, "a", "b", "c")
            other.execute("BEGIN IMMEDIATE")
            send(broker, "d", "e")
        other.execute("ROLLBACK")
    assert caught.value.task_ids == ("c", "d")
    assert waiting(broker) == ["a", "b"]
    other.close()


def test_a_publish_gives_up_within_its_deadline(broker: Broker, writer: sqlite3.Connection) -> None:
    for _ in range(2):
        started = time.monotonic()
        with pytest.raises(PublishFailed):
            send(broker, "a")
        assert time.monotonic() - started < 1.5


def test_an_error_of_the_broker_is_a_failed_publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broker = Broker(f"memory://{tmp_path}")
    failing(monkeypatch, lambda: BrokerError("connection refused"), is_queued=False)
    with pytest.raises(PublishFailed, match="connection refused") as caught:
        send(broker, "a")
    assert caught.value.task_ids == ("a",)
    with pytest.raises(PublishFailed, match="connection refused") as caught, broker.batch():
        send(broker, "a", "b")
    assert caught.value.task_ids == ("a", "b")


def test_a_lost_answer_says_how_to_make_sure_and_doing_so_queues_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = Broker(f"memory://{tmp_path}")
    with monkeypatch.context() as patched:
        failing(patched, lambda: PublishUnknown("no answer within 5 s"), is_queued=True)
        with pytest.raises(PublishUnknown, match=r"no answer .* task a may run or not: .* the same task_id") as caught:
            send(broker, "a")
        with pytest.raises(PublishUnknown, match="2 tasks may run or not"), broker.batch():
            send(broker, "b", "c")
    assert caught.value.task_ids == ("a",)
    for id in (*caught.value.task_ids, "b", "c"):
        broker.publish(message(id))
    assert waiting(broker) == ["a", "b", "c"]


def test_the_ids_travel_with_the_error() -> None:
    again = pickle.loads(pickle.dumps(PublishUnknown("no answer", ["a"])))
    assert (again.task_ids, str(again)) == (("a",), str(PublishUnknown("no answer", ["a"])))


def test_every_way_to_send_has_the_same_outcomes(tmp_path: Path) -> None:
    app = TaskBus("shop", broker=f"sqlite:///{tmp_path}/nowhere/queue.db")

    @app.task
    def add(x: int) -> int:
        return x

    ways: list[Callable[[], object]] = [
        lambda: add.delay(1),
        lambda: add.apply_async((1,), countdown=10, expires=20),
        lambda: add.options(task_id="mine").delay(1),
        lambda: app.send(add.name, (1,)),
        lambda: asyncio.run(add.adelay(1)),
        lambda: app.submit(message("a")),
    ]
    for way in ways:
        with pytest.raises(PublishFailed, match="nowhere does not exist"):
            way()
    with pytest.raises(PublishFailed, match="nowhere does not exist"), app.batch():
        add.delay(1)
    (tmp_path / "nowhere").mkdir()
    ids = [add.delay(1).id, add.apply_async((1,), task_id="x").id]
    assert waiting(app.broker) == ids
    app.close()


def test_a_task_that_was_sent_stays_sent_though_its_store_is_out_of_reach(tmp_path: Path) -> None:
    app = TaskBus("shop", broker=f"memory://{tmp_path}", results=f"sqlite:///{tmp_path}/nowhere/results.db")
    result = app.send("tasks.add", task_id="a")
    assert (result.id, waiting(app.broker)) == ("a", ["a"])
    app.close()
