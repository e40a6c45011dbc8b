"""RabbitMQ's own faults, on a real node: nothing accepted is lost, nothing waits longer than told, work goes on after.

Source of the cases: RabbitMQ's documentation of alarms, confirms, consumer cancellation and acknowledgement timeouts.
"""

import threading
import time
import uuid
from collections.abc import Callable, Iterator

import pytest

from taskbus.broker.broker import Broker
from taskbus.broker.consumer import Consumer
from taskbus.broker.delivery import Act, Delivery, Settlement
from taskbus.broker.entities import Queue
from taskbus.clock import wall_clock
from taskbus.errors import BrokerError, LeaseLost, PublishFailed, PublishUnknown
from taskbus.testing.transport_basis import acks, decoded, fetch_all, fetch_when_there, ids, message, readable, send
from taskbus.testing.transport_publishing import check_that_publishing_keeps_its_deadline
from tests.servers.proxy import Proxy, Way
from tests.servers.rabbitmq_server import RabbitServer, the_node
from tests.servers.server import until

LEASE = 30.0
LONGEST = 15.0
"""Seconds within which work must go on after a fault has ended."""


@pytest.fixture
def node() -> Iterator[RabbitServer]:
    """The shared node, up again whatever a test did to it."""
    node = the_node()
    yield node
    if not node.is_up():
        node.kill()
        node.start()


@pytest.fixture
def options() -> str:
    return f"?prefix={uuid.uuid4().hex[:8]}."


@pytest.fixture
def url(node: RabbitServer, options: str) -> str:
    return node.url + options


@pytest.fixture
def open_broker() -> Iterator[Callable[..., Broker]]:
    brokers = []

    def open_broker(url: str, **settings: float) -> Broker:
        brokers.append(Broker(url, **settings))  # type: ignore[arg-type]
        return brokers[-1]

    yield open_broker
    for broker in brokers:
        broker.close()


@pytest.fixture
def broker(url: str, open_broker: Callable[..., Broker]) -> Broker:
    return open_broker(url, publish_timeout=2.0)


@pytest.fixture
def consumer(broker: Broker) -> Iterator[Consumer]:
    consumer = broker.consumer(["default"], name="w", lease=LEASE)
    yield consumer
    try:
        consumer.close()
    except BrokerError:
        pass  # it lost its connection in the test, and has nothing to give back


@pytest.fixture
def proxy(node: RabbitServer) -> Iterator[Proxy]:
    with Proxy(node.port) as proxy:
        yield proxy


@pytest.fixture
def through(proxy: Proxy, node: RabbitServer, options: str, open_broker: Callable[..., Broker]) -> Broker:
    """A broker that is reached through the proxy."""
    return open_broker(node.url.replace(str(node.port), str(proxy.port)) + options, publish_timeout=2.0)


def work(consumer: Consumer, limit: int = 10, within: float = LONGEST) -> list[Delivery]:
    """Fetch as a supervisor does, through lost leases and a broker that is away."""
    deadline = time.monotonic() + within
    pause = threading.Event()
    while time.monotonic() < deadline:
        try:
            consumer.clear()
            if deliveries := consumer.fetch(limit):
                return deliveries
            readable(consumer, min(1.0, deadline - time.monotonic()))
        except LeaseLost:
            consumer.rejoin()
        except BrokerError:
            pause.wait(0.05)
    raise AssertionError(f"nothing came within {within:g} s")


def persist(broker: Broker, id: str, within: float = LONGEST) -> None:
    """Publish as a patient caller does: again until it is accepted."""
    deadline = time.monotonic() + within
    while True:
        try:
            return send(broker, id)
        except PublishFailed:
            assert time.monotonic() < deadline, "it is still refused"
            threading.Event().wait(0.05)


# --- connections ---


def test_when_all_connections_are_closed_work_goes_on_and_what_was_held_comes_again(
    node: RabbitServer, broker: Broker, consumer: Consumer
) -> None:
    send(broker, "held")
    held = fetch_when_there(consumer)
    node.close_all_connections()
    send(broker, "after")  # a dead connection found before anything was sent is made anew in silence
    with pytest.raises(LeaseLost):
        consumer.renew()
    assert consumer.settle(acks(held), None, shared=False) == held
    consumer.rejoin()
    came: dict[str, int] = {}
    while len(came) < 2:
        deliveries = work(consumer)
        came |= {decoded(each).id: each.losses for each in deliveries}
        assert consumer.settle(acks(deliveries), None, shared=False) == []
    assert came == {"held": 0, "after": 0}  # the worker lives, so the cut was no loss: see test_amqp_losses


@pytest.mark.slow
def test_a_broker_restarted_over_and_over_is_consumed_from_again_each_time(
    node: RabbitServer, broker: Broker, consumer: Consumer
) -> None:
    for n in range(3):
        persist(broker, f"before{n}")
        node.restart()
        up_at = time.monotonic()
        persist(broker, f"after{n}")
        came: set[str] = set()
        while not {f"before{n}", f"after{n}"} <= came:
            deliveries = work(consumer)
            came |= {*ids(deliveries)}
            consumer.settle(acks(deliveries), None, shared=False)
        assert time.monotonic() - up_at < LONGEST


