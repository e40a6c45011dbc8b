"""What an application sends, told to monitors as Celery's ``task-sent``.

A send only notes that it was accepted; a thread of its own finds the words, on a connection of its own. What it cannot
keep up with is counted and not told: a send never waits for this, and never fails by it.
"""

import atexit
import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from typing import Any, Protocol

from taskbus.message import Message
from taskbus.monitor import events
from taskbus.monitor.bucket import Bucket
from taskbus.monitor.naming import node_name

logger = logging.getLogger(__name__)

MAX_WAITING = 10_000
"""Messages that may wait to be told of: while the connection is down, or the thread too slow."""
MAX_WAITING_BYTES = 16 << 20
"""Bytes of their bodies, which are kept for as long."""
FLUSH_FOR = 2.0
"""Seconds that an application which closes, or ends, takes to tell the rest."""
LAST_WORDS = 0.2
"""Seconds of those that are left, at least, to end the thread."""


class Station(Protocol):
    """What speaks with monitors: see ``broker.monitoring.station``."""

    def start(self) -> None: ...
    def ring(self) -> None: ...
    def stop(self, timeout: float) -> None: ...


class Announcer:
    """Tells of what was sent, from the first send to ``close``; usable again afterwards, and after a fork.

    ``dropped`` counts the messages that were sent and not told of: those above ``rate`` a second, those above what may
    wait, and those that were left when it was closed. Usable from any thread. ``open_station``: makes what speaks for
    this object, which is its ``Post``.
    """

    def __init__(self, open_station: Callable[["Announcer"], Station], rate: int) -> None:
        self.dropped = 0
        self._open_station = open_station
        self._rate = float(rate)
        self._stations: list[Station] = []  # of a parent that has forked; collected, they would close its connection
        self.forget()
        _announcers.add(self)

    def forget(self) -> None:
        """In the child of a fork: what waits is told by the parent."""
        station = getattr(self, "_station", None)
        if station is not None:
            self._stations.append(station)
        self._station: Station | None = None
        self._lock = threading.Lock()
        self._local = threading.local()
        self._waiting: deque[tuple[Message, float]] = deque()
        self._count = self._bytes = 0
        self._bucket = Bucket(self._rate)
        self._drained: threading.Event | None = None

    # --- where messages are sent ---------------------------------------------------------------------------------

    def sent(self, messages: Sequence[Message]) -> None:
        """These were accepted; or are in a ``batch``, and will be when it ends."""
        with self._lock:
            self._bucket.fill()
            told = [message for message in messages if self._admits(message)]
        held: list[Message] | None = getattr(self._local, "held", None)
        if held is None:
            self._note(told)
        else:
            held += told

    def send_by(self, publish: Callable[[Message], None], message: Message) -> None:
        """Publish it, and tell of it once that has accepted it."""
        publish(message)
        self.sent([message])

    @contextmanager
    def batch(self, block: AbstractContextManager[None]) -> Iterator[None]:
        """``block``, at whose end what was sent in it is accepted, and then told of. Of one that fails nothing is."""
        if getattr(self._local, "held", None) is not None:
            with block:
                yield
            return
        held: list[Message] = []
        self._local.held = held
        try:
            with block:
                yield
        except BaseException:
            with self._lock:
                self._release(held)
            raise
        finally:
            self._local.held = None
        self._note(held)

    def close(self) -> None:
        """Tell what waits, within ``FLUSH_FOR`` seconds, and end the thread."""
        with self._lock:
            station, self._station = self._station, None
            drained = self._drained = threading.Event()
            is_waiting = bool(self._waiting)
        if station is not None:
            deadline = time.monotonic() + FLUSH_FOR
            if is_waiting:
                drained.wait(FLUSH_FOR - LAST_WORDS)
            station.stop(max(LAST_WORDS, deadline - time.monotonic()))
        with self._lock:
            self.dropped += len(self._take())
        if self.dropped:
            logger.info("monitoring: %d messages that were sent were not told of", self.dropped)

    def _admits(self, message: Message) -> bool:
        """Count it, as one that is told of or as one that is not."""
        size = len(message.body)
        if self._bucket.left < 1.0 or self._count >= MAX_WAITING or self._bytes + size > MAX_WAITING_BYTES:
            self.dropped += 1
            return False
        self._bucket.left -= 1.0
        self._count += 1
        self._bytes += size
        return True

    def _note(self, messages: Sequence[Message]) -> None:
        if not messages:
            return
        at = time.time()
        try:
            with self._lock:
                self._waiting.extend((message, at) for message in messages)
                if self._station is None:
                    self._station = self._open_station(self)
                    self._station.start()
                station = self._station
            station.ring()
        except (OSError, RuntimeError) as error:  # no files or threads to be had: the send was fine all the same
            logger.debug("monitoring: what was sent waits to be told of: %s", error)

    def _take(self) -> list[tuple[Message, float]]:
        taken = list(self._waiting)
        self._waiting.clear()
        self._release([message for message, _ in taken])
        return taken

    def _release(self, messages: Sequence[Message]) -> None:
        self._count -= len(messages)
        self._bytes -= sum(len(message.body) for message in messages)

    # --- in the station's thread: see ``Post`` -------------------------------------------------------------------

    def events(self) -> list[events.Event]:
        """What was sent since the last call, in words."""
        with self._lock:
            taken, drained = self._take(), self._drained
        told = [events.sent(message, at) for message, at in taken]
        if drained is not None:
            drained.set()
        return told

    def lost(self, events: int) -> None:
        """Count what the connection did not take."""
        self.dropped += events

    def presence(self) -> None:
        """It is no worker."""

    def answer(self, method: str, arguments: Mapping[str, Any]) -> Any:
        """Nobody asks who is no worker."""

    def greeting(self) -> Mapping[str, Any]:
        return {}

    def learn(self, replies: Sequence[Mapping[str, Any]]) -> None:
        """Nobody is asked."""


def announcer(url: str, rate: int) -> Announcer | None:
    """One for this broker, of at most ``rate`` messages a second; None where Celery's tools cannot listen.

    Imports what it needs only when it is called: few applications want it.
    """
    place = import_module("taskbus.broker.monitoring.place")
    if not place.is_celerys(url):
        return None
    where, station = place.place_of(url), import_module("taskbus.broker.monitoring.station")
    where.prepare()
    return Announcer(lambda post: station.Station(where, node_name(""), post), rate)


def flush() -> None:
    """Close all announcers of this process, which is about to end."""
    for each in list(_announcers):
        each.close()


def _after_fork() -> None:
    for each in list(_announcers):
        each.forget()


_announcers: weakref.WeakSet[Announcer] = weakref.WeakSet()
os.register_at_fork(after_in_child=_after_fork)
atexit.register(flush)
