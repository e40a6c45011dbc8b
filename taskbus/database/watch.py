"""Learn that a SQLite file was written to, without asking it over and over: inotify on its write-ahead log.

A write to the log is seen before its commit can be read, so every burst of writes is followed by three echoes that make
the reader look again. Where there is no inotify a thread compares ``PRAGMA data_version`` instead.
"""

import contextlib
import ctypes
import os
import select
import sqlite3
import struct
import threading
import time
from collections.abc import Callable, Collection
from typing import Protocol

from taskbus.database.port import Watch

ECHOES = (0.002, 0.02, 0.2)
"""Seconds after a burst at which to look again: past the log's index, past a slow disk's flush."""
POLL_MIN, POLL_MAX = 0.002, 0.1

_IN_MODIFY, _IN_DELETE_SELF, _IN_IGNORED = 0x2, 0x400, 0x8000
_EVENT = struct.Struct("iIII")


class File(Protocol):
    """What is watched: a SQLite database, by its file."""

    path: str
    timeout: float

    def connection(self) -> sqlite3.Connection: ...

    def connect(self) -> sqlite3.Connection: ...


def watch(database: File) -> Watch:
    """Watch ``database``, in the best way this system has."""
    try:
        return FileWatch(database)
    except (OSError, AttributeError, sqlite3.Error):
        return PollingWatch(database)


class FileWatch:
    """inotify on the ``-wal`` file, with the echoes on a timer behind the same descriptor. One thread may use it.

    Raises:
        OSError, AttributeError: this system has no inotify, or no room for one more.
        sqlite3.Error: the database cannot be read.
    """

    def __init__(self, database: File) -> None:
        self._database = database
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._log = os.fsencode(f"{database.path}-wal")
        self._echo = len(ECHOES)
        self._is_lost = False
        self._inotify = self._timer = -1
        self._epoll = select.epoll()
        try:
            self._inotify = self._checked(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
            self._timer = self._checked(self._libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC))
            self._epoll.register(self._inotify, select.EPOLLIN)
            self._epoll.register(self._timer, select.EPOLLIN)
            self._follow()
        except BaseException:
            self.close()
            raise

    def fileno(self) -> int:
        return self._epoll.fileno()

    def drain(self) -> None:
        """Make the descriptor unreadable, until the next write or the next echo of the writes seen now."""
        events = self._read(self._inotify)
        if events:
            self._echo = 0
            self._is_lost = self._is_lost or _is_gone(events)
            if self._is_lost:
                self._find_again()
        elif self._read(self._timer):
            self._echo += 1
        else:
            return
        self._set_timer(ECHOES[self._echo] if self._echo < len(ECHOES) else 0.0)

    def listen(self, topics: Collection[str]) -> None:
        """Nothing to do: any write wakes."""

    def hurry(self) -> None:
        """Nothing to do: whoever writes wakes."""

    def close(self) -> None:
        self._epoll.close()
        for fd in (self._inotify, self._timer):
            if fd >= 0:
                os.close(fd)
        self._inotify = self._timer = -1

    def _find_again(self) -> None:
        """Follow the log that replaced the one that is gone. Why there is none, the next read will tell."""
        with contextlib.suppress(OSError, sqlite3.Error):
            self._follow()
            self._is_lost = False

    def _follow(self) -> None:
        """Watch the log file, which exists while a connection is open that has read or written."""
        self._database.connection().execute("SELECT count(*) FROM sqlite_master").fetchone()
        self._checked(self._libc.inotify_add_watch(self._inotify, self._log, _IN_MODIFY | _IN_DELETE_SELF))

    def _read(self, fd: int) -> bytes:
        try:
            return os.read(fd, 65536)
        except BlockingIOError:
            return b""

    def _set_timer(self, seconds: float) -> None:
        first = (ctypes.c_long * 4)(0, 0, 0, int(seconds * 1e9))
        self._checked(self._libc.timerfd_settime(self._timer, 0, first, None))

    def _checked(self, result: int) -> int:
        if result < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return result


def _is_gone(events: bytes) -> bool:
    offset = 0
    while offset < len(events):
        _, mask, _, length = _EVENT.unpack_from(events, offset)
        if mask & (_IN_DELETE_SELF | _IN_IGNORED):
            return True
        offset += _EVENT.size + length
    return False


