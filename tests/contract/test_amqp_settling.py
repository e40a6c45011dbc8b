"""What a settlement on RabbitMQ that was done in part leaves behind: nothing is started or published a second time."""

import contextlib
import uuid
from collections.abc import Callable, Iterator

import pytest

from taskbus.broker.broker import Broker
from taskbus.broker.consumer import Consumer
from taskbus.broker.delivery import Act, Delivery, Settlement
from taskbus.broker.transports.amqp import frames, holding
from taskbus.broker.transports.amqp.naming import BACK
from taskbus.broker.transports.amqp.storage import AmqpStorage
from taskbus.errors import BrokerError, LeaseLost
from taskbus.testing.transport_basis import acks, decoded, fetch_all, fetch_when_there, ids, message, readable, send
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


def make_full(consumer: Consumer, queue: str, level: str = "", room: int = 0) -> None:
    """A queue that refuses everything, or what is more than there is room for."""
    storage = storage_of(consumer)
    with storage._using() as deadline:
        name = storage._in.naming.queue(queue, level) if level else storage._in.naming.queue(queue)
        arguments = {"x-max-length": room, "x-overflow": "reject-publish"}
        calls = storage._in.line.calls(deadline)
        calls.ask(frames.QUEUE_DELETE, 0, name, False, False, False, until=deadline)  # its worker has made it
        calls.ask(frames.QUEUE_DECLARE, 0, name, False, True, False, False, False, arguments, until=deadline)
    storage._timeout = 0.5


def make_room(consumer: Consumer, queue: str, level: str = "") -> None:
    """Let it be as it was made by default, and as empty."""
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


# --- parts of one settlement ---


def test_of_several_follow_ups_only_those_that_were_refused_are_published_again(
    broker: Broker, join: Callable[..., Consumer]
) -> None:
    consumer = join()
    send(broker, "a")
    (held,) = fetch_when_there(consumer)
    make_full(consumer, "full")
    settlement = retried(held, "of a", "good", "full", "better")
    for _ in range(3):
        with pytest.raises(BrokerError):
            consumer.settle([settlement], None, shared=False)
    make_room(consumer, "full")
    assert consumer.settle([settlement], None, shared=False) == []
    for queue in ("good", "full", "better"):
        assert ids(fetch_all(join(queue))) == ["of a"]
    assert not memory_of(consumer)


def memory_of(consumer: Consumer) -> object:
    """What is remembered of settlements that are not done."""
    (holding,) = [each for each in storage_of(consumer)._holdings.values() if each.holder is consumer._holder]
    return holding.accepted


def test_what_has_no_delivery_is_published_once_while_a_queue_refuses_the_rest(
    broker: Broker, join: Callable[..., Consumer]
) -> None:
    """As a task is that was acked before it ran, and is to be sent again."""
    consumer = join()
    make_full(consumer, "full")
    again = Settlement(None, follow_ups=(message("a", queue="good"),))
    settlements = [again, Settlement(None, follow_ups=(message("b", queue="full"),))]
    for _ in range(3):
        with pytest.raises(BrokerError):
            consumer.settle(settlements, None, shared=False)
    # Fetched, acked and to be sent once more while the others are still refused: that is another sending.
    with pytest.raises(BrokerError):
        consumer.settle([*settlements, again], None, shared=False)
    make_room(consumer, "full")
    assert consumer.settle([*settlements, again], None, shared=False) == []
    other = join("good")
    assert ids(fetch_all(other)) == ["a", "a"]
    assert ids(fetch_when_there(join("full"))) == ["b"]
    assert not memory_of(consumer)
    assert consumer.settle([again], None, shared=False) == []
    assert ids(fetch_when_there(other)) == ["a"]


def test_waiting_for_the_broker_to_take_a_follow_up_costs_no_lease(
    broker: Broker, join: Callable[..., Consumer]
) -> None:
    """Publishing has a connection of its own; that on which messages are held must not die meanwhile."""
    consumer = broker.consumer(["default"], name="w", lease=2.0)
    send(broker, "a")
    (held,) = fetch_when_there(consumer)
    make_full(consumer, "full")
    storage_of(consumer)._timeout = 5.0
    with pytest.raises(BrokerError):
        consumer.settle([retried(held, "of a", "full")], None, shared=False)
    consumer.renew()
    assert consumer.settle([Settlement(held)], None, shared=False) == []
    consumer.close()


# --- messages that are given back in part ---


