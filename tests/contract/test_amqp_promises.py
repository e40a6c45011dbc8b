"""What the RabbitMQ transport does where AMQP keeps it from the contract of all, and what is its own."""

import re
import time
import uuid
from collections.abc import Callable, Iterator

import pytest

from taskbus.broker.broker import Broker
from taskbus.broker.consumer import Consumer
from taskbus.broker.delivery import Act, Settlement
from taskbus.broker.entities import Exchange, Producer, Queue
from taskbus.broker.transports.amqp import frames, naming
from taskbus.clock import wall_clock
from taskbus.database.remark import Weight
from taskbus.errors import LeaseLost
from taskbus.testing.transport_basis import (
    DEADLINE,
    acks,
    decoded,
    fetch_all,
    fetch_when_there,
    ids,
    message,
    quiet,
    readable,
    send,
    waiting,
)
from tests.servers.rabbitmq_server import RabbitServer, the_node
from tests.servers.server import until

# Forking a process with threads is what some of this is about; Python 3.12 and later warn of it.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

LEASE = 30.0


@pytest.fixture
def node() -> RabbitServer:
    return the_node()


def prefixed(node: RabbitServer, options: str = "") -> str:
    return f"{node.url}?prefix={uuid.uuid4().hex[:8]}.{options}"


@pytest.fixture
def url(node: RabbitServer) -> str:
    return prefixed(node)


@pytest.fixture
def broker(url: str) -> Iterator[Broker]:
    broker = Broker(url)
    yield broker
    broker.close()


@pytest.fixture
def join(broker: Broker) -> Iterator[Callable[..., Consumer]]:
    """Opens workers, which are closed afterwards."""
    consumers = []

    def join(*queues: str, lease: float = LEASE) -> Consumer:
        consumers.append(broker.consumer(queues or ("default",), name="w", lease=lease))
        return consumers[-1]

    yield join
    for consumer in consumers:
        consumer.close()


# --- a lease is a connection ---


def hang_up(consumer: Consumer) -> None:
    """End its connection as a network would, and wait until the broker has noticed."""
    wire = consumer._storage._in.line.open_wire  # type: ignore[attr-defined]
    wire._socket.shutdown(2)
    until(lambda: readable(consumer, 0), "the end of the connection is seen")


def test_a_worker_that_stands_still_loses_its_lease_to_the_heartbeat(join: Callable[..., Consumer]) -> None:
    consumer, other = join(lease=2.0), join()
    send(Broker(consumer._connection.transport_options["url"]), "a")
    (held,) = fetch_when_there(consumer)
    (again,) = fetch_when_there(other)
    assert (decoded(again).id, again.losses) == ("a", 1)
    with pytest.raises(LeaseLost):
        consumer.renew()
    assert consumer.settle([Settlement(held)], None, shared=False) == [held]
    consumer.rejoin()
    assert consumer.fetch(1) == []


def test_a_worker_that_renews_keeps_its_lease(broker: Broker, join: Callable[..., Consumer]) -> None:
    consumer, other = join(lease=1.5), join(lease=1.5)
    send(broker, "a")
    held = fetch_when_there(consumer)
    started = time.monotonic()
    while time.monotonic() < started + 5:
        consumer.renew()
        other.renew()
        assert other.fetch(1) == []
        readable(other, 0.4)
    assert consumer.settle(acks(held), None, shared=False) == []


def test_a_worker_that_held_nothing_does_not_notice_that_its_connection_was_cut(
    broker: Broker, join: Callable[..., Consumer]
) -> None:
    consumer = join()
    assert consumer.fetch(1) == []
    incarnation = consumer.incarnation
    hang_up(consumer)
    consumer.renew()
    send(broker, "a")
    assert ids(fetch_when_there(consumer)) == ["a"]
    assert consumer.incarnation == incarnation


