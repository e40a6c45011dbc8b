"""The SQL transport on MariaDB keeps the contract of all transports, and some promises of its own."""

from collections.abc import Iterator
from contextlib import closing
from typing import cast

import pytest

from taskbus.broker.broker import Broker
from taskbus.broker.transports.port import Parcel
from taskbus.broker.transports.sql_server import ServerStorage
from taskbus.testing.transport_basis import LEASE, ids, message, send, waiting
from taskbus.testing.transport_contract import TransportContract
from taskbus.wire.compact import encode
from tests.servers import mariadb_server

# Forking a process with threads is what some of this is about; Python 3.12 and later warn of it.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


class TestMysqlTransport(TransportContract):
    @pytest.fixture
    def url(self) -> str:
        return mariadb_server.new_url()


# --- what is its own ---


@pytest.fixture
def url() -> str:
    return mariadb_server.new_url()


@pytest.fixture
def broker(url: str) -> Iterator[Broker]:
    broker = Broker(url)
    yield broker
    broker.close()


def storage_of(broker: Broker) -> ServerStorage:
    return cast(ServerStorage, broker._storage())


def test_a_message_sent_in_the_callers_transaction_shares_its_fate(broker: Broker, url: str) -> None:
    parcels = [Parcel("default", encode(message(id)), id=id) for id in ("a", "b")]
    assert waiting(broker) == []
    with closing(mariadb_server.shared_server().connect(url.rpartition("/")[2])) as theirs:
        for end, arrives in ((theirs.rollback, False), (theirs.commit, True)):
            theirs.begin()
            storage_of(broker).publish_in(theirs, parcels)
            assert waiting(broker) == []
            end()
            assert bool(waiting(broker)) is arrives
    send(broker, "a")
    assert waiting(broker) == ["a", "b"]


def test_queues_that_differ_by_case_or_trailing_space_are_different(broker: Broker) -> None:
    names = ["q", "q ", "Q", "\u0451", "\u0435\u0308"]
    for name in names:
        send(broker, f"to {name!r}", queue=name)
    assert [waiting(broker, name) for name in names] == [[f"to {name!r}"] for name in names]
    consumer = broker.consumer(["q "], name="worker", lease=LEASE)
    assert ids(consumer.fetch(5)) == ["to 'q '"]
    consumer.close()


def test_a_claim_never_scans_the_table(broker: Broker) -> None:
    """The statements of the hot path search an index, whatever the number of messages."""
    storage = storage_of(broker)
    send(broker, "a")
    database = storage._session.database
    rows = [("default", n % 10, -1 if n % 7 == 0 else 0, 1.0, b"x") for n in range(20_000)]
    database.write(
        lambda cursor: cursor.executemany(
            "INSERT INTO taskbus_message (queue, `rank`, owner, sent_at, body) VALUES (%s, %s, %s, %s, %s)", rows
        )
    )
    cursor, sql = database.cursor(), storage._sql
    cursor.execute("ANALYZE TABLE taskbus_message")
    parameters = {
        "probe": ("default",) * 3,
        "due": ("default", 500),
        "pick": ("default", 10),
        "ack": (1, 2),
        "lock_held": (1, 2, 1, 1, 2, 1, 7),
        "take": (7, 9, 1, 2),
        "reap_messages": (7, 8),
        "oldest": ("default",),
        "peek_ready": ("default", 10),
    }
    for name, values in parameters.items():
        text = sql[name].replace("{marks}", "%s, %s").replace("{pairs}", "(%s, %s), (%s, %s)")
        plan = cursor.execute(f"EXPLAIN FORMAT=TRADITIONAL {text}", values).fetchall()
        assert not [step for step in plan if step[2] and "message" in step[2] and "ALL" in step[3:5]], (name, plan)
