"""The SQL transport on PostgreSQL when a statement was done and its reply got lost."""

import pytest

from taskbus.broker.broker import Broker
from taskbus.broker.delivery import Act, Settlement
from taskbus.errors import BrokerError, PublishUnknown
from taskbus.message import Recorded
from taskbus.testing.transport_basis import LEASE, acks, ids, message, send, waiting
from tests.servers import postgres_server
from tests.servers.postgres_server import PostgresServer
from tests.servers.proxy import Proxy


@pytest.fixture
def server() -> PostgresServer:
    return postgres_server.shared_server()


@pytest.fixture
def url() -> str:
    return postgres_server.new_url()


def test_a_publish_whose_reply_is_lost_is_unknown_and_may_be_repeated(server: PostgresServer, url: str) -> None:
    with Proxy(server.port) as proxy:
        broker = Broker(server.url_of(proxy.port, schema=url.rpartition("=")[2]), publish_timeout=2.0)
        send(broker, "before")
        lost = proxy.lose_reply(b"the body of the lost one")
        with pytest.raises(PublishUnknown):
            broker.publish(message("lost", body=b"the body of the lost one"))
        lost.wait(5)
        broker.publish(message("lost", body=b"the body of the lost one"))
        assert waiting(broker) == ["before", "lost"]
        broker.close()


def test_a_claim_whose_reply_is_lost_is_delivered_by_the_next(server: PostgresServer, url: str) -> None:
    with Proxy(server.port) as proxy:
        broker = Broker(server.url_of(proxy.port, schema=url.rpartition("=")[2]))
        consumer = broker.consumer(["default"], name="worker", lease=LEASE)
        send(broker, "a", "b", "c")
        (first,) = consumer.fetch(1)
        lost = proxy.lose_reply(b"SKIP LOCKED")
        with pytest.raises(BrokerError):
            consumer.fetch(2)
        lost.wait(5)
        again = consumer.fetch(5)
        assert ids(again) == ["b", "c"]
        assert consumer.settle(acks([first, *again]), None, shared=False) == []
        consumer.close()
        broker.close()


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("pattern", [b"DELETE", b"COMMIT"])
def test_a_settlement_whose_reply_is_lost_is_not_stale_when_it_is_settled_again(
    server: PostgresServer, url: str, pattern: bytes, shared: bool
) -> None:
    with Proxy(server.port) as proxy:
        broker = Broker(server.url_of(proxy.port, schema=url.rpartition("=")[2]))
        consumer = broker.consumer(["default"], name="worker", lease=LEASE)
        send(broker, "a", "b", "stale")
        first, second, stale = consumer.fetch(3)
        assert consumer.settle([Settlement(stale, Act.RELEASE)], None, shared=False) == []
        recorded: list[object] = []

        def record(changes: object, transaction: object) -> Recorded:
            recorded.append(changes)
            return Recorded()

        settlements = [
            Settlement(first, follow_ups=[message("next")] if pattern == b"COMMIT" else [], changes=["x"]),
            Settlement(second, Act.CRASH if pattern == b"COMMIT" else Act.ACK),
            Settlement(stale),
        ]
        lost = proxy.lose_reply(pattern)
        try:
            answer = consumer.settle(settlements, record, shared=shared)
        except BrokerError:
            answer = consumer.settle(settlements, record, shared=shared)
        lost.wait(5)
        assert answer == [stale]
        left = ["stale", "b", "next"] if pattern == b"COMMIT" else ["stale"]
        assert sorted(waiting(broker)) == sorted(left)
        assert consumer.settle(settlements, record, shared=shared) == [first, second, stale]
        consumer.close()
        broker.close()


def test_a_join_whose_reply_is_lost_registers_one_worker(server: PostgresServer, url: str) -> None:
    with Proxy(server.port) as proxy:
        broker = Broker(server.url_of(proxy.port, schema=url.rpartition("=")[2]))
        assert broker.workers() == []
        lost = proxy.lose_reply(b"taskbus_worker (incarnation")
        consumer = broker.consumer(["default"], name="worker", lease=LEASE)
        lost.wait(5)
        assert [worker.incarnation for worker in broker.workers()] == [consumer.incarnation]
        consumer.close()
        assert broker.workers() == []
        broker.close()