def test_an_ack_reaches_only_what_it_is_for(broker: Broker, join: Callable[..., Consumer]) -> None:
    """In any order, and several at once: acks of contiguous deliveries travel as one."""
    send(broker, *(f"m{n}" for n in range(12)))
    consumer = join()
    held = fetch_when_there(consumer, 12)
    assert len(held) == 12
    for numbers in ([5], [0, 1, 3], [2], [11, 10], [4, 6]):
        assert consumer.settle([Settlement(held[n]) for n in numbers], None, shared=False) == []
    hang_up(consumer)
    other = join()
    assert sorted(ids(fetch_all(other))) == ["m7", "m8", "m9"]
    with pytest.raises(LeaseLost):
        consumer.renew()


# --- what is pushed, and what is given back ---


def test_what_is_pushed_and_not_claimed_is_given_to_others(broker: Broker, join: Callable[..., Consumer]) -> None:
    send(broker, "a1", "a2", queue="a")
    send(broker, "b1", "b2", queue="b")
    busy = join("a", "b")
    (first,) = busy.fetch(1)
    other = join("a", "b")

    def arrived() -> list[str]:
        busy.renew()
        return ids(other.fetch(9))

    came: list[str] = []
    until(lambda: bool(came.extend(arrived())) or len(came) == 3, "the others get the rest")
    assert sorted([*came, decoded(first).id]) == ["a1", "a2", "b1", "b2"]
    assert busy.settle([Settlement(first)], None, shared=False) == []
    send(broker, "more", queue="b")
    other.close()
    assert sorted(ids(fetch_when_there(busy, 5))) in (["more"], sorted([*came, "more"]))


def test_an_idle_worker_learns_of_a_priority_used_for_the_first_time(
    broker: Broker, join: Callable[..., Consumer]
) -> None:
    consumer = join()
    assert consumer.fetch(1) == []
    quiet(consumer)
    send(broker, "urgent", priority=9)
    assert ids(fetch_when_there(consumer)) == ["urgent"]


def test_what_is_given_back_comes_before_what_waits(broker: Broker, join: Callable[..., Consumer]) -> None:
    consumer = join()
    send(broker, *(f"m{n}" for n in range(20)))
    held = fetch_when_there(consumer, 1)
    assert consumer.settle([Settlement(held[0], Act.CRASH)], None, shared=False) == []
    came = fetch_when_there(join(), 1)
    assert (ids(came), came[0].crashes) == (["m0"], 1)


def test_the_queue_of_what_is_given_back_is_as_old_as_its_worker(
    node: RabbitServer, url: str, join: Callable[..., Consumer]
) -> None:
    """After a kill of the node a younger one may have no leader, and whoever consumes from it stands still."""
    assert join().fetch(1) == []
    assert f"{url.partition('prefix=')[2]}default~back" in node.control("list_queues", "name").split()


def test_nothing_is_left_behind_by_a_worker_that_has_gone(
    node: RabbitServer, broker: Broker, url: str, join: Callable[..., Consumer]
) -> None:
    send(broker, "a")
    prefix = url.partition("prefix=")[2]

    def mine() -> set[str]:
        names = node.control("list_queues", "name").split()
        return {name.removeprefix(prefix) for name in names if name.startswith((prefix, "amq.gen"))}

    before, connections = mine(), node.connections()
    consumer = join()
    fetch_when_there(consumer)
    assert node.connections() == connections + 1
    consumer.close()
    until(lambda: node.connections() == connections, "the connection is closed")
    assert mine() - before == {"default~back"}
    assert waiting(broker) == ["a"]


def test_a_worker_that_rests_has_one_subscription_to_a_queue_whatever_it_had_before(
    node: RabbitServer, broker: Broker, url: str, join: Callable[..., Consumer]
) -> None:
    name = f"{url.partition('prefix=')[2]}default"

    def consumers() -> int:
        return node.control("list_consumers", "queue_name", "--silent").split().count(name)

    consumer = join()
    send(broker, "a")
    held = fetch_when_there(consumer)
    send(broker, "b", "c")
    held += fetch_all(consumer)
    consumer.renew()
    assert consumers() == 2, "one that holds something is not cancelled to be made larger"
    consumer.settle(acks(held), None, shared=False)
    consumer.renew()
    assert consumers() == 1
    send(broker, "d")
    consumer.settle(acks(fetch_when_there(consumer)), None, shared=False)
    assert waiting(broker) == []


