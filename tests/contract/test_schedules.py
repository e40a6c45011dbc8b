"""Every store of schedules keeps the contract."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from taskbus.clock import Clock
from taskbus.store.schedule_opening import open_schedules
from taskbus.store.schedules import ScheduleStore
from taskbus.testing.schedule_contract import ScheduleContract
from tests.servers import mariadb_server, postgres_server
from tests.servers.redis_server import RedisServer


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
