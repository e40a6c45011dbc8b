"""Connections to a SQLite file: how they are opened, what their errors mean, and how they survive a fork."""

import contextlib
import ctypes
import fcntl
import os
import sqlite3
import struct
import time
import weakref

LONGEST_PAUSE = 0.004
"""Seconds between two tries for the write lock."""


CHECKPOINT_PAGES = 4000
"""Pages of log (16 MiB) after which a commit copies them to the file. SQLite's 1000 do it four times as often,
and the commit that does it waits for the disk: milliseconds, where others take thirty microseconds."""


class FileGone(sqlite3.OperationalError):
    """The file at the path is no longer the one that was opened; only opening everything anew helps."""


class Connection(sqlite3.Connection):
    """A connection that can be found again before a fork."""

    path: str

    def close(self) -> None:
        _open.discard(self)
        super().close()


def connect(path: str, *, synchronous: str, timeout: float) -> Connection:
    """A connection of one's own, in autocommit mode, with the settings every connection here has.

    Raises:
        sqlite3.Error: the file cannot be opened, is not a database, or cannot have a write-ahead log.
    """
    connection = Connection(path, timeout=timeout, isolation_level=None, check_same_thread=False, cached_statements=256)
    connection.path = path
    _open.add(connection)
    try:
        _enter_wal(connection, time.monotonic() + timeout)
        connection.execute(f"PRAGMA synchronous={synchronous}")
        connection.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
    except BaseException:
        connection.close()
        raise
    return connection


def _enter_wal(connection: sqlite3.Connection, deadline: float) -> None:
    """Switch to the write-ahead log. SQLite does not wait for the lock this takes, so we do."""
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        except sqlite3.OperationalError as error:
            if not is_locked(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            if mode != "wal":
                raise sqlite3.OperationalError(f"no write-ahead log possible, journal mode stays {mode!r}")


def begin(cursor: sqlite3.Cursor, timeout: float) -> None:
    """Start a transaction that holds the write lock, waiting ``timeout`` seconds for it at most.

    SQLite's own waiting sleeps ever longer, up to 0.1 s, while others take the lock at every turn: under load one in a
    hundred then waits for half a second. Asking every few milliseconds makes that a few milliseconds.
    """
    cursor.execute("PRAGMA busy_timeout=0")
    try:
        pause, deadline = 0.0001, 0.0
        while True:
            try:
                cursor.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                deadline = deadline or time.monotonic() + timeout
                if not is_locked(error) or time.monotonic() > deadline:
                    raise
            time.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE)
    finally:
        cursor.execute(f"PRAGMA busy_timeout={int(timeout * 1000)}")


def is_locked(error: sqlite3.Error) -> bool:
    """Whether another connection held a lock for longer than the timeout: nothing was written, try again."""
    return _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def explain(error: sqlite3.Error, path: str) -> str:
    """What the error means for the file at ``path``, and what to do about it."""
    template = _MEANINGS.get(_code(error), "the database {path} failed: {error}")
    if _code(error) == sqlite3.SQLITE_CANTOPEN:
        folder = os.path.dirname(path)
        template = _NO_FOLDER if not os.path.isdir(folder) else _NO_FILE
    return template.format(path=path, error=error, folder=os.path.dirname(path))


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


_NO_FOLDER = "cannot open {path}: the folder {folder} does not exist; create it, or name another file"
_NO_FILE = "cannot open {path}: {error}; this user must be able to write to the file and to its folder"
_MEANINGS = {
    sqlite3.SQLITE_BUSY: "{path} is locked by another process ({error}); find the one that writes so long",
    sqlite3.SQLITE_LOCKED: "{path} is locked by another connection of this process ({error})",
    sqlite3.SQLITE_FULL: "no space left for {path} ({error}); free some of the disk and try again",
    sqlite3.SQLITE_READONLY: "cannot write to {path} ({error}); this user must be able to write it and its folder",
    sqlite3.SQLITE_NOTADB: "{path} is not a SQLite database ({error}); name another file, or move this one away",
    sqlite3.SQLITE_CORRUPT: "{path} is damaged ({error}); restore it, or save what is left with sqlite3's .recover",
    sqlite3.SQLITE_IOERR: "reading or writing {path} failed ({error}); check the disk and its free space",
}


def _before_fork() -> None:
    """Make the connections that are open now harmless to the child.

    SQLite in the child believes it has the file locks of every connection open at the fork, which fork(2) does not hand
    down; the parent, closing its last one, would then delete the log the child writes to. So both get a lock that is
    handed down, on the same bytes. Sources: sqlite.org/howtocorrupt.html, 2.6; the lock bytes of SQLite's os_unix.c.
    """
    deadline = time.monotonic() + 0.2
    while any(connection.in_transaction for connection in list(_open)) and time.monotonic() < deadline:
        time.sleep(0.0005)  # a write under way would stay locked in the child for ever
    for path in {connection.path for connection in list(_open)} - _kept:
        _kept.add(path)
        for name, start, length in ((path, 0x40000002, 510), (f"{path}-shm", 128, 1)):
            with contextlib.suppress(OSError, AttributeError):
                fd = os.open(name, os.O_RDWR | os.O_CLOEXEC)  # never closed: that would drop the parent's own locks
                request = struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, start, length, 0)
                fcntl.fcntl(fd, fcntl.F_OFD_SETLK, request)  # type: ignore[attr-defined,unused-ignore]


def _after_fork() -> None:
    """In the child: one reference too many, so that nothing closes what belongs to the parent, not even the exit."""
    for connection in list(_open):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
    _open.clear()


_open: weakref.WeakSet[Connection] = weakref.WeakSet()
_kept: set[str] = set()
os.register_at_fork(before=_before_fork, after_in_child=_after_fork)