def test_what_a_worker_did_not_claim_is_given_back_once_while_a_queue_refuses_the_rest(
    broker: Broker, join: Callable[..., Consumer], monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer = join("good", "bad")
    assert consumer.fetch(1) == []
    send(broker, "a", queue="good")
    send(broker, "b", queue="bad")
    make_full(consumer, "bad", BACK)
    storage_of(consumer)._timeout = 5.0
    until(lambda: waits_here(consumer) == 2, "both are pushed")
    storage_of(consumer)._timeout = 0.5
    monkeypatch.setattr(holding, "UNCLAIMED_FOR", 0.0)
    for _ in range(3):
        with pytest.raises(BrokerError):
            consumer.renew()
    make_room(consumer, "bad", BACK)
    consumer.renew()
    other = join("good", "bad")
    came = fetch_when_there(other, 5)
    came += fetch_all(other)
    assert sorted((decoded(each).id, each.losses) for each in came) == [("a", 0), ("b", 0)]


def waits_here(consumer: Consumer) -> int:
    """How many messages were pushed to it and not claimed."""
    readable(consumer, 0)
    consumer.clear()
    inbox = next(iter(storage_of(consumer)._holdings.values()))._inbox
    return 0 if inbox is None else len(inbox.fresh)


def test_what_a_leaving_worker_gives_back_is_there_once_when_a_queue_refuses_the_rest(
    broker: Broker, join: Callable[..., Consumer]
) -> None:
    consumer = join("good", "bad")
    send(broker, "a", queue="good")
    send(broker, "b", queue="bad")
    held = fetch_when_there(consumer, 2)
    while len(held) < 2:
        held += fetch_when_there(consumer, 2)
    make_full(consumer, "bad", BACK)
    with pytest.raises(BrokerError):
        consumer.close()
    make_room(join(), "bad", BACK)
    other = join("good", "bad")
    came = fetch_when_there(other, 5)
    came += fetch_all(other)
    assert sorted((decoded(each).id, each.losses) for each in came) == [("a", 0), ("b", 1)]


def test_a_worker_whose_connection_was_lost_leaves_without_a_word(
    broker: Broker, join: Callable[..., Consumer]
) -> None:
    """As one that was stopped for longer than its lease, while it stopped: the broker has given back what it held."""
    consumer = join()
    send(broker, "a", "b")
    assert ids(fetch_when_there(consumer)) == ["a"]
    wire = storage_of(consumer)._in.line.open_wire
    assert wire is not None
    wire._socket.shutdown(2)
    consumer.close()
    came = fetch_when_there(join(), 2)
    assert (decoded(came[0]).id, came[0].losses) == ("a", 1)


def test_what_is_sent_on_is_sent_on_once_while_a_queue_refuses_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """A classic queue counts no losses: what comes from it again is sent on with one more, before anybody gets it."""
    monkeypatch.setattr(holding, "SEND_ON_FOR", 0.3)
    monkeypatch.setattr(holding, "SEND_ON_AGAIN", 0.0)
    broker = Broker(f"{the_node().url}?prefix={uuid.uuid4().hex[:8]}.&queue_type=classic")
    dead = broker.consumer(["good", "bad"], name="dead", lease=LEASE)
    send(broker, "a", queue="good")
    send(broker, "b", queue="bad")
    held: list[Delivery] = []
    while len(held) < 2:
        held += fetch_when_there(dead, 2)
    make_full(dead, "bad", BACK)
    hang_up(dead)
    consumer = broker.consumer(["good", "bad"], name="w", lease=LEASE)
    came = fetch_when_there(consumer, 5)
    for _ in range(3):
        came += consumer.fetch(5)
    assert [(decoded(each).id, each.losses) for each in came] == [("a", 1)]
    make_room(consumer, "bad", BACK)
    came += fetch_when_there(consumer, 5)
    came += fetch_all(consumer)
    assert [(decoded(each).id, each.losses) for each in came] == [("a", 1), ("b", 1)]
    consumer.close()
    dead.close()
    broker.close()


def test_what_was_peeked_at_is_put_back_once_when_its_queue_refuses_the_rest(
    broker: Broker, join: Callable[..., Consumer]
) -> None:
    send(broker, "a", "b", "c")
    looker = join("other")
    make_full(looker, "default", BACK, room=1)
    with pytest.raises(BrokerError):
        storage_of(looker).peek("default", 10)
    consumer = join()
    came = fetch_when_there(consumer, 5)
    came += fetch_all(consumer)
    assert sorted(ids(came)) == ["a", "b", "c"]
    assert consumer.settle(acks(came), None, shared=False) == []
