"""A Redis (or Valkey) server, shared by a process's broker and store: a connection a thread, safe across forks.

::

    database = RedisDatabase.open("redis://user:password@host:6379/0?prefix=shop")
    link = database.link()                                      # this thread's; kept, reconnects by itself
    link.call("GET", f"{database.prefix}:x")                    # bytes, in RESP3's types
    link.pipeline([("SET", "a", 1), ("GET", "a")])              # one round trip, no transaction
    link.script(load(__package__, "thing.lua"), keys, args)     # EVALSHA, and EVAL where it is not known yet

Every key starts with ``database.prefix`` and a colon. What follows an opening brace (``prefix:{...``) is the broker's.
Errors are ``redis_errors``': ``NotReached`` (nothing was done), ``ReplyLost`` (it may have been done) and ``Refused``.
How a result store takes part in the broker's step: see ``RedisTransaction``.
"""

import os
import threading
import weakref

from taskbus.database.redis_cluster import ClusterLine, ClusterLink
from taskbus.database.redis_errors import NotReached, RedisError, Refused, ReplyLost
from taskbus.database.redis_link import Line, Link
from taskbus.database.redis_script import RedisTransaction, Script, load
from taskbus.database.redis_sentinel import primary
from taskbus.database.redis_url import CLUSTER, SENTINEL, RedisPlace, locate
from taskbus.database.redis_wire import Wire

__all__ = [
    "Link",
    "NotReached",
    "RedisDatabase",
    "RedisError",
    "RedisTransaction",
    "Refused",
    "ReplyLost",
    "Script",
    "load",
    "locate",
]
TIMEOUT = 5.0


class RedisDatabase:
    """One Redis of this process; ``open`` returns the same object for the same URL and timeout while it is in use.

    Objects that differ by their timeout alone share their connections. ``identity`` names the data: where the broker's
    and the store's are equal (and not ""), both share one step.
    """

    def __init__(self, connections: "Connections", timeout: float = TIMEOUT) -> None:
        self._connections = connections
        self._local = threading.local()
        self.place = place = connections.place
        self.timeout = timeout
        self.prefix = place.prefix
        self.identity = place.identity
        self.shown = place.shown
        self.is_cluster = place.kind == CLUSTER

    @classmethod
    def open(cls, url: str, timeout: float = TIMEOUT) -> "RedisDatabase":
        """The shared object for ``url``; nothing is connected to yet. ``timeout``: seconds any command may take in all.

        Raises:
            ConfigError: the URL is not one of a Redis.
        """
        place = locate(url)
        with _opening:
            database = _databases.get((url, timeout))
            if database is None:
                connections = _connections.get(url)
                if connections is None:
                    connections = _connections[url] = Connections(place)
                database = _databases[url, timeout] = cls(connections, timeout)
            return database

    def link(self) -> Link:
        """The connection of this thread, which closes with it."""
        link: Link | None = getattr(self._local, "link", None)
        if link is None:
            link = self._local.link = linked(self._connections.line(), self.timeout)
        return link

    def connect(self) -> Link:
        """A connection of the caller's own, who drops it."""
        return linked(self._connections.new_line(), self.timeout)

    def leave(self) -> None:
        """Close this thread's connection, unless somebody listens on it."""
        self._connections.leave(self.timeout)

    def close(self) -> None:
        """Close the connections of all threads but those that listen. No other thread may be using one."""
        self._connections.close(self.timeout)

    def forget(self) -> None:
        """In the child of a fork: leave the parent's connections to it."""
        self._local = threading.local()


class Connections:
    """The connections to one place, one a thread."""

    def __init__(self, place: RedisPlace) -> None:
        self.place = place
        self.forget()

    def line(self) -> Line:
        """This thread's."""
        line: Line | None = getattr(self._local, "line", None)
        if line is None:
            line = self._local.line = self.new_line()
            with self._lock:
                self._lines.add(line)
        return line

    def new_line(self) -> Line:
        if self.place.kind == CLUSTER:
            return ClusterLine(self.place)
        return Line(self.place, lambda deadline: opened(self.place, deadline))

    def leave(self, timeout: float) -> None:
        line: Line | None = getattr(self._local, "line", None)
        if line is not None and not line.ears:
            linked(line, timeout).drop()

    def close(self, timeout: float) -> None:
        with self._lock:
            lines = list(self._lines)
        for line in lines:
            if not line.ears:
                linked(line, timeout).drop()

    def forget(self) -> None:
        self._local = threading.local()
        self._lines: weakref.WeakSet[Line] = weakref.WeakSet()
        self._lock = threading.Lock()


def linked(line: Line, timeout: float) -> Link:
    return ClusterLink(line, timeout) if isinstance(line, ClusterLine) else Link(line, timeout)


def opened(place: RedisPlace, deadline: float) -> Wire:
    """A connection to the one server that takes writes."""
    if place.kind == SENTINEL:
        return primary(place, deadline)
    wire = Wire(place.addresses[0], place, deadline)
    if wire.hello.get(b"mode") == b"cluster":
        wire.close()
        raise NotReached(f"{place.shown} is a node of a cluster; write redis+cluster:// (rediss+cluster:// for TLS)")
    return wire


def _after_fork() -> None:
    global _opening
    _opening = threading.Lock()
    for connections in list(_connections.values()):
        connections.forget()
    for database in list(_databases.values()):
        database.forget()


_connections: weakref.WeakValueDictionary[str, Connections] = weakref.WeakValueDictionary()
_databases: weakref.WeakValueDictionary[tuple[str, float], RedisDatabase] = weakref.WeakValueDictionary()
_opening = threading.Lock()
os.register_at_fork(after_in_child=_after_fork)