@pytest.mark.slow
def test_a_killed_broker_has_lost_nothing_that_it_confirmed(
    node: RabbitServer, url: str, open_broker: Callable[..., Broker]
) -> None:
    # A delay queue that is up before the queue behind it waits so long, by default 3 minutes, before it tries again.
    again = "[{rabbit, [{dead_letter_worker_publisher_confirm_timeout, 2000}]}]."
    (node.folder / "advanced.config").write_text(again)
    broker = open_broker(url, publish_timeout=2.0)
    accepted, tried = ["plain", "delayed"], 0
    send(broker, "plain")
    send(broker, "delayed", due_at=wall_clock() + 0.6005)
    # RabbitMQ writes down every half second which queues there are: one newer than that is lost with all it holds.
    written_at = time.monotonic() + 1.5
    until(lambda: time.monotonic() > written_at, "the queues are written down")
    killer = threading.Timer(0.5, node.kill)
    killer.start()
    started = time.monotonic()
    while time.monotonic() < started + LONGEST:
        names, tried = [f"m{tried}", f"n{tried}"], tried + 1
        try:
            send(broker, names[0])
            accepted.append(names[0])
            with broker.batch():
                send(broker, names[1], due_at=wall_clock() + 0.6005 if tried % 2 else None)
            accepted.append(names[1])
        except PublishFailed:
            break
    killer.join()
    assert 10 < len(accepted) < 2 * tried + 2
    node.start()
    consumer = open_broker(url).consumer(["default"], name="w", lease=LEASE)
    came: set[str] = set()
    while not came >= {*accepted}:
        deliveries = work(consumer, 500)
        came |= {*ids(deliveries)}
        assert consumer.settle(acks(deliveries), None, shared=False) == []
    consumer.close()


# --- replies and requests that are lost ---


def test_a_lost_confirm_is_an_unknown_outcome(proxy: Proxy, through: Broker, consumer: Consumer) -> None:
    send(through, "first")
    lost = proxy.lose_reply(b"tasks.add")
    with pytest.raises(PublishUnknown, match="not confirmed"):
        send(through, "unknown")
    assert lost.is_over
    send(through, "after")
    assert ids(fetch_all(consumer)) == ["first", "unknown", "after"]


def test_a_connection_cut_inside_a_message_leaves_it_whole_or_out(
    proxy: Proxy, through: Broker, consumer: Consumer
) -> None:
    send(through, "whole")
    came, unknown = fetch_all(consumer), 0
    for count in range(1, 150, 13):
        persist(through, f"warm{count}")
        proxy.cut_after(count, Way.TO_SERVER)
        try:
            send(through, f"cut{count}")
        except PublishUnknown:
            unknown += 1
        proxy.heal()
    send(through, "after")
    came += fetch_all(consumer)
    assert unknown >= 5
    assert (ids(came)[0], ids(came)[-1]) == ("whole", "after")
    assert {f"warm{count}" for count in range(1, 150, 13)} <= {*ids(came)}
    assert len({*ids(came)}) == len(came)


def test_publishing_and_consuming_into_a_void_end_in_time_and_go_on_after_it(
    proxy: Proxy, through: Broker, broker: Broker
) -> None:
    consumer = through.consumer(["default"], name="w", lease=2.0)
    send(broker, "a")
    fetch_when_there(consumer)
    proxy.blackhole()
    started = time.monotonic()
    with pytest.raises(PublishFailed):
        send(through, "x")
    assert time.monotonic() - started < 3

    def is_lost() -> bool:
        try:
            consumer.renew()
        except LeaseLost:
            return True
        except BrokerError:
            return False
        return False

    until(is_lost, "the worker finds out by itself", 10)
    proxy.heal()
    consumer.rejoin()
    assert (again := work(consumer)) and ids(again) == ["a"]
    assert again[0].losses == 0  # nothing had killed the worker that held it
    consumer.close()


def test_a_broker_that_stands_still_keeps_nobody_longer_than_told(node: RabbitServer, url: str) -> None:
    check_that_publishing_keeps_its_deadline(url, node.pause, node.resume)


# --- alarms ---


@pytest.fixture(params=["memory", "disk"])
def alarm(node: RabbitServer, request: pytest.FixtureRequest) -> Iterator[Callable[[bool], None]]:
    switch = {"memory": node.set_memory_alarm, "disk": node.set_disk_alarm}[request.param]

    def alarm(is_on: bool) -> None:
        switch(is_on)
        shown = "[]" if not is_on else "resource_limit"
        until(lambda: shown in node.evaluate("rabbit_alarm:get_alarms()."), f"the alarm is {is_on}")

    yield alarm
    alarm(False)


