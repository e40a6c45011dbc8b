"""Priorities are strict on RabbitMQ, and nothing is counted as lost, whatever is on its way from the broker."""

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator
from itertools import cycle

import pytest

from taskbus.broker.broker import Broker
from taskbus.broker.consumer import Consumer
from taskbus.broker.transports.amqp import holding
from taskbus.broker.transports.amqp.address import read
from taskbus.broker.transports.amqp.wire import TooLate, Wire, no_other
from taskbus.errors import BrokerError
from taskbus.testing.transport_basis import acks, fetch_all, fetch_when_there, ids, send
from tests.servers.rabbitmq_server import the_node
from tests.servers.server import until

LEASE = 30.0


@pytest.fixture
def broker() -> Iterator[Broker]:
    broker = Broker(f"{the_node().url}?prefix={uuid.uuid4().hex[:8]}.")
    yield broker
    broker.close()


@pytest.fixture
def join(broker: Broker) -> Iterator[Callable[..., Consumer]]:
    consumers = []

    def join(*queues: str) -> Consumer:
        consumers.append(broker.consumer(queues or ["default"], name="w", lease=LEASE))
        return consumers[-1]

    yield join
    for consumer in consumers:
        with contextlib.suppress(BrokerError):
            consumer.close()


def fill(broker: Broker, queue: str, of_each: int = 3) -> None:
    """Messages of every priority, the lowest first."""
    with broker.batch():
        for priority in range(10):
            send(broker, *(f"{priority}{n}" for n in range(of_each)), queue=queue, priority=priority)


@pytest.mark.parametrize(
    ("is_settled", "limits"),
    [(False, (1, 1, 2, 2, 3, 4, 5, 6, 6)), (True, (1, 1, 2, 2, 3, 4, 5, 6, 6)), (True, (1,))],
    ids=["held", "settled", "one by one"],
)
def test_what_is_claimed_comes_in_order_however_much_is_asked_for_and_settled(
    broker: Broker, join: Callable[..., Consumer], is_settled: bool, limits: tuple[int, ...]
) -> None:
    for n in range(8):
        queue = f"q{n}"
        fill(broker, queue)
        consumer, came = join(queue), []
        for limit in cycle(limits):
            deliveries = fetch_when_there(consumer, limit)
            came += ids(deliveries)
            if is_settled:
                assert consumer.settle(acks(deliveries), None, shared=False) == []
            if len(came) >= 30:
                break
        assert came == [f"{priority}{n}" for priority in range(9, -1, -1) for n in range(3)]
        consumer.close()


def test_what_is_on_its_way_when_more_is_asked_for_is_not_counted_as_lost(
    broker: Broker, join: Callable[..., Consumer]
) -> None:
    for n in range(10):
        queue, came = f"q{n}", []
        send(broker, *(f"m{n:02}" for n in range(60)), queue=queue)
        consumer = join(queue)
        for limit in (10, 20, 30):
            deliveries = consumer.fetch(limit)
            assert [each.losses for each in deliveries] == [0] * limit
            came += ids(deliveries)
            assert consumer.settle(acks(deliveries), None, shared=False) == []
        assert came == [f"m{n:02}" for n in range(60)]


def test_what_is_on_its_way_to_a_worker_that_leaves_is_not_counted_as_lost(
    broker: Broker, join: Callable[..., Consumer]
) -> None:
    for n in range(5):
        queue = f"q{n}"
        send(broker, *(f"m{n:02}" for n in range(20)), queue=queue)
        consumer = join(queue)
        assert consumer.settle(acks(consumer.fetch(10)), None, shared=False) == []
        consumer.close()
        left = fetch_all(join(queue))
        assert [each.losses for each in left] == [0] * 10
        assert ids(left) == [f"m{n:02}" for n in range(10, 20)]


def test_a_worker_that_was_hungry_once_is_not_pushed_as_much_for_ever(
    broker: Broker, join: Callable[..., Consumer], monkeypatch: pytest.MonkeyPatch
) -> None:
    send(broker, *(f"m{n:02}" for n in range(100)))
    consumer, other = join(), join()
    assert consumer.settle(acks(consumer.fetch(50)), None, shared=False) == []
    came: list[str] = []

    def takes_one() -> None:
        deliveries = fetch_when_there(consumer, 1)
        came.extend(ids(deliveries))
        assert consumer.settle(acks(deliveries), None, shared=False) == []

    takes_one()
    consumer.renew()
    assert other.fetch(100) == []  # all of it was pushed to the first, which may want as much again
    monkeypatch.setattr(holding, "NOT_HUNGRY_FOR", 0.0)
    consumer.renew()
    monkeypatch.undo()
    rest = fetch_all(other)
    assert len(rest) > 40
    assert [each.losses for each in rest] == [0] * len(rest)
    assert sorted([*came, *ids(rest), *ids(fetch_all(consumer))]) == [f"m{n:02}" for n in range(50, 100)]


def test_waiting_for_an_answer_keeps_the_connection() -> None:
    """RabbitMQ hangs up on who says nothing for two heartbeats."""
    wire = Wire(read(the_node().url), ("127.0.0.1", the_node().port), 1, time.monotonic() + 5, no_other)
    give_up_at = time.monotonic() + 5
    with pytest.raises(TooLate):
        while True:
            wire.wait(give_up_at)
    wire.close(time.monotonic() + 1)


def test_a_connection_on_which_nothing_is_said_is_hung_up() -> None:
    """The other half of the test above."""
    wire = Wire(read(the_node().url), ("127.0.0.1", the_node().port), 1, time.monotonic() + 5, no_other)
    until(lambda: not wire.read() and wire.failure is not None, "the broker hangs up", 10)
