"""The servers of a run: one of each kind, started when first needed, shared by all cells and their processes."""

import json
import os
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any

from taskbus.broker.transports.schemes import SCHEMES
from taskbus.store.opening import SCHEMES as STORES
from tests.servers.server import INSTALL, Server, find

from . import homes
from .homes import File, Home

SHARED = "CRASH_SERVERS"
"""Variable with the servers that the processes of a run share, as JSON: kind to URL."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of server. ``module`` and ``server`` say what starts it, ``home`` makes a cell's namespace in it."""

    scheme: str
    program: str
    module: str
    server: str
    home: Callable[[str], Home]
    options: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    takes_folder: bool = True

    def obstacle(self, *, as_store: bool = False) -> str:
        """Why nothing can live there now, or empty."""
        if find(self.program, *self.folders) is None:
            return f"{self.program} {INSTALL}"
        if self.scheme not in (STORES if as_store else SCHEMES):
            return f"there is no {'result store' if as_store else 'transport'} for {self.scheme}:// yet"
        return ""

    def start(
        self,
        folder: Path,
        options: Sequence[str] | None = None,
        environment: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> Server:
        """A running server; its files are in ``folder``, unless it must run as another user."""
        make = getattr(import_module(f"tests.servers.{self.module}"), self.server)
        where = (folder,) if self.takes_folder else ()
        made: Server = make(*where, *(self.options if options is None else options), **settings)
        if environment:
            inherited = made.environment
            made.environment = lambda: {**inherited(), **environment}  # type: ignore[method-assign]
        try:
            made.start()
        except BaseException:
            made.kill()
            raise
        return made


def url_of(server: Any) -> str:
    """The URL of a server, without the namespace of any cell."""
    return str(server.url() if callable(server.url) else server.url)


POSTGRES = tuple(f"/usr/lib/postgresql/{number}/bin" for number in range(18, 12, -1))
REDIS = ("--databases", "4096", "--save", "", "--appendonly", "yes", "--appendfsync")
KINDS = {
    "redis": Kind(
        "redis", "redis-server", "redis_server", "RedisServer", homes.RedisDatabase.make, (*REDIS, "everysec")
    ),
    "postgresql": Kind(
        "postgresql",
        "postgres",
        "postgres_server",
        "PostgresServer",
        homes.PostgresSchema.make,
        folders=POSTGRES,
        takes_folder=False,
    ),
    "mysql": Kind("mysql", "mariadbd", "mariadb_server", "MariadbServer", homes.MysqlDatabase.make, takes_folder=False),
    "rabbitmq": Kind("amqp", "rabbitmq-server", "rabbitmq_server", "RabbitServer", homes.RabbitPrefix.make),
}


class Town:
    """Gives cells their homes. A context manager: leaving it ends the servers it started itself."""

    def __init__(self) -> None:
        self._urls: dict[str, str] = json.loads(os.environ.get(SHARED, "{}"))
        self._lock = threading.Lock()
        self._closing = ExitStack()

    def url(self, kind: str) -> str:
        """Where the shared server of a kind is; it is started if need be."""
        with self._lock:
            if kind not in self._urls:
                folder = self._closing.enter_context(tempfile.TemporaryDirectory(prefix=f"crash-{kind}-"))
                server = KINDS[kind].start(Path(folder) / kind)
                self._closing.callback(server.kill)
                self._urls[kind] = url_of(server)
            return self._urls[kind]

    def home(self, kind: str, folder: Path) -> Home:
        """An empty namespace on the shared server, or a file in ``folder``."""
        return File(folder / "queue.db") if kind == "sqlite" else KINDS[kind].home(self.url(kind))

    def environment(self) -> dict[str, str]:
        """What lets another process use the servers that run by now."""
        return {SHARED: json.dumps(self._urls)}

    def __enter__(self) -> "Town":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closing.close()
