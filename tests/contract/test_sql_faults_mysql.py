"""The SQL transport while MariaDB restarts, dies, hangs, ends sessions, and takes transactions back."""

import time
from collections.abc import Callable, Iterator

import pytest

from taskbus.broker.broker import Broker
from taskbus.broker.consumer import Consumer
from taskbus.broker.delivery import Act, Settlement
from taskbus.database.remark import Weight
from taskbus.errors import BrokerError, LeaseLost, PublishFailed, PublishUnknown
from taskbus.message import Recorded
from taskbus.testing.transport_basis import LEASE, acks, fetch_when_there, ids, message, send, waiting
from taskbus.testing.transport_publishing import check_that_publishing_keeps_its_deadline
from tests.servers import mariadb_server
from tests.servers.mariadb_server import MariadbServer
from tests.servers.proxy import Proxy
from tests.servers.server import until

RECOVERY = 15.0


@pytest.fixture(scope="module")
def server() -> Iterator[MariadbServer]:
    """A server that may be broken; each test leaves it running."""
    with mariadb_server.server_of_its_own() as server:
        yield server


@pytest.fixture
def database(server: MariadbServer, request: pytest.FixtureRequest) -> str:
    name = f"t{abs(hash(request.node.name))}"
    server.run(f"CREATE DATABASE {name}")
    return name


@pytest.fixture
def url(server: MariadbServer, database: str) -> str:
    return server.url(database)


@pytest.fixture
def broker(url: str) -> Iterator[Broker]:
    broker = Broker(url, publish_timeout=2.0)
    yield broker
    broker.close()


@pytest.fixture
def consumer(broker: Broker) -> Consumer:
    return broker.consumer(["default"], name="worker", lease=LEASE)


@pytest.fixture
def through(server: MariadbServer, database: str) -> Iterator[tuple[Proxy, Broker, Consumer]]:
    """A broker and a consumer behind a proxy."""
    with Proxy(server.port) as proxy:
        broker = Broker(server.url_of(proxy.port, database), publish_timeout=2.0)
        consumer = broker.consumer(["default"], name="worker", lease=LEASE)
        yield proxy, broker, consumer
        consumer.close()
        broker.close()


def again(step: Callable[[], object]) -> None:
    """Take a step as a worker does: over and over, until the broker is there again."""

    def succeeds() -> bool:
        try:
            step()
        except (BrokerError, PublishFailed):
            return False
        return True

    until(succeeds, "the broker is used again", RECOVERY)


