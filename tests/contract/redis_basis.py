"""What the tests of the Redis transport under faults share: a real server, made whole after each test, and a proxy."""

import contextlib
import itertools
from collections.abc import Iterator, Sequence

import pytest

from taskbus.broker.broker import Broker
from taskbus.broker.consumer import Consumer
from taskbus.broker.delivery import Delivery
from taskbus.errors import BrokerError
from taskbus.testing.transport_basis import acks
from tests.servers.proxy import Proxy
from tests.servers.redis_server import ALWAYS, RedisServer

TIMEOUT = 1.0
_numbers = itertools.count()


class RedisBasis:
    """Fixtures."""

    @pytest.fixture(scope="class")
    @classmethod
    def shared_server(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
        server = RedisServer(tmp_path_factory.mktemp("redis"), *ALWAYS)
        server.start()
        yield server
        server.kill()

    @pytest.fixture
    def server(self, shared_server: RedisServer) -> Iterator[RedisServer]:
        """A server whose accepted messages survive it, empty, and with its settings as they were afterwards."""
        yield shared_server
        shared_server.resume()
        if not shared_server.is_up():
            shared_server.kill()
            shared_server.start()
        shared_server.cli("REPLICAOF", "NO", "ONE")
        shared_server.cli("CONFIG", "SET", "maxmemory", "0")
        shared_server.cli("CONFIG", "SET", "maxmemory-policy", "noeviction")
        shared_server.cli("FLUSHALL")

    @pytest.fixture(autouse=True)
    def impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("taskbus.broker.broker.CONSUMER_TIMEOUT", TIMEOUT)

    @pytest.fixture
    def url(self, server: RedisServer) -> str:
        return f"{server.url}?prefix=faults{next(_numbers)}"

    @pytest.fixture
    def broker(self, url: str) -> Iterator[Broker]:
        broker = Broker(url, publish_timeout=TIMEOUT)
        yield broker
        broker.close()

    @pytest.fixture
    def consumer(self, broker: Broker) -> Iterator[Consumer]:
        consumer = broker.consumer(["default"], name="w", lease=30)
        yield consumer
        with contextlib.suppress(BrokerError):
            consumer.close()

    @pytest.fixture
    def proxy(self, server: RedisServer) -> Iterator[Proxy]:
        with Proxy(server.port) as proxy:
            yield proxy

    @pytest.fixture
    def far(self, proxy: Proxy, url: str) -> Iterator[Broker]:
        """The broker as seen through the proxy."""
        broker = Broker(
            url.replace(url.partition("/0")[0].rpartition(":")[2], str(proxy.port)), publish_timeout=TIMEOUT
        )
        yield broker
        broker.close()

    @pytest.fixture
    def far_consumer(self, far: Broker) -> Iterator[Consumer]:
        consumer = far.consumer(["default"], name="far", lease=30)
        yield consumer
        with contextlib.suppress(BrokerError):
            consumer.close()


def settled(consumer: Consumer, deliveries: Sequence[Delivery]) -> bool:
    return consumer.settle(acks(deliveries), None, shared=False) == []
