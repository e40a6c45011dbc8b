"""What a settlement on RabbitMQ that was done in part leaves behind: nothing is started or published a second time."""

import contextlib
import uuid
from collections.abc import Callable, Iterator

import pytest

from taskbus.broker.broker import Broker
from taskbus.broker.consumer import Consumer
from taskbus.broker.delivery import Act, Delivery, Settlement
from taskbus.broker.transports.amqp import frames
from taskbus.broker.transports.amqp.naming import BACK
from taskbus.broker.transports.amqp.storage import AmqpStorage
from taskbus.errors import BrokerError, LeaseLost
from taskbus.testing.transport_basis import fetch_all, fetch_when_there, ids, message, readable, send
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
        with contextlib.suppress(BrokerError):  # it may have lost its connection, and has nothing to give back
            consumer.close()


def storage_of(consumer: Consumer) -> AmqpStorage:
    storage = consumer._storage  # type: ignore[attr-defined]
    assert isinstance(storage, AmqpStorage)
    return storage


def hang_up(consumer: Consumer) -> None:
    """End its connection as a network would, and wait until that is seen."""
    wire = storage_of(consumer)._in.line.open_wire
    assert wire is not None
    wire._socket.shutdown(2)
    until(lambda: readable(consumer, 0), "the end of the connection is seen")


def make_full(consumer: Consumer, queue: str, level: str = "") -> None:
    """A queue that refuses everything."""
    storage = storage_of(consumer)
    with storage._using() as deadline:
        name = storage._in.naming.queue(queue, level) if level else storage._in.naming.queue(queue)
        arguments = {"x-max-length": 0, "x-overflow": "reject-publish"}
        calls = storage._in.line.calls(deadline)
        calls.ask(frames.QUEUE_DECLARE, 0, name, False, True, False, False, False, arguments, until=deadline)
    storage._timeout = 0.5


def make_room(consumer: Consumer, queue: str, level: str = "") -> None:
    storage = storage_of(consumer)
    storage._timeout = 5.0
    with storage._using() as deadline:
        name = storage._in.naming.queue(queue, level) if level else storage._in.naming.queue(queue)
        storage._in.line.calls(deadline).ask(frames.QUEUE_DELETE, 0, name, False, False, False, until=deadline)


def retried(delivery: Delivery, id: str, *queues: str) -> Settlement:
    return Settlement(delivery, follow_ups=tuple(message(id, queue=queue) for queue in queues))


@pytest.mark.parametrize("finds_out", [lambda each: each.renew(), lambda each: each.fetch(1)], ids=["renew", "fetch"])
def test_a_lost_lease_that_settling_notices_first_is_said_at_the_next_renewal_and_claim(
    broker: Broker, join: Callable[..., Consumer], finds_out: Callable[[Consumer], object]
) -> None:
    consumer = join()
    send(broker, "ended", "parked")
    ended, parked = fetch_when_there(consumer, 2)
    hang_up(consumer)
    assert consumer.settle([Settlement(ended)], None, shared=False) == [ended]
    with pytest.raises(LeaseLost):
        finds_out(consumer)
    with pytest.raises(LeaseLost):
        finds_out(consumer)
    assert consumer.settle([Settlement(parked)], None, shared=False) == [parked]
    consumer.rejoin()
    assert sorted(ids(fetch_when_there(consumer, 2) + fetch_all(consumer))) == ["ended", "parked"]


def test_what_a_settlement_published_is_not_published_again_while_a_queue_refuses_the_rest(
    broker: Broker, join: Callable[..., Consumer]
) -> None:
    consumer = join()
    send(broker, "a", "b", "c", "d")
    held = {ids([each])[0]: each for each in fetch_when_there(consumer, 4)}
    make_full(consumer, "full")
    settlements = [
        retried(held["a"], "of a", "good"),
        retried(held["b"], "of b", "full"),
        Settlement(held["c"]),
    ]
    for _ in range(3):
        with pytest.raises(BrokerError):
            consumer.settle(settlements, None, shared=False)
    assert consumer.settle([Settlement(held["d"])], None, shared=False) == []  # others settle in between
    make_room(consumer, "full")
    assert consumer.settle(settlements, None, shared=False) == []
    assert sorted(ids(fetch_all(join("good")))) == ["of a"]
    assert ids(fetch_when_there(join("full"))) == ["of b"]
    hang_up(consumer)
    assert fetch_all(join()) == []  # all were acked


def test_what_was_acked_early_is_not_settled_a_second_time_when_the_same_is_settled_again(
    broker: Broker, join: Callable[..., Consumer]
) -> None:
    consumer = join()
    send(broker, "a", "b")
    one, other = fetch_when_there(consumer, 2)
    make_full(consumer, "full")
    settlements = [retried(one, "of a", "good"), retried(other, "of b", "full")]
    with pytest.raises(BrokerError):
        consumer.settle(settlements, None, shared=False)
    hang_up(consumer)
    storage_of(consumer)._timeout = 5.0
    assert consumer.settle(settlements, None, shared=False) == [other]
    assert ids(fetch_when_there(join(), 2)) == ids([other])


def test_what_is_given_back_is_given_back_once_while_a_queue_refuses_the_rest(
    broker: Broker, join: Callable[..., Consumer]
) -> None:
    consumer = join("good", "bad")
    send(broker, "a", queue="good")
    send(broker, "b", queue="bad")
    held = {each.queue: each for each in fetch_when_there(consumer, 2)}
    make_full(consumer, "bad", BACK)
    settlements = [Settlement(held[queue], Act.RELEASE) for queue in ("good", "bad")]
    for _ in range(2):
        with pytest.raises(BrokerError):
            consumer.settle(settlements, None, shared=False)
    make_room(consumer, "bad", BACK)
    assert consumer.settle(settlements, None, shared=False) == []
    consumer.close()
    other = join("good", "bad")
    assert sorted(ids(fetch_all(other))) == ["a", "b"]