@pytest.mark.slow
def test_during_an_alarm_publishing_is_refused_in_time_and_consuming_goes_on(
    broker: Broker, consumer: Consumer, alarm: Callable[[bool], None]
) -> None:
    send(broker, "a", "b", "c", "d")
    first = fetch_when_there(consumer, 2)
    alarm(True)
    outcomes = []
    for id in ("x", "y", "z"):  # the broker says that it is blocked when it has been sent something
        started = time.monotonic()
        try:
            send(broker, id)
            outcomes.append("accepted")
        except PublishFailed as error:
            outcomes.append(type(error).__name__)
            assert time.monotonic() - started < 3
    assert outcomes[-1] == "PublishFailed"
    # What needs nothing published is settled; what does comes again, and is not stale then.
    retry = Settlement(first[1], follow_ups=[message("b+")])
    settlements = [Settlement(first[0]), retry]
    for _ in range(2):
        try:
            assert consumer.settle(settlements, None, shared=False) == []
            break
        except BrokerError:
            continue
    more = fetch_when_there(consumer, 2)
    assert ids(more)[0] == "c"
    assert consumer.settle(acks(more), None, shared=False) == []
    alarm(False)
    if outcomes:
        assert consumer.settle([retry], None, shared=False) in ([], [first[1]])
    persist(broker, "after")
    came = ids(fetch_all(consumer))
    assert {"b+", "after"} <= {*came}
    assert came.count("b+") == 1


# --- queues that go away ---


def test_a_queue_deleted_under_its_worker_is_made_again(broker: Broker, consumer: Consumer) -> None:
    send(broker, "a", priority=4)
    assert ids(fetch_when_there(consumer)) == ["a"]
    with broker.connection() as connection:
        Queue("default", channel=connection).delete()
    until(lambda: readable(consumer, 0), "the worker is told")
    consumer.clear()
    assert consumer.fetch(1) == []
    send(broker, "b")
    send(broker, "c", priority=4)
    assert sorted(ids(fetch_when_there(consumer, 2) + fetch_all(consumer))) == ["b", "c"]


def test_a_queue_deleted_under_its_publisher_is_made_again(broker: Broker) -> None:
    send(broker, "a")
    send(broker, "b", priority=7)
    with broker.connection() as connection:
        Queue("default", channel=connection).delete()
    send(broker, "c")
    with broker.batch():
        send(broker, "d", "e")
        send(broker, "f", priority=7)
    consumer = broker.consumer(["default"], name="w", lease=LEASE)
    assert sorted(ids(fetch_all(consumer))) == ["c", "d", "e", "f"]
    consumer.close()


def test_what_cannot_be_routed_and_whose_queue_may_not_be_made_is_refused(
    node: RabbitServer, url: str, open_broker: Callable[..., Broker]
) -> None:
    name = f"u{uuid.uuid4().hex[:8]}"
    node.control("add_user", name, "word")
    node.control("set_permissions", "-p", "/", name, "^$", ".*", ".*")
    humble = open_broker(url.replace("guest:guest", f"{name}:word"))
    with pytest.raises(PublishFailed, match="no queue takes it"):
        send(humble, "a")
    with pytest.raises(PublishFailed, match="no queue takes it"), humble.batch():
        send(humble, "a", "b")
    send(open_broker(url), "makes it")
    send(humble, "goes through")


# --- leases ---


def test_a_delivery_held_longer_than_the_consumer_timeout_is_taken_away_and_not_lost(
    node: RabbitServer, broker: Broker
) -> None:
    default = "application:set_env(rabbit, consumer_timeout, 1800000), "
    tick = "application:set_env(rabbit, channel_tick_interval, 60000)."
    node.evaluate(default.replace("1800000", "1000") + tick.replace("60000", "300"))
    try:
        consumer = broker.consumer(["default"], name="w", lease=LEASE)
        send(broker, "long")
        (held,) = fetch_when_there(consumer)
        until(lambda: readable(consumer, 0), "the broker takes it back")
        with pytest.raises(LeaseLost, match=r"timeout|timed out"):
            consumer.renew()
    finally:
        node.evaluate(default + tick)
    consumer.rejoin()
    (again,) = work(consumer)
    assert (decoded(again).id, again.losses) == ("long", 1)
    assert consumer.settle([Settlement(held, Act.ACK)], None, shared=False) == [held]
    consumer.close()


def test_many_lost_connections_drop_no_innocent(broker: Broker, node: RabbitServer) -> None:
    """RabbitMQ 4 gives a message up after 20 losses, unless its queue says otherwise."""
    send(broker, *(f"m{n}" for n in range(5)))
    consumer = broker.consumer(["default"], name="w", lease=LEASE)
    for _ in range(25):
        assert work(consumer, 10)
        consumer._storage._in.line.open_wire._socket.shutdown(2)  # type: ignore[attr-defined]
        until(lambda: readable(consumer, 0), "the end of the connection is seen")
        with pytest.raises(LeaseLost):
            consumer.renew()
        consumer.rejoin()
    came = {decoded(each).id for each in fetch_all(consumer)}
    assert came == {f"m{n}" for n in range(5)}
    consumer.close()
