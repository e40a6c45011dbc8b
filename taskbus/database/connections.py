"""The connections of this process to servers: one a thread and place, closed with the thread, left alone by a fork."""

import atexit
import ctypes
import os
import sys
import threading
import weakref
from collections.abc import Callable, Set
from typing import Any, Protocol

from taskbus.database.server_url import Place


class Link(Protocol):
    """One open connection, in autocommit mode. Past ``deadline`` (monotonic) a statement fails and the link is dead."""

    cursor: Any
    deadline: float

    def is_dead(self) -> bool:
        """Whether the other side has closed it, as far as can be told without asking."""

    def begin(self) -> None: ...

    def commit(self) -> None: ...

    def roll_back(self) -> None:
        """Undo what is open, if anything; raises nothing, and leaves a link that is dead or ready."""

    @property
    def is_closed(self) -> bool:
        """Whether this side has: its descriptor may be somebody else's by now."""

    def fileno(self) -> int: ...

    def close(self) -> None: ...


class Connections:
    """The connections of this process to one place, one a thread."""

    def __init__(self) -> None:
        self.forget()

    def held(self) -> "Held":
        held: Held | None = getattr(self._local, "held", None)
        if held is None:
            held = self._local.held = Held()
            with self._lock:
                self._held.add(held)
        return held

    def close(self) -> None:
        with self._lock:
            held = list(self._held)
        for each in held:
            if each.use.acquire(blocking=False):
                try:
                    each.close()
                finally:
                    each.use.release()

    def abandon(self) -> None:
        """In the child of a fork: drop the parent's connections without a word to the server."""
        for each in list(self._held):
            each.abandon()
        self.forget()

    def forget(self) -> None:
        self._held: weakref.WeakSet[Held] = weakref.WeakSet()
        self._local = threading.local()
        self._lock = threading.Lock()


class Held:
    """A thread's connection, which closes with the thread. ``use`` is held while it is in the middle of something.

    ``opened`` is called with each new connection, ``there`` are the groups of tables that were seen on this one.
    """

    def __init__(self) -> None:
        self.use = threading.RLock()
        self.link: Link | None = None
        self.there: Set[tuple[str, ...]] = frozenset()
        self.opened: list[Callable[[Link], None]] = []

    def open(self, link: Link) -> Link:
        self.link, self.there = link, frozenset()
        try:
            for opened in list(self.opened):
                opened(link)
        except BaseException:
            self.drop(link)
            raise
        return link

    def drop(self, link: Link) -> None:
        if self.link is link:
            self.link = None
        link.close()

    def close(self) -> None:
        if self.link is not None:
            self.drop(self.link)

    def abandon(self) -> None:
        """Close the descriptor alone, and leave the rest as it is for ever: nothing may say goodbye on it."""
        link, self.link = self.link, None
        if link is not None and not link.is_closed:
            os.close(link.fileno())
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(link))

    def __del__(self) -> None:
        if not sys.is_finalizing():
            self.close()


def connections_to(place: Place) -> Connections:
    """The one object for a place."""
    return _connections.setdefault(place, Connections())


def _after_fork() -> None:
    for connections in _connections.values():
        connections.abandon()


def _at_exit() -> None:
    """Say goodbye while that is still possible."""
    for connections in _connections.values():
        connections.close()


_connections: dict[Place, Connections] = {}
atexit.register(_at_exit)
os.register_at_fork(after_in_child=_after_fork)
