"""PostgreSQL for tests: one server for all that only use it, others for those that break it."""

import atexit
import functools
import itertools
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from tests.servers.server import Server, as_user, family, humble, is_stopped, need, own_folder, until

PLACES = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
USER, PASSWORD = "taskbus", "s3cret"
_numbers = itertools.count(1)


class PostgresServer(Server):
    """One server with an empty database ``taskbus``; ``settings`` are postgresql.conf's (``{"fsync": "on"}``)."""

    program = "postgres"

    def __init__(self, **settings: str) -> None:
        self.account = humble("postgres")
        super().__init__(own_folder("postgres", self.account))
        self.data = self.folder / "data"
        self.settings = {"fsync": "off", "max_connections": "500", "log_min_messages": "warning", **settings}

    def initialize(self) -> None:
        """Make the data folder, once."""
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        subprocess.run(
            [
                need("initdb", *PLACES), "-D", self.data, "-U", USER, "--pwfile", secret, "-E", "UTF8", "--no-locale",
                "--auth=scram-sha-256", "--no-sync", "--no-instructions",
            ],
            check=True, capture_output=True, cwd=self.folder, env=self.environment(), **as_user(self.account),
        )  # fmt: skip

    def environment(self) -> dict[str, str]:
        return {**os.environ, "TZ": "UTC", "LC_ALL": "C.UTF-8"}

    def command(self) -> Sequence[str]:
        settings = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.folder),
            **self.settings,
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return (need(self.program, *PLACES), "-D", str(self.data), *options)

    def start(self) -> None:
        if not self.data.exists():
            self.initialize()
            super().start()
            self.run("CREATE DATABASE taskbus", database="postgres")
        else:
            super().start()

    def is_up(self) -> bool:
        try:
            self.run("SELECT 1", database="postgres")
        except psycopg.Error:
            return False
        return True

    def url(self, **options: str) -> str:
        """The database ``taskbus``; ``schema`` among other options."""
        return self.url_of(self.port, **options)

    def url_of(self, port: int, **options: str) -> str:
        """The same through another port."""
        query = "&".join(f"{name}={text}" for name, text in options.items())
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{port}/taskbus{'?' if query else ''}{query}"

    def connect(self, database: str = "taskbus", **options: Any) -> "psycopg.Connection[Any]":
        """A plain connection, in autocommit mode, as an operator's."""
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user=USER, password=PASSWORD, dbname=database, autocommit=True,
            connect_timeout=10, **options,
        )  # fmt: skip

    def run(self, statement: str, *parameters: object, database: str = "taskbus") -> list[tuple[Any, ...]]:
        """What one statement returns, on a connection of its own."""
        with self.connect(database) as connection:
            cursor = connection.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def terminate(self, condition: str) -> int:
        """End the sessions of which this is true, as an operator would; how many."""
        found = self.run(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            f" WHERE datname = 'taskbus' AND pid <> pg_backend_pid() AND ({condition})"
        )
        return len(found)

    def stop(self) -> None:
        """A fast shutdown: sessions are ended, what they did is undone."""
        self._end(signal.SIGINT)

    def stop_immediately(self) -> None:
        """As a crash: the next start recovers."""
        self._end(signal.SIGQUIT)

    def kill(self) -> None:
        """``kill -9`` of the postmaster and of every backend."""
        for pid in reversed(family(self.pid)):
            _signal(pid, signal.SIGKILL)
        super().kill()
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def pause(self) -> None:
        paused = family(self.pid)
        for pid in paused:
            _signal(pid, signal.SIGSTOP)
        until(lambda: all(map(is_stopped, paused)), "all of it is stopped")

    def resume(self) -> None:
        for pid in family(self.pid):
            _signal(pid, signal.SIGCONT)


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


@functools.cache
def shared_server() -> PostgresServer:
    """The one for all tests of this process, which none of them may stop or pause."""
    server = PostgresServer()
    server.start()
    atexit.register(server.kill)
    return server


def new_url(**options: str) -> str:
    """A schema that is empty and nobody else's, on the shared server."""
    return shared_server().url(schema=f"test_{next(_numbers)}", **options)


@contextmanager
def server_of_its_own(**settings: str) -> Iterator[PostgresServer]:
    """A server for one test, or for one module, to be stopped, killed and paused at will."""
    server = PostgresServer(**settings)
    server.start()
    try:
        yield server
    finally:
        server.resume() if server._process else None
        server.kill()
