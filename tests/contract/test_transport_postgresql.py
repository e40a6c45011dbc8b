"""The SQL transport on PostgreSQL keeps the contract of all transports, and some promises of its own."""

import time
from collections.abc import Iterator
from typing import cast

import pytest

from taskbus.broker.broker import Broker
from taskbus.broker.delivery import Act, Settlement
from taskbus.broker.transports import sql_floors
from taskbus.broker.transports.port import Parcel
from taskbus.broker.transports.sql_server import ServerStorage
from taskbus.database.postgresql import MAKING
from taskbus.errors import PublishFailed
from taskbus.store.opening import open_store
from taskbus.testing.records import saved
from taskbus.testing.transport_basis import LEASE, ids, message, quiet, readable, send, waiting
from taskbus.testing.transport_contract import TransportContract
from taskbus.wire.compact import encode
from tests.servers import postgres_server

# Forking a process with threads is what some of this is about; Python 3.12 and later warn of it.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


class TestPostgresqlTransport(TransportContract):
    @pytest.fixture
    def url(self) -> str:
        return postgres_server.new_url()


# --- what is its own ---


@pytest.fixture
def url() -> str:
    return postgres_server.new_url()


@pytest.fixture
def broker(url: str) -> Iterator[Broker]:
    broker = Broker(url)
    yield broker
    broker.close()


def storage_of(broker: Broker) -> ServerStorage:
    return cast(ServerStorage, broker._storage())


def test_a_message_sent_in_the_callers_transaction_shares_its_fate(broker: Broker) -> None:
    """On a connection of the caller's, with a search_path of its own."""
    consumer = broker.consumer(["default"], name="worker", lease=LEASE)
    quiet(consumer)
    parcels = [Parcel("default", encode(message(id)), id=id) for id in ("a", "b")]
    with postgres_server.shared_server().connect() as theirs:
        for end, arrives in (("ROLLBACK", False), ("COMMIT", True)):
            theirs.execute("BEGIN")
            storage_of(broker).publish_in(theirs, parcels)
            assert waiting(broker) == []
            theirs.execute(end)
            assert bool(waiting(broker)) is arrives
            assert readable(consumer, 5 if arrives else 0.2) is arrives
    assert ids(consumer.fetch(5)) == ["a", "b"]
    send(broker, "a")
    assert waiting(broker) == []
    consumer.close()


def test_who_is_stopped_while_it_makes_tables_holds_up_no_other_schema() -> None:
    ours, theirs = (Broker(postgres_server.new_url(), publish_timeout=2) for _ in range(2))
    with postgres_server.shared_server().connect() as stopped:
        stopped.execute("BEGIN")
        schema = theirs.url.rpartition("=")[2]
        stopped.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, %s))", (schema, MAKING))
        send(ours, "a")
        with pytest.raises(PublishFailed, match="somebody holds a lock"):
            send(theirs, "a")
        stopped.execute("ROLLBACK")
    send(theirs, "a")
    ours.close()
    theirs.close()


def test_a_worker_and_its_store_hold_one_connection(url: str) -> None:
    server = postgres_server.shared_server()
    sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"
    named = f"{url}&application_name={url.rpartition('=')[2]}"
    store, broker = open_store(named), Broker(named)
    consumer = broker.consumer(["default"], name="worker", lease=LEASE)
    send(broker, "a")
    deliveries = consumer.fetch(1)
    assert store.database == broker.database
    assert consumer.settle([Settlement(deliveries[0], changes=[saved("a")])], store.apply, shared=True) == []
    assert store.results(["a"]).keys() == {"a"}
    assert server.run(sessions, url.rpartition("=")[2]) == [(1,)]
    consumer.close()
    store.close()
    assert server.run(sessions, url.rpartition("=")[2]) == [(0,)]


def test_claims_find_everything_though_they_start_where_the_last_one_ended(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Floors are in use after each claim that looks everywhere; what lies below them is late, and not lost."""
    monkeypatch.setattr(sql_floors, "LONG", 0.0)
    monkeypatch.setattr(sql_floors, "SHARE", 1e6)
    consumer, other = (broker.consumer(["default", "more"], name=name, lease=LEASE) for name in ("worker", "other"))
    with broker.batch():
        send(broker, *(f"m{n}" for n in range(20)))
    held = other.fetch(3)
    assert ids(consumer.fetch(5)) == [f"m{n}" for n in range(3, 8)]
    send(broker, "urgent", priority=9)
    assert other.settle([Settlement(each, Act.RELEASE) for each in held], None, shared=False) == []
    assert ids(consumer.fetch(2)) == ["urgent", "m8"]
    came, deadline = [], time.monotonic() + 10
    while len(came) < 14 and time.monotonic() < deadline:
        found = consumer.fetch(4)
        came += ids(found)
        if not found:
            due_at = consumer.next_due_at()
            assert due_at is not None
            assert due_at < consumer.now() + sql_floors.LONGEST
    assert sorted(came) == sorted([*(f"m{n}" for n in range(3)), *(f"m{n}" for n in range(9, 20))])
    other.close()
    consumer.close()


def test_a_claim_never_reads_what_it_does_not_take(broker: Broker) -> None:
    """With a backlog of fifty thousand the statements of the hot path touch a handful of pages."""
    storage = storage_of(broker)
    send(broker, "a")
    storage.purge("default")
    database = storage._session.database
    database.write(
        lambda cursor: cursor.execute(
            "INSERT INTO taskbus_message (queue, rank, owner, sent_at, body)"
            " SELECT 'default', n % 10, 0, 1.0, 'x' FROM generate_series(1, 50000) AS n"
        )
    )
    holder = storage.join("worker", ["default"], LEASE)
    sql, cursor = storage._sql, database.cursor()
    parameters = {
        "claim": ([0] * 10, ["default"], True, holder.id, 10, 10, holder.id),
        "promote": (["default"], 500),
        "ack": ([1, 2], [1, 1], holder.id),
        "reap_messages": ([holder.id],),
        "oldest": ("default",),
        "peek_ready": ("default", 10),
    }
    for name, values in parameters.items():
        plan = cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql[name]}", values).fetchone()[0][0]["Plan"]
        touched = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
        assert touched < 400, f"{name} touches {touched} pages"
