"""How often the SQL transport and the store on a server go to it and back: what decides on a slow line."""

import time
from collections.abc import Iterator
from contextlib import closing
from types import ModuleType

import pytest

from taskbus.broker.broker import Broker
from taskbus.store.opening import open_store
from taskbus.store.report_opening import open_reports
from taskbus.testing.transport_basis import LEASE, message
from tests.servers import mariadb_server, postgres_server
from tests.servers.proxy import Proxy


@pytest.fixture(params=["postgresql", "mysql"])
def servers(request: pytest.FixtureRequest) -> ModuleType:
    return postgres_server if request.param == "postgresql" else mariadb_server


@pytest.fixture
def url(servers: ModuleType) -> str:
    """Where all tables are made already."""
    url = str(servers.new_url())
    with closing(Broker(url)) as broker, closing(open_store(url)) as store:
        broker.queues()
        store.results(["none"])
    return url


@pytest.fixture
def proxy(servers: ModuleType) -> Iterator[Proxy]:
    with Proxy(servers.shared_server().port) as proxy:
        yield proxy


def by(proxy: Proxy, url: str) -> str:
    """The same place, reached through the proxy."""
    head, _, path = url.rpartition("/")
    return f"{head.rpartition(':')[0]}:{proxy.port}/{path}"


def test_a_sweep_that_finds_nothing_asks_the_broker_once_and_the_store_once(proxy: Proxy, url: str) -> None:
    with (
        closing(Broker(by(proxy, url))) as broker,
        closing(open_store(by(proxy, url))) as store,
        closing(broker.consumer(["default"], name="worker", lease=LEASE)) as consumer,
    ):
        store.results(["none"])
        before = proxy.round_trips
        assert consumer.reap() == 0
        assert store.sweep(0.0) == 0
        assert proxy.round_trips - before == 2


def test_the_time_is_right_however_long_connecting_takes(proxy: Proxy, url: str) -> None:
    proxy.delay(0.1)
    with closing(Broker(by(proxy, url))) as broker:
        assert broker.now() == pytest.approx(time.time(), abs=0.1)


def test_who_sends_makes_no_tables_of_the_reports(servers: ModuleType, proxy: Proxy, url: str) -> None:
    """They take some twenty round trips, and would keep a worker on a slow line from its tasks for ever."""
    with (
        closing(open_reports(by(proxy, url))) as reports,
        closing(open_store(by(proxy, url))),
        closing(Broker(by(proxy, url))) as broker,
    ):
        broker.publish(message("first"))
        assert proxy.round_trips <= 8
        before = proxy.round_trips
        assert reports.paused() == frozenset()
        assert proxy.round_trips - before > 8, "they were there: this shows nothing"
        before = proxy.round_trips
        broker.publish(message("second"))
        assert reports.paused() == frozenset()
        assert proxy.round_trips - before <= (5 if servers is mariadb_server else 2)


def test_to_connect_and_to_send_takes_few_round_trips(servers: ModuleType, proxy: Proxy, url: str) -> None:
    """At half a second each they fit into a send's five."""
    with closing(open_store(by(proxy, url))), closing(Broker(by(proxy, url))) as broker:
        broker.publish(message("first"))
        connecting, sending = (6, 1) if servers is postgres_server else (4, 4)  # with a look at the tables
        assert proxy.round_trips <= connecting + sending
        before = proxy.round_trips
        broker.publish(message("second"))
        assert proxy.round_trips - before == sending
