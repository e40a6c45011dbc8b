"""The SQL transport while PostgreSQL restarts, dies, hangs, ends sessions, and takes transactions back."""

import select
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from taskbus.broker.broker import Broker
from taskbus.broker.consumer import Consumer
from taskbus.broker.delivery import Settlement
from taskbus.database.remark import Weight
from taskbus.errors import BrokerError, LeaseLost, PublishFailed
from taskbus.testing.transport_basis import LEASE, acks, fetch_when_there, ids, message, quiet, readable, send, waiting
from taskbus.testing.transport_publishing import check_that_publishing_keeps_its_deadline
from tests.servers import postgres_server
from tests.servers.postgres_server import PostgresServer
from tests.servers.proxy import Proxy
from tests.servers.server import until

POLL = 5.0
"""Seconds after which a worker's loop looks for itself."""
RECOVERY = 15.0


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server that may be broken; each test leaves it running."""
    with postgres_server.server_of_its_own() as server:
        yield server


@pytest.fixture
def url(server: PostgresServer, request: pytest.FixtureRequest) -> str:
    return server.url(schema=f"t{abs(hash(request.node.name))}")


@pytest.fixture
def broker(url: str) -> Iterator[Broker]:
    broker = Broker(url, publish_timeout=2.0)
    yield broker
    broker.close()


@pytest.fixture
def consumer(broker: Broker) -> Consumer:
    return broker.consumer(["default"], name="worker", lease=LEASE)


def again(step: Callable[[], object], timeout: float = RECOVERY) -> None:
    """Take a step as a worker does: over and over, until the broker is there again."""

    def succeeds() -> bool:
        try:
            step()
        except (BrokerError, PublishFailed):
            return False
        return True

    until(succeeds, "the broker is used again", timeout)


# --- servers that go and come back ---


@pytest.mark.parametrize("end", ["stop", "stop_immediately", "kill"])
def test_nothing_accepted_is_lost_when_the_server_restarts(
    server: PostgresServer, broker: Broker, consumer: Consumer, end: str
) -> None:
    send(broker, "a", "b", "c")
    held = consumer.fetch(2)
    getattr(server, end)()
    with pytest.raises(PublishFailed, match="is it running"):
        send(broker, "refused")
    with pytest.raises(BrokerError, match="is it running"):
        consumer.renew()
    server.start()
    consumer.renew()
    assert consumer.settle(acks(held), None, shared=False) == []
    send(broker, "d")
    assert ids(consumer.fetch(5)) == ["c", "d"]


def test_ten_restarts_in_a_row_are_each_survived(server: PostgresServer, broker: Broker, consumer: Consumer) -> None:
    for n in range(10):
        (server.stop if n % 2 else server.stop_immediately)()
        server.start()
        again(lambda n=n: send(broker, f"m{n}"))  # type: ignore[misc]
        deliveries = fetch_when_there(consumer)
        assert ids(deliveries) == [f"m{n}"]
        assert consumer.settle(acks(deliveries), None, shared=False) == []
    assert waiting(broker) == []


def test_a_restart_while_idle_is_noticed_without_an_error(
    server: PostgresServer, broker: Broker, consumer: Consumer
) -> None:
    send(broker, "a")
    server.restart()
    assert broker.publish(message("b")) is None
    assert ids(consumer.fetch(5)) == ["a", "b"]


def test_an_idle_consumer_wakes_after_a_restart(server: PostgresServer, broker: Broker, consumer: Consumer) -> None:
    assert consumer.fetch(1) == []
    quiet(consumer)
    server.restart()
    assert readable(consumer)
    consumer.clear()
    assert consumer.fetch(1) == []
    quiet(consumer)
    in_thread(lambda: send(broker, "a"))
    assert readable(consumer)
    assert ids(fetch_when_there(consumer)) == ["a"]


# --- sessions that are ended ---


def test_a_publisher_whose_session_was_ended_goes_on(server: PostgresServer, broker: Broker) -> None:
    for n in range(5):
        send(broker, f"m{n}")
        assert server.terminate("application_name = 'taskbus'") >= 1
    assert waiting(broker) == [f"m{n}" for n in range(5)]


def test_a_worker_whose_session_was_ended_settles_each_message_once(
    server: PostgresServer, broker: Broker, consumer: Consumer
) -> None:
    names = [f"m{n}" for n in range(60)]
    with broker.batch():
        send(broker, *names)
    ended = threading.Event()

    def end_sessions() -> None:
        while not ended.wait(0.02):
            server.terminate("application_name = 'taskbus'")

    nemesis = threading.Thread(target=end_sessions)
    nemesis.start()
    done: list[str] = []
    try:
        deadline = time.monotonic() + 60
        while len(done) < len(names) and time.monotonic() < deadline:
            settle_some(consumer, done)
    finally:
        ended.set()
        nemesis.join()
    again(lambda: settle_some(consumer, done))
    assert sorted(done) == sorted(names)
    assert [(size.ready, size.running) for size in broker.queues() if size.name == "default"] == [(0, 0)]


def settle_some(consumer: Consumer, done: list[str]) -> None:
    """One turn of a worker: what a claim lost comes with the next one, what a settlement lost is not stale."""
    try:
        deliveries = consumer.fetch(3)
    except BrokerError:
        return
    while deliveries:
        try:
            stale = consumer.settle(acks(deliveries), None, shared=False)
        except BrokerError:
            continue
        assert stale == []
        done += ids(deliveries)
        return


def test_a_notification_that_was_lost_costs_no_more_than_the_loops_own_look(
    server: PostgresServer, broker: Broker, consumer: Consumer
) -> None:
    quiet(consumer)
    assert server.terminate("query LIKE '%%' AND application_name = 'taskbus'") >= 1
    in_thread(lambda: send(broker, "a"))
    started = time.monotonic()
    select.select([consumer.fileno()], [], [], POLL)
    consumer.clear()
    assert ids(consumer.fetch(1)) == ["a"]
    assert time.monotonic() - started < POLL + 1


# --- servers that say nothing ---


def test_publishing_keeps_its_deadline_when_the_server_is_paused(server: PostgresServer, url: str) -> None:
    check_that_publishing_keeps_its_deadline(url, server.pause, server.resume)


def test_a_worker_keeps_its_deadlines_when_the_server_is_paused(server: PostgresServer, url: str) -> None:
    broker = Broker(url)
    consumer = broker.consumer(["default"], name="worker", lease=LEASE)
    send(broker, "a", "b")
    (held,) = consumer.fetch(1)
    server.pause()
    try:
        for step in (
            lambda: consumer.fetch(1),
            consumer.renew,
            lambda: consumer.settle(acks([held]), None, shared=False),
        ):
            started = time.monotonic()
            with pytest.raises(BrokerError, match="no answer"):
                step()
            assert time.monotonic() - started < 6.5
    finally:
        server.resume()
    again(consumer.renew)
    assert consumer.settle(acks([held]), None, shared=False) == []
    # A claim that the paused server read only when it went on is given back by the next one, or after a renewal.
    found: list[str] = []

    def found_b() -> bool:
        consumer.renew()
        found.extend(ids(consumer.fetch(1)))
        return found == ["b"]

    until(found_b, "the message of the lost claim is delivered", 15)


def test_a_blackholed_server_is_given_up_in_time_and_found_again(server: PostgresServer, url: str) -> None:
    with Proxy(server.port) as proxy:
        through = server.url_of(proxy.port, schema=url.rpartition("=")[2])
        broker = Broker(through, publish_timeout=1.0)
        send(broker, "before")
        proxy.blackhole()
        for _ in range(2):
            started = time.monotonic()
            with pytest.raises(PublishFailed):
                send(broker, "lost")
            assert time.monotonic() - started < 2
        proxy.heal()
        again(lambda: send(broker, "after"))
        assert waiting(broker)[0] == "before"
        broker.close()


# --- transactions that are taken back ---


def test_a_serialization_failure_is_tried_again_inside(
    server: PostgresServer, broker: Broker, consumer: Consumer, url: str
) -> None:
    send(broker, "a", "b")
    (held,) = consumer.fetch(1)
    refuse_once(server, url, "40001")
    send(broker, "c")
    (second,) = consumer.fetch(1)
    follow_up = Settlement(held, follow_ups=[message("next")])
    refuse_once(server, url, "40P01")
    assert consumer.settle([follow_up, Settlement(second)], None, shared=False) == []
    assert waiting(broker) == ["c", "next"]


def refuse_once(server: PostgresServer, url: str, code: str) -> None:
    """Have the next insertion of a message fail, as another session's would."""
    schema = url.rpartition("=")[2]
    server.run(f"CREATE SEQUENCE IF NOT EXISTS {schema}.refusals")
    server.run(f"ALTER SEQUENCE {schema}.refusals RESTART")
    server.run(
        f"CREATE OR REPLACE FUNCTION {schema}.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF nextval('{schema}.refusals') = 1 THEN RAISE EXCEPTION 'taken back' USING ERRCODE = '{code}'; END IF;"
        " RETURN NEW; END $$"
    )
    server.run(
        f"CREATE OR REPLACE TRIGGER refuse BEFORE INSERT ON {schema}.taskbus_message"
        f" FOR EACH ROW EXECUTE FUNCTION {schema}.refuse()"
    )