# --- servers that go and come back ---


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_nothing_accepted_is_lost_when_the_server_restarts(
    server: MariadbServer, broker: Broker, consumer: Consumer, end: str
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


def test_restarts_in_a_row_are_each_survived(server: MariadbServer, broker: Broker, consumer: Consumer) -> None:
    for n in range(4):
        (server.stop if n % 2 else server.kill)()
        server.start()
        again(lambda n=n: send(broker, f"m{n}"))  # type: ignore[misc]
        deliveries = fetch_when_there(consumer)
        assert ids(deliveries) == [f"m{n}"]
        assert consumer.settle(acks(deliveries), None, shared=False) == []
    assert waiting(broker) == []


# --- sessions that are ended ---


def test_those_whose_sessions_were_ended_go_on(server: MariadbServer, broker: Broker, consumer: Consumer) -> None:
    for n in range(5):
        assert server.kill_connections() >= 1
        send(broker, f"m{n}")
        assert server.kill_connections() >= 1
        deliveries = consumer.fetch(1)
        assert ids(deliveries) == [f"m{n}"]
        assert server.kill_connections() >= 1
        assert consumer.settle(acks(deliveries), None, shared=False) == []


# --- servers that say nothing ---


def test_publishing_keeps_its_deadline_when_the_server_is_paused(server: MariadbServer, url: str) -> None:
    check_that_publishing_keeps_its_deadline(url, server.pause, server.resume)


def test_a_worker_keeps_its_deadlines_when_the_server_is_paused(
    server: MariadbServer, broker: Broker, consumer: Consumer
) -> None:
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
            with pytest.raises(BrokerError):
                step()
            assert time.monotonic() - started < 6.5
    finally:
        server.resume()
    again(consumer.renew)
    assert consumer.settle(acks([held]), None, shared=False) == []
    found: list[str] = []

    def found_b() -> bool:
        consumer.renew()
        found.extend(ids(consumer.fetch(1)))
        return found == ["b"]

    until(found_b, "the message of the lost claim is delivered", RECOVERY)


# --- replies that get lost ---


def test_a_publish_whose_reply_is_lost_is_unknown_and_may_be_repeated(through: tuple[Proxy, Broker, Consumer]) -> None:
    proxy, broker, _ = through
    send(broker, "before")
    lost = proxy.lose_reply(b"COMMIT")
    with pytest.raises(PublishUnknown):
        send(broker, "lost")
    lost.wait(5)
    send(broker, "lost")
    assert waiting(broker) == ["before", "lost"]


def test_a_publish_that_broke_before_its_commit_is_done_again_inside(through: tuple[Proxy, Broker, Consumer]) -> None:
    proxy, broker, _ = through
    send(broker, "before")
    lost = proxy.lose_reply(b"INTO taskbus_message")
    send(broker, "broken")
    lost.wait(5)
    assert waiting(broker) == ["before", "broken"]


def test_a_claim_whose_reply_is_lost_is_delivered_by_the_next(through: tuple[Proxy, Broker, Consumer]) -> None:
    proxy, broker, consumer = through
    send(broker, "a", "b", "c")
    (first,) = consumer.fetch(1)
    lost = proxy.lose_reply(b"COMMIT")
    with pytest.raises(BrokerError):
        consumer.fetch(2)
    lost.wait(5)
    others = consumer.fetch(5)
    assert ids(others) == ["b", "c"]
    assert consumer.settle(acks([first, *others]), None, shared=False) == []


@pytest.mark.parametrize("shared", [False, True])
def test_a_settlement_whose_reply_is_lost_is_not_stale_when_it_is_settled_again(
    through: tuple[Proxy, Broker, Consumer], shared: bool
) -> None:
    proxy, broker, consumer = through
    send(broker, "a", "b", "stale")
    first, second, stale = consumer.fetch(3)
    assert consumer.settle([Settlement(stale, Act.RELEASE)], None, shared=False) == []
    settlements = [
        Settlement(first, follow_ups=[message("next")], changes=["x"]),
        Settlement(second, Act.CRASH),
        Settlement(stale),
    ]
    lost = proxy.lose_reply(b"COMMIT")
    with pytest.raises(BrokerError):
        consumer.settle(settlements, lambda changes, transaction: Recorded(), shared=shared)
    lost.wait(5)
    assert consumer.settle(settlements, lambda changes, transaction: Recorded(), shared=shared) == [stale]
    assert sorted(waiting(broker)) == ["b", "next", "stale"]
    assert consumer.settle(settlements, lambda changes, transaction: Recorded(), shared=shared) == [
        first,
        second,
        stale,
    ]


# --- transactions that are taken back ---


@pytest.mark.parametrize("error", ["1213", "1205"])
def test_a_deadlock_is_tried_again_inside(
    server: MariadbServer, database: str, broker: Broker, consumer: Consumer, error: str
) -> None:
    send(broker, "a", "b")
    (held,) = consumer.fetch(1)
    server.run("CREATE TABLE refusals (n INTEGER AUTO_INCREMENT PRIMARY KEY) ENGINE=MyISAM", database=database)
    server.run(
        "CREATE TRIGGER refuse BEFORE INSERT ON taskbus_message FOR EACH ROW BEGIN"
        "  INSERT INTO refusals () VALUES ();"
        "  IF (SELECT count(*) FROM refusals) = 1 THEN"
        f"    SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = {error}, MESSAGE_TEXT = 'taken back'; END IF; END",
        database=database,
    )
    send(broker, "c")
    server.run("DELETE FROM refusals", database=database)
    assert consumer.settle([Settlement(held, follow_ups=[message("next")])], None, shared=False) == []
    assert waiting(broker) == ["b", "c", "next"]


def test_a_worker_stopped_inside_a_transaction_does_not_hold_up_the_reaping_of_others(
    server: MariadbServer, database: str, url: str
) -> None:
    broker = Broker(url)
    send(broker, "a", "b")
    locked, dead = (broker.consumer(["default"], name=name, lease=0.1) for name in ("locked", "dead"))
    locked.fetch(1)
    dead.fetch(1)
    other = server.connect(database)
    cursor = other.cursor()
    cursor.execute("START TRANSACTION")
    cursor.execute("SELECT * FROM taskbus_worker WHERE id = (SELECT min(id) FROM taskbus_worker) LOCK IN SHARE MODE")
    alive = broker.consumer(["default"], name="alive", lease=LEASE)
    until(lambda: alive.reap() == 1, "the dead one is reaped", 5)
    assert ids(alive.fetch(5)) == ["b"]
    other.close()
    until(lambda: alive.reap() == 1, "the other is reaped once its lock is gone", 5)
    with pytest.raises(LeaseLost):
        locked.renew()
    broker.close()


# --- what it says of itself ---


@pytest.mark.parametrize(
    ("settings", "says", "weight"),
    [
        ({"innodb_flush_log_at_trx_commit": "1"}, "survives a crash and a power failure", Weight.FINE),
        ({"innodb_flush_log_at_trx_commit": "2"}, "a power failure takes the last second", Weight.RISK),
        ({"innodb_flush_log_at_trx_commit": "0"}, "lost when the server crashes", Weight.RISK),
        ({"innodb_flush_log_at_trx_commit": "1", "innodb_doublewrite": "0"}, "may ruin the database", Weight.RISK),
        ({"innodb_flush_log_at_trx_commit": "2", "innodb_doublewrite": "0"}, "may ruin the database", Weight.RISK),
    ],
)
def test_the_durability_row_is_that_of_the_live_settings(settings: dict[str, str], says: str, weight: Weight) -> None:
    with mariadb_server.server_of_its_own(**settings) as server:
        broker = Broker(server.url())
        found = {remark.subject: remark for remark in broker.examine()}
        assert says in found["durability"].text
        assert found["durability"].weight is weight
        assert found["version"].text.startswith("MariaDB 1")
        assert mariadb_server.PASSWORD not in str(found)
        broker.close()


# --- URLs ---


def test_a_wrong_password_is_told_and_not_shown(server: MariadbServer) -> None:
    broker = Broker(server.url().replace(mariadb_server.PASSWORD, "wr0ng"))
    with pytest.raises(BrokerError, match="check user and password") as caught:
        broker.workers()
    assert "wr0ng" not in str(caught.value) + repr(broker.safe_url)


def test_a_database_that_is_not_there_is_named(server: MariadbServer) -> None:
    with pytest.raises(BrokerError, match=r"'nowhere'.*create it"):
        Broker(server.url("nowhere")).workers()


def test_a_name_that_is_too_long_is_refused(broker: Broker) -> None:
    with pytest.raises(PublishFailed, match="255 characters"):
        broker.publish(message("a", queue="q" * 256))
    assert broker.queues() == []
