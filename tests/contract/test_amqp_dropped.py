"""What RabbitMQ itself gives up is not gone: it lies in ``taskbus.dropped``, and the doctor says so."""

import contextlib
import uuid
from collections.abc import Iterator

import pytest
from kombu import Connection, Queue

from taskbus.broker.broker import Broker
from taskbus.broker.consumer import Consumer
from taskbus.database.remark import Remark, Weight
from taskbus.errors import BrokerError
from taskbus.testing.transport_basis import fetch_when_there, ids, readable, send
from tests.servers.rabbitmq_server import RabbitServer, the_node
from tests.servers.server import until


@pytest.fixture
def node() -> RabbitServer:
    return the_node()


@pytest.fixture
def prefix(node: RabbitServer) -> Iterator[str]:
    """One of an application whose queues an operator gives a policy: what is lost twice is dropped."""
    prefix = f"{uuid.uuid4().hex[:8]}."
    node.control("set_policy", prefix, f"^{prefix}default", '{"delivery-limit": 1}', "--apply-to", "queues")
    yield prefix
    node.control("clear_policy", prefix)


@pytest.fixture
def consumer(node: RabbitServer, prefix: str) -> Iterator[Consumer]:
    broker = Broker(f"{node.url}?prefix={prefix}")
    consumer = broker.consumer(["default"], name="w", lease=30.0)
    yield consumer
    with contextlib.suppress(BrokerError):
        consumer.close()
    broker.close()


def lose(consumer: Consumer) -> None:
    """End the connection of a worker that holds messages, as a crash would."""
    consumer._storage._in.line.open_wire._socket.shutdown(2)  # type: ignore[attr-defined]
    until(lambda: readable(consumer, 0), "the end of the connection is seen")
    consumer.rejoin()


def dropped(broker: Broker) -> list[Remark]:
    return [remark for remark in broker.examine() if remark.subject == "dropped"]


def test_a_message_that_a_policy_drops_lies_in_the_queue_of_the_dropped_and_the_doctor_tells(
    node: RabbitServer, prefix: str, consumer: Consumer
) -> None:
    broker = Broker(f"{node.url}?prefix={prefix}")
    send(broker, "a")
    assert dropped(broker) == []
    for _ in range(2):
        assert ids(fetch_when_there(consumer, 5)) == ["a"]
        lose(consumer)
    until(lambda: dropped(broker) != [], "the broker has given it up")
    (remark,) = dropped(broker)
    assert remark.weight is Weight.RISK
    assert remark.text == f"'{prefix}taskbus.dropped' holds 1 messages the broker gave up"
    assert "move the messages back" in remark.advice
    with Connection(node.url) as connection:  # an operator's look at it
        message = Queue(f"{prefix}taskbus.dropped", channel=connection).get()
        assert message is not None
        (death,) = message.headers["x-death"]
        assert (death["reason"], death["queue"]) == ("delivery_limit", f"{prefix}default")
        message.requeue()
    until(lambda: dropped(broker) == [remark], "it is back")
    broker.close()
