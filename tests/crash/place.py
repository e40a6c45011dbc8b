"""Where one cell lives: its folder, its broker, its results, and the wires to them that a cell may break."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from taskbus.broker.broker import Broker
from tests.servers.proxy import Proxy
from tests.servers.server import Server

from .homes import Behind, File, Home
from .town import KINDS, url_of


@dataclass(frozen=True, slots=True)
class Place:
    """``results`` None: the broker keeps them. ``wire`` and ``results_wire``: proxies that all but the harness use.

    ``server`` and ``results_server``: servers of this cell alone, which it may hurt.
    """

    folder: Path
    broker: Home
    results: Home | None = None
    wire: Proxy | None = None
    results_wire: Proxy | None = None
    server: Server | None = None
    results_server: Server | None = None

    @property
    def kind(self) -> str:
        return self.broker.kind

    @property
    def homes(self) -> list[Home]:
        return [self.broker, *([self.results] if self.results else [])]

    @property
    def broker_url(self) -> str:
        """What workers and producers are told."""
        return self.broker.url(self.wire.port if self.wire else 0)

    @property
    def results_url(self) -> str:
        """The same for results; "": the broker keeps them."""
        return self.results.url(self.results_wire.port if self.results_wire else 0) if self.results else ""

    @property
    def has_wires(self) -> bool:
        return self.wire is not None or self.results_wire is not None

    def problems(self) -> list[str]:
        """What is wrong with broker or results, by their own means."""
        return [problem for home in self.homes for problem in home.problems()]

    def remove(self) -> None:
        """Delete all that was kept here, but for the folder."""
        for home in self.homes:
            home.remove()

    def within(self, name: str) -> "Place":
        """Another place of the same kind, empty, in a folder below."""
        folder = self.folder / name
        results = self.results.sibling(folder) if self.results else None
        return replace(self, folder=folder, broker=self.broker.sibling(folder), results=results)

    def results_apart(self) -> "Place":
        """The same place, with results in a file of their own if the broker would keep them."""
        return self if self.results else replace(self, results=File(self.folder / "results.db"))

    def at(self, path: Path) -> "Place":
        """The same place with another file."""
        return replace(self, broker=File(path))

    @contextmanager
    def wired(self, *, by_all: bool = False) -> Iterator["tuple[Place, Proxy]"]:
        """The same place, where all but the harness reach the broker by a proxy; ``by_all``: the harness too."""
        with Proxy(self.broker.port) as proxy:
            behind = replace(self, broker=Behind(self.broker, proxy.port)) if by_all else replace(self, wire=proxy)
            yield behind, proxy

    @contextmanager
    def results_wired(self) -> Iterator["tuple[Place, Proxy]"]:
        """The same place, where all but the harness reach the results by a proxy."""
        assert self.results is not None
        with Proxy(self.results.port) as proxy:
            yield replace(self, results_wire=proxy), proxy

    @contextmanager
    def alone(self, **settings: Any) -> Iterator["tuple[Place, Any]"]:
        """The same place, its broker on a server of its own; ``settings`` as ``Kind.start`` takes them."""
        kind = KINDS[self.kind]
        server = kind.start(self.folder / "server", **settings)
        try:
            yield replace(self, broker=kind.home(url_of(server)), server=server), server
        finally:
            server.kill()

    @contextmanager
    def results_alone(self, **settings: Any) -> Iterator["tuple[Place, Any]"]:
        """The same place, its results on a server of their own."""
        assert self.results is not None
        kind = KINDS[self.results.kind]
        server = kind.start(self.folder / "results-server", **settings)
        try:
            yield replace(self, results=kind.home(url_of(server)), results_server=server), server
        finally:
            server.kill()


def declare(broker: Broker, queue: str) -> None:
    """Make a queue, as a worker does: on RabbitMQ a broker sees those alone that it has named."""
    broker.connection().channel().storage.declare_queue(queue, expires=None, passive=False)