def test_a_worker_stopped_inside_a_transaction_does_not_hold_up_the_reaping_of_others(
    server: PostgresServer, url: str
) -> None:
    broker = Broker(url)
    send(broker, "a", "b")
    locked, dead = (broker.consumer(["default"], name=name, lease=0.1) for name in ("locked", "dead"))
    locked.fetch(1)
    dead.fetch(1)
    schema = url.rpartition("=")[2]
    with server.connect() as other:
        other.execute("BEGIN")
        other.execute(f"SELECT * FROM {schema}.taskbus_worker WHERE name = 'locked' FOR KEY SHARE")
        alive = broker.consumer(["default"], name="alive", lease=LEASE)
        until(lambda: alive.reap() == 1, "the dead one is reaped", 5)
        assert ids(alive.fetch(5)) == ["b"]
    until(lambda: alive.reap() == 1, "the other is reaped once its lock is gone", 5)
    with pytest.raises(LeaseLost):
        locked.renew()
    broker.close()


# --- what it says of itself ---


@pytest.mark.parametrize(
    ("settings", "says", "weight"),
    [
        ({"fsync": "on"}, "survives a crash and a power failure; a failover", Weight.FINE),
        (
            {"fsync": "on", "synchronous_commit": "off"},
            "fsync=on: a crash of the server or a power failure takes the last moments",
            Weight.RISK,
        ),
        ({"fsync": "off"}, "fsync=off: what is accepted survives a crash of the server; a power failure", Weight.RISK),
        (
            {"fsync": "off", "synchronous_commit": "off"},
            "fsync=off, synchronous_commit=off: a crash of the server takes the last moments; a power failure may ruin",
            Weight.RISK,
        ),
        ({"fsync": "on", "full_page_writes": "off"}, "full_page_writes=off", Weight.RISK),
    ],
)
def test_the_durability_row_is_that_of_the_live_settings(settings: dict[str, str], says: str, weight: Weight) -> None:
    with postgres_server.server_of_its_own(**settings) as server:
        broker = Broker(server.url())
        found = {remark.subject: remark for remark in broker.examine()}
        assert says in found["durability"].text
        assert found["durability"].weight is weight
        assert found["version"].text.startswith("PostgreSQL 1")
        assert postgres_server.PASSWORD not in str(found)
        broker.close()


# --- URLs ---


def test_a_wrong_password_is_told_and_not_shown(server: PostgresServer) -> None:
    broker = Broker(server.url().replace(postgres_server.PASSWORD, "wr0ng"))
    with pytest.raises(BrokerError, match="check user and password") as caught:
        broker.workers()
    assert "wr0ng" not in str(caught.value) + repr(broker.safe_url)


def test_a_database_that_is_not_there_is_named(server: PostgresServer) -> None:
    with pytest.raises(BrokerError, match=r"'nowhere'.*create it"):
        Broker(f"{server.url().rpartition('/')[0]}/nowhere").workers()


def in_thread(work: Callable[[], object]) -> None:
    """Do it on another connection: each thread has its own."""
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