# --- delays ---


def test_a_delay_is_kept_to_the_millisecond_and_never_cut_short(
    broker: Broker, join: Callable[..., Consumer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(naming, "SMALLEST_DELAY", 20)  # so that the rests are sent on as well
    consumer = join()
    dues = {f"d{milliseconds}": milliseconds for milliseconds in (7, 153, 499, 1099, 1234)}
    now = wall_clock()
    for id, milliseconds in dues.items():
        send(broker, id, due_at=now + milliseconds / 1000)
    late = {}
    while len(late) < len(dues):
        for delivery in fetch_when_there(consumer, 10):
            id = decoded(delivery).id
            late[id] = wall_clock() - (now + dues[id] / 1000)
    assert all(0 <= lateness < 2 for lateness in late.values()), late


@pytest.mark.parametrize(
    ("milliseconds", "split"),
    [
        (0, (0, 0)), (499, (0, 499)), (500, (500, 0)), (1234, (1200, 34)), (9999, (9900, 99)), (10_000, (10_000, 0)),
        (3_661_000, (3_600_000, 61_000)), (10**10, (naming.LONGEST_DELAY, 10**10 - naming.LONGEST_DELAY)),
    ],
)  # fmt: skip
def test_a_delay_is_a_queue_of_two_digits_and_a_rest(milliseconds: int, split: tuple[int, int]) -> None:
    assert naming.split_delay(milliseconds) == split


def test_a_message_retried_with_a_delay_over_and_over_is_never_taken_for_a_cycle(
    broker: Broker, join: Callable[..., Consumer]
) -> None:
    """RabbitMQ drops what is dead-lettered twice into the same queue, unless it was published anew in between."""
    consumer = join()
    send(broker, "a")
    for attempt in range(2, 8):
        (delivery,) = fetch_when_there(consumer)
        retry = message("a", attempt=attempt, due_at=wall_clock() + 0.55)
        assert consumer.settle([Settlement(delivery, follow_ups=[retry])], None, shared=False) == []
    for _ in range(5):
        (delivery,) = fetch_when_there(consumer)
        assert decoded(delivery).attempt == 7
        assert consumer.settle([Settlement(delivery, Act.RELEASE, 0.55)], None, shared=False) == []
    assert ids(fetch_when_there(consumer)) == ["a"]


# --- other people's queues ---


def test_a_queue_that_is_there_with_other_arguments_is_used_as_it_is(
    node: RabbitServer, broker: Broker, url: str, join: Callable[..., Consumer]
) -> None:
    as_classic = Broker(f"{url}&queue_type=classic")
    as_classic.consumer(["default"], name="first", lease=LEASE).close()
    send(broker, "a", "b", priority=0)
    assert ids(fetch_when_there(join(), 5)) == ["a", "b"]
    as_classic.close()


def test_kombus_messages_keep_their_exchange_and_key(broker: Broker) -> None:
    with broker.connection() as connection:
        exchange = Exchange("orders", "topic", channel=connection)
        queue = Queue("all", exchange, "#", channel=connection)
        queue.declare()
        Producer(connection).publish("x", exchange=exchange, routing_key="new.red")
        received = queue.get(no_ack=True)
        assert received is not None
        assert received.delivery_info["routing_key"] == "new.red"
        assert received.delivery_info["exchange"].endswith("orders")


# --- views ---


def test_sizes_tell_of_the_queues_this_process_named(broker: Broker, join: Callable[..., Consumer]) -> None:
    join("here")
    send(broker, "a", "b", queue="here")
    send(broker, "c", queue="here", priority=3)
    with broker.connection() as connection:
        Queue("here", channel=connection).declare()
        (size,) = connection.default_channel.storage.sizes()
    assert (size.name, size.ready) == ("here", 3)
    assert broker.workers() == []


def test_the_doctor_hears_version_durability_and_what_cannot_be_seen(node: RabbitServer, url: str) -> None:
    broker, classic = Broker(url), Broker(f"{url}&queue_type=classic")
    remarks = {remark.subject: remark for remark in broker.examine()}
    assert re.fullmatch(r"RabbitMQ \d+\.\d+\.\d+.*", remarks["version"].text)
    assert remarks["durability"].weight is Weight.FINE
    assert "30 minutes" in remarks["consumer_timeout"].text
    assert {remark.weight for remark in remarks.values()} == {Weight.FINE}
    told = Broker(f"{url}&consumer_timeout=7200")
    (timeout,) = [remark for remark in told.examine() if remark.subject == "consumer_timeout"]
    assert "7200 seconds, as the URL says" in timeout.text
    told.close()
    (durability,) = [remark for remark in classic.examine() if remark.subject == "durability"]
    assert durability.weight is Weight.RISK
    broker.close()
    classic.close()


@pytest.mark.parametrize(("is_durable", "arguments", "kind"), [
    (True, {}, "a classic queue"),
    (True, {"x-queue-mode": "lazy", "x-max-priority": 3, "x-expires": 60_000}, "a classic queue"),
    (False, {}, "a queue that does not outlive everything (durable is false)"),
    (True, {"x-queue-type": "stream"}, "a stream queue"),
    (True, {"x-queue-type": "quorum"}, "a quorum queue"),
    (True, {"x-queue-type": "quorum", "x-delivery-limit": 3}, "a quorum queue"),
])  # fmt: skip
@pytest.mark.parametrize("wanted", ["", "&queue_type=classic"], ids=["quorum wanted", "classic wanted"])
def test_the_doctor_hears_what_a_queue_is_that_somebody_else_declared(
    broker: Broker, url: str, wanted: str, is_durable: bool, arguments: dict[str, object], kind: str
) -> None:
    somebody = broker.consumer(["other"], name="w", lease=LEASE)
    storage = somebody._storage
    with storage._using() as deadline:  # type: ignore[attr-defined]
        desk = storage._in  # type: ignore[attr-defined]
        name = desk.naming.queue("default")
        declaration = (frames.QUEUE_DECLARE, 0, name, False, is_durable, False, False, False, arguments)
        desk.line.calls(deadline).ask(*declaration, until=deadline)
    mine = Broker(url + wanted)
    consumer = mine.consumer(["default"], name="w", lease=LEASE)
    (remark,) = [remark for remark in consumer.examine() if remark.subject == "queue type"]
    assert remark.text.startswith(f"{name!r} is {kind}, as somebody declared it")
    is_limited = "x-delivery-limit" in arguments
    assert remark.weight is (Weight.FINE if kind == "a quorum queue" and not is_limited else Weight.RISK)
    assert ("more than 3 times" in remark.text) is is_limited
    consumer.close()
    somebody.close()
    mine.close()


def test_the_doctor_says_nothing_of_queues_that_are_as_they_should_be(join: Callable[..., Consumer]) -> None:
    consumer = join("a", "b")
    assert "queue type" not in {remark.subject for remark in consumer.examine()}


def test_a_name_that_is_too_long_is_an_error_that_says_so(broker: Broker) -> None:
    with pytest.raises(Exception, match="too long for RabbitMQ"):
        send(broker, "a", queue="q" * 260)
    send(broker, "b", queue="q" * 200)
    assert waiting(broker, "q" * 200) == ["b"]


def test_a_batch_larger_than_the_sockets_buffers_is_accepted_whole(
    broker: Broker, join: Callable[..., Consumer]
) -> None:
    with broker.batch(max_size=3000):
        for n in range(3000):
            broker.publish(message(f"m{n}", body=bytes(10_000)))
    consumer, came = join(), 0
    deadline = time.monotonic() + DEADLINE
    while came < 3000:
        deliveries = fetch_when_there(consumer, 200)
        came += len(deliveries)
        assert consumer.settle(acks(deliveries), None, shared=False) == []
        assert time.monotonic() < deadline
    assert consumer.fetch(1) == []
