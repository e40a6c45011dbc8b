"""MariaDB for tests: one server for all that only use it, others for those that break it."""

import atexit
import functools
import itertools
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import pymysql

from tests.servers.server import Server, as_user, humble, need, own_folder

USER, PASSWORD = "taskbus", "s3cret"
_numbers = itertools.count(1)


class MariadbServer(Server):
    """One server with an empty database ``taskbus``; ``settings`` are its own options (``{"sync_binlog": "1"}``)."""

    program = "mariadbd"

    def __init__(self, **settings: str) -> None:
        self.account = humble("mysql")
        super().__init__(own_folder("mariadb", self.account))
        self.data = self.folder / "data"
        self.socket = self.folder / "socket"
        self.settings = {"innodb_flush_log_at_trx_commit": "2", "innodb_buffer_pool_size": "64M", **settings}

    def initialize(self) -> None:
        """Make the data folder, once."""
        subprocess.run(
            [
                need("mariadb-install-db"), "--no-defaults", f"--datadir={self.data}", f"--tmpdir={self.folder}",
                "--skip-test-db",
                "--auth-root-authentication-method=normal", "--innodb-log-file-size=32M",
            ],
            check=True, capture_output=True, cwd=self.folder, env=dict(os.environ), **as_user(self.account),
        )  # fmt: skip

    def command(self) -> Sequence[str]:
        settings = {
            "datadir": str(self.data),
            "tmpdir": str(
                self.folder
            ),  # in a common one, two that start at once take away each other's temporary tables
            "socket": str(self.socket),
            "port": str(self.port),
            "bind-address": "127.0.0.1",
            "pid-file": str(self.folder / "pid"),
            "innodb-log-file-size": "32M",
            "max-connections": "200",
            "performance-schema": "off",
            **self.settings,
        }
        return (need(self.program), "--no-defaults", *(f"--{name}={text}" for name, text in settings.items()))

    def start(self) -> None:
        if not self.data.exists():
            self.initialize()
            super().start()
            self.run("CREATE DATABASE taskbus", as_root=True)
            self.run(f"CREATE USER {USER}@'%' IDENTIFIED BY '{PASSWORD}'", as_root=True)
            self.run(f"GRANT ALL ON *.* TO {USER}@'%'", as_root=True)
        else:
            super().start()

    def is_up(self) -> bool:
        try:
            self.run("SELECT 1", as_root=True)
        except (pymysql.MySQLError, OSError):
            return False
        return True

    def url(self, database: str = "taskbus", **options: str) -> str:
        return self.url_of(self.port, database, **options)

    def url_of(self, port: int, database: str = "taskbus", **options: str) -> str:
        """The same through another port."""
        query = "&".join(f"{name}={text}" for name, text in options.items())
        return f"mysql://{USER}:{PASSWORD}@127.0.0.1:{port}/{database}{'?' if query else ''}{query}"

    def run(self, statement: str, *parameters: object, as_root: bool = False, database: str = "") -> list[Any]:
        """What one statement returns, on a connection of its own."""
        who = {"user": "root", "unix_socket": str(self.socket)} if as_root else {"user": USER, "password": PASSWORD}
        with closing(self.connect(database, **who)) as connection, connection.cursor() as cursor:
            cursor.execute(statement, parameters or None)
            return list(cursor.fetchall())

    def connect(self, database: str = "", **who: Any) -> Any:
        """A plain connection, in autocommit mode, as an operator's."""
        who = who or {"user": USER, "password": PASSWORD}
        return pymysql.connect(
            host="127.0.0.1", port=self.port, database=database or None, autocommit=True, connect_timeout=10, **who
        )

    def kill_connections(self) -> int:
        """End the sessions of our user, as an operator would; how many."""
        found = self.run(
            "SELECT id FROM information_schema.processlist WHERE user = %s AND id <> connection_id()", USER
        )
        for (number,) in found:
            try:
                self.run(f"KILL CONNECTION {number:d}")
            except pymysql.MySQLError:
                continue
        return len(found)


@functools.cache
def shared_server() -> MariadbServer:
    """The one for all tests of this process, which none of them may stop or pause."""
    server = MariadbServer()
    server.start()
    atexit.register(server.kill)
    return server


def new_url(**options: str) -> str:
    """A database that is empty and nobody else's, on the shared server."""
    server, name = shared_server(), f"test_{next(_numbers)}"
    server.run(f"CREATE DATABASE {name}")
    return server.url(name, **options)


@contextmanager
def server_of_its_own(**settings: str) -> Iterator[MariadbServer]:
    """A server for one test, or for one module, to be stopped, killed and paused at will."""
    server = MariadbServer(**settings)
    server.start()
    try:
        yield server
    finally:
        server.kill()
