"""Namespaces: what a cell has of a server that it shares with others, one class for each kind of server."""

import itertools
import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from taskbus.broker.broker import Broker

_numbers = itertools.count(1)


class Home(Protocol):
    """A namespace of the cell's own on some server, or a file."""

    @property
    def kind(self) -> str: ...

    @property
    def port(self) -> int:
        """0: there is no server."""

    def url(self, port: int = 0) -> str:
        """Its URL; by another port, where a proxy listens."""

    def problems(self) -> list[str]:
        """What is wrong with it now, by its own means."""

    def sibling(self, folder: Path) -> "Home":
        """Another one on the same server, empty."""

    def remove(self) -> None:
        """Delete all that is in it."""


@dataclass(frozen=True, slots=True)
class File:
    """A SQLite file."""

    path: Path
    kind: str = "sqlite"
    port: int = 0

    def url(self, port: int = 0) -> str:
        return f"sqlite:///{self.path}"

    def problems(self) -> list[str]:
        with closing(sqlite3.connect(self.path)) as database:
            found = [row[0] for row in database.execute("PRAGMA integrity_check")]
        return [] if found == ["ok"] else [f"the database is corrupt: {found[:3]}"]

    def sibling(self, folder: Path) -> "File":
        return File(folder / self.path.name)

    def remove(self) -> None:
        """It goes with its folder."""


def at_port(url: str, port: int) -> str:
    """A URL with another port; with its own for 0."""
    parts = urlsplit(url)
    if port:
        parts = parts._replace(netloc=f"{parts.netloc.rpartition(':')[0]}:{port}")
    return parts.geturl()


@dataclass(frozen=True, slots=True)
class Namespace:
    """What all servers' namespaces share: a path in the URL of the server, ``server``."""

    server: str
    path: str

    @property
    def port(self) -> int:
        return urlsplit(self.server).port or 0

    def url(self, port: int = 0) -> str:
        return urlsplit(at_port(self.server, port))._replace(path=f"/{self.path}").geturl()

    def problems(self) -> list[str]:
        return []


class RedisDatabase(Namespace):
    """A numbered database. The numbers are given out by the server itself, from 1."""

    __slots__ = ()
    kind = "redis"

    @classmethod
    def make(cls, server: str) -> "RedisDatabase":
        import redis

        with redis.Redis.from_url(server) as client:
            count = int(client.config_get("databases")["databases"])
            return cls(server, str(1 + int(client.incr("crash:databases")) % (count - 1)))

    def sibling(self, folder: Path) -> "RedisDatabase":
        return self.make(self.server)

    def remove(self) -> None:
        import redis

        with redis.Redis.from_url(self.url()) as client:
            client.flushdb()


@dataclass(frozen=True, slots=True)
class Behind:
    """A home that is reached by another port, even by the harness."""

    home: Home
    port: int

    @property
    def kind(self) -> str:
        return self.home.kind

    def url(self, port: int = 0) -> str:
        return self.home.url(port or self.port)

    def problems(self) -> list[str]:
        return self.home.problems()

    def sibling(self, folder: Path) -> "Behind":
        return Behind(self.home.sibling(folder), self.port)

    def remove(self) -> None:
        """It goes with its server."""


def new_name() -> str:
    """A name no other cell of this run has."""
    return f"cell_{os.getpid()}_{next(_numbers)}"


@dataclass(frozen=True, slots=True)
class PostgresSchema:
    """A schema, which TaskBus makes."""

    server: str
    schema: str
    kind: str = "postgresql"

    @classmethod
    def make(cls, server: str) -> "PostgresSchema":
        return cls(server, new_name())

    @property
    def port(self) -> int:
        return urlsplit(self.server).port or 0

    def url(self, port: int = 0) -> str:
        return f"{at_port(self.server, port)}?schema={self.schema}"

    def problems(self) -> list[str]:
        return []

    def sibling(self, folder: Path) -> "PostgresSchema":
        return self.make(self.server)

    def remove(self) -> None:
        self.execute(f"DROP SCHEMA IF EXISTS {self.schema} CASCADE")

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """What one statement returns, on a connection of its own that looks into the schema."""
        import psycopg

        with psycopg.connect(self.server, autocommit=True, options=f"-csearch_path={self.schema}") as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


class MysqlDatabase(Namespace):
    __slots__ = ()
    kind = "mysql"

    @classmethod
    def make(cls, server: str) -> "MysqlDatabase":
        made = cls(server, new_name())
        made._execute(f"CREATE DATABASE {made.path}")
        return made

    def sibling(self, folder: Path) -> "MysqlDatabase":
        return self.make(self.server)

    def remove(self) -> None:
        self._execute(f"DROP DATABASE IF EXISTS {self.path}")

    def _execute(self, statement: str) -> None:
        import pymysql

        parts = urlsplit(self.server)
        with closing(
            pymysql.connect(
                host=parts.hostname, port=self.port, user=unquote(parts.username or ""),
                password=unquote(parts.password or ""),
            )
        ) as connection:  # fmt: skip
            connection.cursor().execute(statement)


@dataclass(frozen=True, slots=True)
class RabbitPrefix:
    """All queues and exchanges whose names begin with ``prefix``."""

    server: str
    prefix: str
    kind: str = "rabbitmq"

    @classmethod
    def make(cls, server: str) -> "RabbitPrefix":
        return cls(server, new_name())

    @property
    def port(self) -> int:
        return urlsplit(self.server).port or 0

    def url(self, port: int = 0) -> str:
        return f"{at_port(self.server, port)}?prefix={self.prefix}."

    def problems(self) -> list[str]:
        return []

    def sibling(self, folder: Path) -> "RabbitPrefix":
        return self.make(self.server)

    def remove(self) -> None:
        """Delete the queues that tasks went through; the others go when nobody has used them for a while."""
        broker = Broker(self.url())
        try:
            storage = broker.connection().channel().storage
            for size in storage.sizes():
                storage.delete_queue(size.name, if_unused=False, if_empty=False)
        finally:
            broker.close()
