"""SQLite as a ``port.Database``: one file, shared by the broker and the store of a process."""

import difflib
import os
import sqlite3
import sys
import threading
import time
import weakref
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, unquote

from taskbus.database.connection import Connection, FileGone, begin, connect, explain
from taskbus.database.port import Dialect, Watch
from taskbus.database.urls import redacted
from taskbus.database.watch import subscribe, watch
from taskbus.errors import ConfigError

if TYPE_CHECKING:
    from sqlalchemy import MetaData

T = TypeVar("T")
SCHEMES = ("sqlite",)
SYNCHRONOUS = ("NORMAL", "FULL")
BUSY_FOR = 5.0
CHECK_EVERY = 1.0
"""Seconds after which a connection makes sure that its file is still the one at its path."""


@dataclass(frozen=True, slots=True)
class Location:
    """Where a database is: the real, absolute ``path`` of its file, and how durable a commit must be."""

    path: str
    synchronous: str = "NORMAL"

    @property
    def identity(self) -> str:
        """Names the database itself: equal for every URL of the same file."""
        return f"sqlite:///{_escape(self.path)}"

    @property
    def url(self) -> str:
        """An absolute URL that leads here from any working folder."""
        return self.identity if self.synchronous == "NORMAL" else f"{self.identity}?synchronous={self.synchronous}"