class PollingWatch:
    """A thread that asks for the database's version, often after a change and ever less often without one."""

    def __init__(self, database: File) -> None:
        self._database = database
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="taskbus-watch", daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        return self._reader

    def drain(self) -> None:
        try:
            while len(os.read(self._reader, 4096)) == 4096:
                pass
        except BlockingIOError:
            return

    def listen(self, topics: Collection[str]) -> None:
        """Nothing to do: any write wakes."""

    def hurry(self) -> None:
        """Nothing to do: whoever writes wakes."""

    def close(self) -> None:
        self._closed.set()
        self._thread.join()
        os.close(self._reader)
        os.close(self._writer)

    def _poll(self) -> None:
        pause, version = POLL_MIN, Version(self._database)
        while not self._closed.wait(pause):
            pause = min(pause * 1.5, POLL_MAX)
            if version.has_changed():
                pause = POLL_MIN
                try:
                    os.write(self._writer, b".")
                except BlockingIOError:
                    continue
        version.close()


class Version:
    """Tells whether anyone committed since the last time asked, on a connection of its own."""

    def __init__(self, database: File) -> None:
        self._database = database
        self._connection: sqlite3.Connection | None = None
        self._seen = -1

    def has_changed(self) -> bool:
        """True too when the database cannot be asked: the reader then learns why for itself."""
        try:
            if self._connection is None:
                self._connection = self._database.connect()
            version: int = self._connection.execute("PRAGMA data_version").fetchone()[0]
        except sqlite3.Error:
            self.close()
            return True
        changed, self._seen = version != self._seen, version
        return changed

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def subscribe(database: File, notify: Callable[[], None]) -> Callable[[], None]:
    """Call ``notify`` after every commit to ``database``, from a thread of ours; it must neither block nor raise.

    One thread a database serves all who subscribe, and ends with the last of them. Returns a function that ends this
    subscription; after it returns ``notify`` may still be running, but will not be called again.
    """
    with _lock:
        watcher = _watchers.get(database.path)
        if watcher is None:
            watcher = _watchers[database.path] = _Watcher(database)
        token = watcher.add(notify)

    def cancel() -> None:
        with _lock:
            if watcher.remove(token) and _watchers.get(database.path) is watcher:
                del _watchers[database.path]
                watcher.stop()

    return cancel


class _Watcher:
    """The thread behind ``subscribe``. Echoes that bring nothing new are not passed on."""

    def __init__(self, database: File) -> None:
        self._database = database
        self._notify: dict[object, Callable[[], None]] = {}
        self._wake, self._waker = os.pipe()
        self._ready = threading.Event()
        threading.Thread(target=self._run, name="taskbus-watcher", daemon=True).start()
        # What is committed after subscribe() returned must not be missed.
        self._ready.wait(self._database.timeout)

    def add(self, notify: Callable[[], None]) -> object:
        token = object()
        self._notify = {**self._notify, token: notify}
        return token

    def remove(self, token: object) -> bool:
        """Whether it was there, and was the last one."""
        was_there = token in self._notify
        self._notify = {key: notify for key, notify in self._notify.items() if key is not token}
        return was_there and not self._notify

    def stop(self) -> None:
        os.close(self._waker)

    def _run(self) -> None:
        changes, version = watch(self._database), Version(self._database)
        version.has_changed()
        self._ready.set()
        poller = select.poll()
        poller.register(changes.fileno(), select.POLLIN)
        poller.register(self._wake, select.POLLIN | select.POLLHUP)
        while all(fd != self._wake for fd, _ in poller.poll()):
            changes.drain()
            if version.has_changed():
                for notify in self._notify.values():
                    notify()
        changes.close()
        version.close()
        os.close(self._wake)


def _after_fork() -> None:
    """Threads do not survive a fork; the child's own subscriptions start new ones."""
    global _lock
    _lock = threading.Lock()
    _watchers.clear()


_lock = threading.Lock()
_watchers: dict[str, _Watcher] = {}
os.register_at_fork(after_in_child=_after_fork)
