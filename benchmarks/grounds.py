"""Where the peers of a run meet: one server for all of them, empty again for each figure."""

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from environment import HOME

sys.path.insert(0, str(HOME.parent))  # the servers of the tests serve here too


class Ground(Protocol):
    """A broker's server; ``version`` is its own. ``server`` is None where the broker is a library: SQLite.

    ``results`` is the URL of an empty store of results, where the broker is none itself.
    """

    version: str
    server: Any
    results: str

    def fresh(self) -> str:
        """The URL of an empty place on it; what an earlier call gave is gone."""


@contextmanager
def ground(broker: str) -> Iterator[Ground]:
    """Start the server of a broker, and end it with the block."""
    with tempfile.TemporaryDirectory(prefix=f"bench-{broker}-", ignore_cleanup_errors=True) as folder:
        made = GROUNDS[broker](Path(folder))
        try:
            yield made
        finally:
            made.close()


class SqliteGround:
    results = ""

    def __init__(self, folder: Path) -> None:
        import sqlite3

        self.version = f"SQLite {sqlite3.sqlite_version}"
        self.server = None

    def fresh(self) -> str:
        return ""

    def close(self) -> None:
        return


class RedisGround:
    """Append-only file, flushed each second: what a queue is usually run on."""

    results = ""

    def __init__(self, folder: Path) -> None:
        from tests.servers.redis_server import RedisServer

        folder.chmod(0o755)
        self.server = RedisServer(folder, "--appendonly", "yes", "--appendfsync", "everysec", "--save", "")
        self.server.start()
        told = self.server.cli("INFO", "server").decode().splitlines()
        self.version = next(line.replace("redis_version:", "Redis ") for line in told if "redis_version" in line)

    def fresh(self) -> str:
        self.server.cli("FLUSHALL")
        return self.server.url

    def close(self) -> None:
        self.server.stop()


class RabbitGround:
    """One node, a virtual host for each figure; a Redis for the results of those that can keep them there."""

    def __init__(self, folder: Path) -> None:
        from tests.servers.rabbitmq_server import RabbitServer

        folder.chmod(0o755)
        self.server = RabbitServer(folder)
        self.server.start()
        place = folder / "redis"
        place.mkdir()
        self._store = RedisGround(place)
        self.results = self._store.fresh()
        self._hosts = count(1)
        self._host = ""
        self.version = f"RabbitMQ {self.server.control('version').strip()}, results in {self._store.version}"

    def fresh(self) -> str:
        if self._host:
            self.server.control("delete_vhost", self._host)
        self._host = f"bench{next(self._hosts)}"
        self.server.control("add_vhost", self._host)
        self.server.control("set_permissions", "-p", self._host, "guest", ".*", ".*", ".*")
        self.results = self._store.fresh()
        return f"{self.server.url.rstrip('/')}/{self._host}"

    def close(self) -> None:
        self._store.close()
        self.server.stop()


class DatabasesGround:
    """One server, a database for each figure; ``drop`` is how its kind drops one."""

    results = ""
    drop = "DROP DATABASE IF EXISTS {}"

    def __init__(self, server: Any) -> None:
        self.server = server
        self.server.start()
        self._numbers = count(1)
        self.database = ""

    def fresh(self) -> str:
        if self.database:
            self.server.run(self.drop.format(self.database))
        self.database = f"bench{next(self._numbers)}"
        self.server.run(f"CREATE DATABASE {self.database}")
        return f"{self.server.url().rpartition('/')[0]}/{self.database}"

    def close(self) -> None:
        self.server.stop()


class PostgresGround(DatabasesGround):
    """PostgreSQL with its own defaults, a commit on the disk among them."""

    drop = "DROP DATABASE IF EXISTS {} WITH (FORCE)"

    def __init__(self, folder: Path) -> None:
        from tests.servers.postgres_server import PostgresServer

        super().__init__(PostgresServer(fsync="on"))
        self.version = f"PostgreSQL {self.server.run('SHOW server_version')[0][0].split()[0]}"


class MysqlGround(DatabasesGround):
    """MariaDB with its own defaults, a commit on the disk among them."""

    def __init__(self, folder: Path) -> None:
        from tests.servers.mariadb_server import MariadbServer

        defaults = {"innodb_flush_log_at_trx_commit": "1", "innodb_buffer_pool_size": "128M"}
        super().__init__(MariadbServer(**defaults, **{"innodb-log-file-size": "96M"}))
        self.version = f"MariaDB {self.server.run('SELECT version()')[0][0].partition('-')[0]}"


GROUNDS: dict[str, Callable[[Path], Any]] = {
    "sqlite": SqliteGround,
    "redis": RedisGround,
    "rabbitmq": RabbitGround,
    "postgresql": PostgresGround,
    "mysql": MysqlGround,
}
