"""Every store of schedules keeps the contract."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskbus.clock import Clock
from taskbus.store.schedule_opening import open_schedules
from taskbus.store.schedules import ScheduleStore
from taskbus.testing.schedule_contract import ScheduleContract
from tests.servers import mariadb_server, postgres_server
from tests.servers.redis_server import RedisCluster, RedisServer


class TestMemorySchedules(ScheduleContract):
    def open(self, folder: Path, clock: Clock) -> ScheduleStore:
        return open_schedules(f"memory://{folder}", clock)


class TestSqliteSchedules(ScheduleContract):
    def open(self, folder: Path, clock: Clock) -> ScheduleStore:
        return open_schedules(f"sqlite:///{folder}/schedules.db", clock)


class TestPostgresqlSchedules(ScheduleContract):
    @pytest.fixture(autouse=True)
    def schema(self) -> None:
        self.url = postgres_server.new_url()

    def open(self, folder: Path, clock: Clock) -> ScheduleStore:
        return open_schedules(self.url, clock)


class TestMysqlSchedules(ScheduleContract):
    @pytest.fixture(autouse=True)
    def schema(self) -> None:
        self.url = mariadb_server.new_url()

    def open(self, folder: Path, clock: Clock) -> ScheduleStore:
        return open_schedules(self.url, clock)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


class TestRedisSchedules(ScheduleContract):
    @pytest.fixture(autouse=True)
    def empty(self, server: RedisServer) -> None:
        server.cli("FLUSHALL")
        self.url = server.url

    def open(self, folder: Path, clock: Clock) -> ScheduleStore:
        return open_schedules(self.url, clock)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    cluster = RedisCluster(tmp_path_factory.mktemp("cluster"))
    cluster.start()
    yield cluster
    cluster.kill()


class TestRedisSchedulesOnACluster(ScheduleContract):
    @pytest.fixture(autouse=True)
    def empty(self, cluster: RedisCluster) -> None:
        cluster.flush()
        self.url = cluster.url

    def open(self, folder: Path, clock: Clock) -> ScheduleStore:
        return open_schedules(self.url, clock)


@pytest.mark.parametrize("kind", ["redis", "postgresql", "mysql"])
def test_the_time_is_the_servers(request: pytest.FixtureRequest, kind: str) -> None:
    made = {"redis": lambda: request.getfixturevalue("server").url, "postgresql": postgres_server.new_url}
    store = open_schedules(made.get(kind, mariadb_server.new_url)())
    assert abs(store.now() - time.time()) < 60
    assert store.lead("a", 10).is_held and store.leader() == "a" and not store.lead("b", 10).is_held
    store.close()
