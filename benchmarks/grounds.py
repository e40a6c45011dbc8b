"""Where the peers of a run meet: one server for all of them, empty again for each figure."""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Protocol

from environment import HOME

sys.path.insert(0, str(HOME.parent))  # the servers of the tests serve here too


class Ground(Protocol):
    """A broker's server; ``version`` is its own."""

    version: str

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
    def __init__(self, folder: Path) -> None:
        import sqlite3

        self.version = f"SQLite {sqlite3.sqlite_version}"

    def fresh(self) -> str:
        return ""

    def close(self) -> None:
        return


class RedisGround:
    """Append-only file, flushed each second: what a queue is usually run on."""

    def __init__(self, folder: Path) -> None:
        from tests.servers.redis_server import RedisServer

        folder.chmod(0o755)
        self._server = RedisServer(folder, "--appendonly", "yes", "--appendfsync", "everysec", "--save", "")
        self._server.start()
        told = self._server.cli("INFO", "server").decode().splitlines()
        self.version = next(line.replace("redis_version:", "Redis ") for line in told if "redis_version" in line)

    def fresh(self) -> str:
        self._server.cli("FLUSHALL")
        return self._server.url

    def close(self) -> None:
        self._server.stop()


class RabbitGround:
    """One node; a virtual host for each figure."""

    def __init__(self, folder: Path) -> None:
        from tests.servers.rabbitmq_server import RabbitServer

        folder.chmod(0o755)
        self._server = RabbitServer(folder)
        self._server.start()
        self._hosts = count(1)
        self._host = ""
        self.version = f"RabbitMQ {self._server.ctl('version').strip()}"

    def fresh(self) -> str:
        if self._host:
            self._server.ctl("delete_vhost", self._host)
        self._host = f"bench{next(self._hosts)}"
        self._server.ctl("add_vhost", self._host)
        self._server.ctl("set_permissions", "-p", self._host, "guest", ".*", ".*", ".*")
        return f"{self._server.url.rstrip('/')}/{self._host}"

    def close(self) -> None:
        self._server.stop()


class PostgresGround:
    """One server with its defaults; a database for each figure."""

    def __init__(self, folder: Path) -> None:
        from tests.servers.postgres_server import PostgresServer

        folder.chmod(0o755)
        self._server = PostgresServer(folder / "server")
        self._server.start()
        self.version = "PostgreSQL"

    def fresh(self) -> str:
        return str(self._server.new_database())

    def close(self) -> None:
        self._server.stop()


GROUNDS = {"sqlite": SqliteGround, "redis": RedisGround, "rabbitmq": RabbitGround, "postgresql": PostgresGround}
