"""A connection to RabbitMQ that is lost: for what was on it a loss with the broker, none for a worker that lives."""

import contextlib
import uuid
from collections.abc import Iterator

import pytest

from taskbus.broker.broker import Broker
from taskbus.broker.consumer import Consumer
from taskbus.broker.delivery import Act, Settlement
from taskbus.errors import BrokerError, LeaseLost
from taskbus.testing.transport_basis import acks, decoded, fetch_when_there, ids, readable, send
from tests.servers.rabbitmq_server import the_node
from tests.servers.server import until

LEASE = 30.0


@pytest.fixture(params=["quorum", "classic"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def workers(kind: str) -> Iterator[tuple[Broker, Consumer, Consumer]]:
    """Two of them, each with a connection of its own."""
    broker = Broker(f"{the_node().url}?prefix={uuid.uuid4().hex[:8]}.&queue_type={kind}")
    one, other = (broker.consumer(["default"], name=name, lease=LEASE) for name in ("one", "other"))
    yield broker, one, other
    for each in (one, other):
        with contextlib.suppress(BrokerError):  # it may have lost its connection, and has nothing to give back
            each.close()
    broker.close()


def hang_up(consumer: Consumer) -> None:
    """End its connection as a network would, and wait until the broker has noticed."""
    wire = consumer._storage._in.line.open_wire  # type: ignore[attr-defined]
    wire._socket.shutdown(2)
    until(lambda: readable(consumer, 0), "the end of the connection is seen")


def test_what_a_lost_connection_held_comes_again_and_its_worker_which_lives_counts_no_loss(
    workers: tuple[Broker, Consumer, Consumer], kind: str
) -> None:
    broker, one, other = workers
    send(broker, "a")
    for _ in range(3):
        held = fetch_when_there(one, 5)
        assert (ids(held), held[0].losses) == (["a"], 0)
        hang_up(one)
        with pytest.raises(LeaseLost):
            one.renew()
        assert one.settle(acks(held), None, shared=False) == held
        one.rejoin()
    # Another worker can only believe the broker; a classic queue tells no more than that it was out before.
    assert fetch_when_there(other)[0].losses == (3 if kind == "quorum" else 1)


def test_a_loss_of_another_worker_counts_and_is_not_taken_for_ones_own(
    workers: tuple[Broker, Consumer, Consumer],
) -> None:
    broker, one, other = workers
    send(broker, "a")
    for _ in range(2):
        assert fetch_when_there(one)[0].losses == 0
        hang_up(one)
        with pytest.raises(LeaseLost):
            one.renew()
        one.rejoin()
    assert fetch_when_there(other)
    hang_up(other)
    (held,) = fetch_when_there(one)
    assert held.losses == 1
    assert one.settle([Settlement(held, Act.RELEASE)], None, shared=False) == []
    (again,) = fetch_when_there(one)
    assert again.losses == 1


def test_what_was_pushed_to_a_worker_that_was_cut_off_has_no_loss_either(
    workers: tuple[Broker, Consumer, Consumer],
) -> None:
    broker, one, _ = workers
    for turn in range(3):
        send(broker, f"first{turn}")
        (first,) = fetch_when_there(one)
        assert one.settle(acks([first]), None, shared=False) == []
        one.clear()
        send(broker, f"next{turn}")  # is pushed, since there is room for one
        until(lambda: readable(one, 0), "the next one to be pushed")
        hang_up(one)
        (again,) = fetch_when_there(one)
        assert (decoded(again).id, again.losses) == (f"next{turn}", 0)
        assert one.settle(acks([again]), None, shared=False) == []
