"""Where a contract of what is kept beside results is played: mixins that open a store on each kind of database.

A test class says how: ``class TestSqliteReports(Sqlite, ReportContract): opened = staticmethod(open_reports)``.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from taskbus.clock import Clock
from tests.servers import mariadb_server, postgres_server
from tests.servers.redis_server import RedisCluster, RedisServer


class Ground:
    """``url``: of the database; a new one, or an emptied one, for each test."""

    opened: Callable[[str, Clock], Any]
    url = ""

    def open(self, folder: Path, clock: Clock) -> Any:
        return self.opened(self.url, clock)


class Memory(Ground):
    def open(self, folder: Path, clock: Clock) -> Any:
        return self.opened(f"memory://{folder}", clock)


class Sqlite(Ground):
    def open(self, folder: Path, clock: Clock) -> Any:
        return self.opened(f"sqlite:///{folder}/store.db", clock)


class Postgresql(Ground):
    @pytest.fixture(autouse=True)
    def schema(self) -> None:
        self.url = postgres_server.new_url()


class Mysql(Ground):
    @pytest.fixture(autouse=True)
    def schema(self) -> None:
        self.url = mariadb_server.new_url()


class Redis(Ground):
    @pytest.fixture(autouse=True)
    def empty(self, server: RedisServer) -> None:
        server.cli("FLUSHALL")
        self.url = server.url


class Cluster(Ground):
    @pytest.fixture(autouse=True)
    def empty(self, cluster: RedisCluster) -> None:
        cluster.flush()
        self.url = cluster.url
