"""The spool's file: messages wait in it, in the order they were sent, until the broker has accepted them.

It is a SQLite file of the producer's own. A message is on the disk (``synchronous=FULL``) before ``append`` returns.
"""

import fcntl
import os
import sqlite3
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from taskbus.database import look
from taskbus.database.connection import begin, explain
from taskbus.database.sqlite import Location, SqliteDatabase
from taskbus.database.statements import load
from taskbus.errors import SpoolFailed
from taskbus.failpoint import failpoint
from taskbus.message import Message

SQL = load("spool.sql", __package__)
TABLES = frozenset(("taskbus_spool", "taskbus_spool_refused", "taskbus_spool_total"))
LOCK_TIMEOUT = 5.0
"""Seconds a send waits at most for another process that writes the same file."""
ROW_BYTES = 200
"""What a message takes on the disk beside its own bytes, roughly; the statements say the same."""


class Spooled(NamedTuple):
    """A message on the disk; ``wire`` are the bytes that would have gone to the broker."""

    seq: int
    id: str
    task: str
    queue: str
    priority: int
    wire: bytes
    spooled_at: float


class Refused(NamedTuple):
    """A message the broker would not take; it stays here, with the reason, until somebody decides."""

    seq: int
    id: str
    task: str
    queue: str
    priority: int
    wire: bytes
    spooled_at: float
    refused_at: float
    reason: str


class SpoolSize(NamedTuple):
    """How much is in a spool: messages that wait, messages refused, and the bytes of both."""

    waiting: int
    refused: int
    bytes: int


class Spool:
    """One spool; usable from any thread, by several processes at once, and after a fork.

    ``max_bytes``: how much it may hold, what was refused included. The file is made by the first message.

    Raises:
        SpoolFailed: from any method, when the file cannot be used or is full; nothing was changed.
    """

    def __init__(self, path: str, max_bytes: int) -> None:
        self.path = os.path.realpath(os.path.expanduser(path))
        self._max_bytes = max_bytes
        self._database = SqliteDatabase.open(Location(self.path, "FULL").url, LOCK_TIMEOUT)
        self._has_tables = False

    # --- in ---

    def append(self, messages: Sequence[tuple[Message, bytes]], *, only_behind: bool = False) -> bool:
        """Keep messages, all or none, each with the bytes it travels as.

        ``only_behind``: only if something waits already; returns whether they were kept.
        """
        now = time.time()
        rows = [(each.id, each.task, each.queue, each.priority, wire, now) for each, wire in messages]
        size = sum(len(wire) + ROW_BYTES for _, wire in messages)
        with self._writing() as cursor:
            waiting, refused, taken = SpoolSize(*cursor.execute(SQL["total"]).fetchone())
            if only_behind and not waiting:
                return False
            if taken + size > self._max_bytes:
                raise SpoolFailed(
                    f"the spool {self.path} is full: {waiting:,} messages wait in it and {refused:,} were refused, "
                    f"{taken:,} bytes of max_spool_bytes={self._max_bytes:,}; bring the broker back, or allow more"
                )
            cursor.executemany(SQL["append"], rows)
            failpoint("spool.inside")
        failpoint("spool.after")
        return True

    # --- out ---

    def first(self, limit: int) -> list[Spooled]:
        """The next messages, in order; nothing is taken."""
        return [Spooled(*row) for row in self._read("first", limit)]

    def remove(self, spooled: Sequence[Spooled]) -> None:
        """Forget messages that the broker has accepted."""
        with self._writing() as cursor:
            cursor.executemany(SQL["remove"], [(each.seq,) for each in spooled])

    def refuse(self, spooled: Spooled, reason: str) -> None:
        """Put a message aside, so that those behind it may go on."""
        with self._writing() as cursor:
            cursor.execute(SQL["refuse"], (time.time(), reason, spooled.seq))
            cursor.execute(SQL["remove"], (spooled.seq,))

    def restore(self) -> int:
        """Let what was refused wait again, behind all else; how many."""
        with self._writing() as cursor:
            count = cursor.execute(SQL["restore"]).rowcount
            cursor.execute(SQL["forget_refused"])
        return count

    # --- views ---

    def size(self) -> SpoolSize:
        """How much is in it. Asking makes no file."""
        return SpoolSize(*self._read("total")[0]) if self._exists() else SpoolSize(0, 0, 0)

    def oldest_at(self) -> float | None:
        """When the message that waits longest was kept, by this host's clock."""
        rows = self._read("oldest") if self._exists() else []
        return float(rows[0][0]) if rows else None

    def refused(self) -> list[Refused]:
        """What the broker would not take, and why."""
        return [Refused(*row) for row in self._read("refused")] if self._exists() else []

    # --- the relay's lock ---

    @contextmanager
    def relaying(self) -> Iterator[bool]:
        """Whether this is the one relay of this file for the length of the block. The kernel ends it with the process.

        Source: flock(2): a lock belongs to an open file, so two relays of one process exclude each other too.
        """
        with _explained(self.path):
            lock = RelayLock(f"{self.path}-relay")
        try:
            yield lock.is_held
        finally:
            lock.release()

    # --- the file ---

    def _exists(self) -> bool:
        if not self._has_tables:
            with _explained(self.path):
                self._has_tables = (look.tables(self.path) or frozenset()) >= TABLES
        return self._has_tables

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Cursor]:
        """A block in one transaction, flushed to the disk at its end."""
        with _explained(self.path):
            if not self._has_tables:
                _make_private(self.path)
            cursor = self._database.connection().cursor()
            begin(cursor, LOCK_TIMEOUT)
            try:
                if not self._has_tables:
                    for name in (name for name in SQL if name.startswith("make_")):
                        cursor.execute(SQL[name])
                yield cursor
                cursor.execute("COMMIT")
            except BaseException:
                if cursor.connection.in_transaction:
                    cursor.execute("ROLLBACK")
                raise
            self._has_tables = True

    def _read(self, statement: str, *parameters: int) -> list[Any]:
        with _explained(self.path):
            return self._database.connection().execute(SQL[statement], parameters).fetchall()

    def close(self) -> None:
        """Close the file; using the spool again opens it."""
        self._database.close()


@contextmanager
def _explained(path: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise SpoolFailed(f"the spool: {explain(error, path)}") from error
    except OSError as error:
        raise SpoolFailed(f"the spool {path} cannot be used: {error}") from error


def _make_private(path: str) -> None:
    """Make the file, if it is not there, so that only its owner may read it: tasks carry what their callers pass."""
    if os.path.isdir(os.path.dirname(path)) and not os.path.exists(path):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


class RelayLock:
    """Held, or found to be another's, from the start; a child of a fork does not hold it with its parent."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        _locks.add(self)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.is_held = True
        except OSError:
            self.is_held = False

    def release(self) -> None:
        """Give it up, at once for every process: a child may have the file open still."""
        if self._fd >= 0:
            fcntl.flock(self._fd, fcntl.LOCK_UN)
            self.forget()

    def forget(self) -> None:
        """In the child of a fork: the lock is the parent's, and would outlive it."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def _after_fork() -> None:
    for lock in list(_locks):
        lock.forget()


_locks: weakref.WeakSet[RelayLock] = weakref.WeakSet()
os.register_at_fork(after_in_child=_after_fork)