def locate(url: str) -> Location:
    """Read ``sqlite:///relative.db`` or ``sqlite:////absolute.db``, with ``?synchronous=FULL`` or nothing.

    Raises:
        ConfigError: another scheme, no path, or an option that is not known.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in SCHEMES:
        raise ConfigError(f"{redacted(url)!r} is no database TaskBus knows; {_advice(scheme, bool(separator))}")
    place, _, query = rest.partition("?")
    path = unquote(place.removeprefix("/"))
    if not place.startswith("/") or not path or os.path.basename(path) == ":memory:":
        raise ConfigError(
            f"{redacted(url)!r} names no file; write sqlite:///file.db or sqlite:////absolute/file.db,"
            " or memory://name for tests, which keeps everything in one process"
        )
    options = dict(parse_qsl(query, keep_blank_values=True))
    synchronous = options.pop("synchronous", "NORMAL").upper()
    if options:
        raise ConfigError(
            f"{redacted(url)!r}: unknown option {', '.join(sorted(options))}; the only one is synchronous=NORMAL|FULL"
        )
    if synchronous not in SYNCHRONOUS:
        raise ConfigError(f"{redacted(url)!r}: synchronous={synchronous} is not one of {', '.join(SYNCHRONOUS)}")
    return Location(os.path.realpath(path), synchronous)


def _advice(scheme: str, complete: bool) -> str:
    if not complete:
        return "a URL looks like sqlite:///file.db"
    near = difflib.get_close_matches(scheme.lower(), SCHEMES, n=1)
    return f"did you mean {near[0]}://?" if near else f"there is {', '.join(f'{name}://' for name in SCHEMES)}"


def _escape(path: str) -> str:
    return path.replace("%", "%25").replace("?", "%3F").replace("#", "%23")


class SqliteDatabase:
    """One file of this process; ``open`` returns the same object for the same URL and timeout.

    Each thread has a connection of its own, opened when first asked for. A child of a fork opens its own and never
    touches its parent's; only one forked in the very moment another thread was writing finds the database locked.
    Its errors are ``sqlite3.Error``; ``FileGone`` where the file was deleted or replaced.
    """

    dialect: Dialect = "sqlite"
    errors: type[Exception] = sqlite3.Error

    def __init__(self, location: Location, timeout: float = BUSY_FOR) -> None:
        self.location = location
        self.path = self.place = location.path
        self.identity = location.identity
        self.timeout = timeout
        self._local = threading.local()
        self._held: weakref.WeakSet[_Held] = weakref.WeakSet()
        self._lock = threading.Lock()

    @classmethod
    def open(cls, url: str, timeout: float = BUSY_FOR) -> "SqliteDatabase":
        """The shared object for ``url``; nothing is touched yet. ``timeout``: seconds any wait for a lock may take."""
        key = (locate(url), timeout)
        with _opening:
            database = _databases.get(key)
            if database is None:
                database = _databases[key] = cls(*key)
            return database

    def connection(self) -> Connection:
        """The connection of this thread, in autocommit mode.

        Raises:
            sqlite3.Error: the file cannot be opened, or is not a database.
            FileGone: it was deleted or replaced since it was opened: what is written to a deleted file is lost without
                a word.
        """
        held: _Held | None = getattr(self._local, "held", None)
        connection = held.connection if held is not None else None
        if held is None or connection is None:
            connection = self.connect()
            held = self._local.held = _Held(connection, self.path)
            with self._lock:
                self._held.add(held)
        elif time.monotonic() > held.check_at:
            held.check(self.path)
        return connection

    def cursor(self) -> sqlite3.Cursor:
        """This thread's cursor, outside of a transaction."""
        connection = self.connection()
        held: _Held = self._local.held
        cursor = held.cursor
        if cursor is None or cursor.connection is not connection:
            cursor = held.cursor = connection.cursor()
        return cursor

    def connect(self) -> Connection:
        """A connection of the caller's own, which the caller closes."""
        return connect(self.path, synchronous=self.location.synchronous, timeout=self.timeout)

    @contextmanager
    def transaction(self, *, write: bool = True) -> Iterator[sqlite3.Cursor]:
        """A cursor inside a transaction: committed at the end of the block, undone when it raises.

        A writing one holds the write lock from its start, so that it never fails half way for want of it.
        """
        connection = self.connection()
        cursor = connection.cursor()
        if write:
            begin(cursor, self.timeout)
        else:
            cursor.execute("BEGIN")
        try:
            yield cursor
            cursor.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                cursor.execute("ROLLBACK")
            raise

    def write(self, work: Callable[[sqlite3.Cursor], T]) -> T:
        """``work(cursor)`` in one transaction."""
        with self.transaction() as cursor:
            return work(cursor)

    def read(self, statement: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """All rows of a statement that changes nothing."""
        return self.cursor().execute(statement, parameters).fetchall()

    def require(self, tables: Collection[str], metadata: "Callable[[], MetaData]") -> None:
        """Make these tables now if they are missing."""
        if not self.has(tables):
            self.create(metadata())

    def has(self, tables: Collection[str]) -> bool:
        """Whether all these tables exist: asked before the schema is loaded, since loading SQLAlchemy costs 0.1 s."""
        marks = ",".join("?" * len(tables))
        found = self.connection().execute(
            f"SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN ({marks})",  # noqa: S608 (marks only)
            tuple(tables),
        )
        return bool(found.fetchone()[0] == len(tables))

    def apart(self) -> "SqliteDatabase":
        """This one: here tables are made when they are required, by whoever requires them."""
        return self

    def create(self, metadata: "MetaData") -> None:
        """Create what is missing of these tables and indexes; several processes may do so at once."""
        from sqlalchemy.dialects import sqlite  # noqa: PLC0415 (loaded only where tables are made)
        from sqlalchemy.schema import CreateIndex, CreateTable  # noqa: PLC0415

        dialect = sqlite.dialect()
        with self.transaction() as cursor:
            for table in metadata.sorted_tables:
                cursor.execute(str(CreateTable(table, if_not_exists=True).compile(dialect=dialect)))
                for index in sorted(table.indexes, key=lambda index: str(index.name)):
                    cursor.execute(str(CreateIndex(index, if_not_exists=True).compile(dialect=dialect)))
            for statement in metadata.info.get(self.dialect, ()):
                cursor.execute(statement)

    # --- what is asked of every database ---

    def explain(self, error: Exception) -> str:
        """What the error means for this file, and what to do about it."""
        return explain(error, self.path) if isinstance(error, sqlite3.Error) else str(error)

    def is_lost(self, error: Exception) -> bool:
        """Never: a file has no connection that could be lost."""
        return False

    def server_now(self, timeout: float | None = None) -> float:
        """This host's own clock: whoever shares the file lives here."""
        return time.time()

    def watch(self) -> Watch:
        """Wakes whenever anybody writes to the file."""
        return watch(self)

    def notify(self, cursor: Any, topics: Collection[str]) -> None:
        """Nothing: that the file was written to is all there is to tell."""

    def subscribe(self, topic: str, notify: Callable[[], None]) -> Callable[[], None]:
        """Call ``notify`` after every commit to the file."""
        return subscribe(self, notify)

    def close(self) -> None:
        """Close the connections of all threads; asking again opens new ones.

        One that another thread is in the middle of using stays open until that is done.
        """
        with self._lock:
            held = list(self._held)
            self._held.clear()
        for each in held:
            each.let_go()

    def leave(self) -> None:
        """Close this thread's connection, unless it is inside a transaction."""
        held: _Held | None = getattr(self._local, "held", None)
        if held is not None and held.connection is not None and not held.connection.in_transaction:
            held.close()

    def forget(self) -> None:
        """In the child of a fork: drop the parent's connections without closing them."""
        for each in list(self._held):
            each.abandon()
        self._held = weakref.WeakSet()
        self._local = threading.local()
        self._lock = threading.Lock()


def _alone() -> int:
    connection = sqlite3.connect(":memory:")
    try:
        return sys.getrefcount(connection)
    finally:
        connection.close()


OURS = _alone()
"""References to a connection that only one variable has: its own cache of statements has one too."""


class _Held:
    """A connection that closes with its thread, and never in a process that did not open it."""

    __slots__ = ("__weakref__", "check_at", "connection", "cursor", "files")

    def __init__(self, connection: Connection, path: str) -> None:
        self.connection: Connection | None = connection
        self.cursor: sqlite3.Cursor | None = None
        connection.execute("PRAGMA schema_version").fetchall()  # opens the log, which nobody removes while we have it
        self.files = _identify(path)
        self.check_at = time.monotonic() + CHECK_EVERY

    def check(self, path: str) -> None:
        if _identify(path) != self.files:
            raise FileGone("the file or its -wal was deleted or replaced while in use; restart what uses it")
        self.check_at = time.monotonic() + CHECK_EVERY

    def close(self) -> None:
        connection, self.connection, self.cursor = self.connection, None, None
        if connection is not None:
            connection.close()

    def let_go(self) -> None:
        """Close it for a thread that may be using it: closed in the middle of a statement, SQLite crashes the process.

        Nobody can get hold of it any more; if nobody has, it is closed now, else with the last reference to it.
        """
        connection, self.connection, self.cursor = self.connection, None, None
        if connection is not None and sys.getrefcount(connection) <= OURS:
            connection.close()

    def abandon(self) -> None:
        self.connection = self.cursor = None

    def __del__(self) -> None:
        self.close()


def _identify(path: str) -> tuple[tuple[int, int], ...]:
    """The database and its log: whatever else has their names is something else."""
    return _inode(path), _inode(f"{path}-wal")


def _inode(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return (0, 0)
    return found.st_dev, found.st_ino


def _before_fork() -> None:
    for database in list(_databases.values()):
        database.leave()


def _after_fork() -> None:
    global _opening
    _opening = threading.Lock()
    for database in _databases.values():
        database.forget()


_databases: dict[tuple[Location, float], SqliteDatabase] = {}
_opening = threading.Lock()
# After connection.py's own hooks: what is closed here before the fork is none of theirs.
os.register_at_fork(before=_before_fork, after_in_child=_after_fork)
