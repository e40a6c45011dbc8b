"""Hearing of Celery's documents on Redis: its workers PUBLISH each one on a channel of its own.

One connection, while somebody waits; it listens only for what was asked for and had not ended, so that a busy fleet
costs a waiter nothing. Whoever asks is told once more when listening has begun: nothing is missed in between.
"""

import os
import select
import threading
from collections.abc import Callable, Iterable

from taskbus.database.redis import Link, RedisDatabase, RedisError

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
"""Seconds between attempts to connect anew."""


class Ears:
    """Who waits for documents. Any thread may use it, also in the child of a fork. ``channel``: of a task id."""

    def __init__(self, database: RedisDatabase, channel: Callable[[str], str]) -> None:
        self._database = database
        self._channel = channel
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._listeners: dict[object, Callable[[], None]] = {}
        self._thread: _Listening | None = None

    def subscribe(self, notify: Callable[[], None]) -> Callable[[], None]:
        """See ``CeleryResults.subscribe``."""
        if self._pid != os.getpid():
            self._begin()
        token = object()
        with self._lock:
            self._listeners[token] = notify
            if self._thread is None:
                self._thread = _Listening(self._database.connect(), self._ring)
                self._thread.start()
        return lambda: self._leave(token)

    def want(self, task_ids: Iterable[str], ended: Iterable[str]) -> None:
        """Listen for these, and no longer for those. Does nothing while nobody waits."""
        if self._pid != os.getpid():
            return
        with self._lock:
            if self._thread is not None:
                self._thread.want(set(map(self._channel, task_ids)), set(map(self._channel, ended)))

    def close(self) -> None:
        """End the connection, and all that listen."""
        if self._pid != os.getpid():
            return
        with self._lock:
            self._listeners.clear()
            self._end()

    def _leave(self, token: object) -> None:
        with self._lock:
            if self._listeners.pop(token, None) is not None and not self._listeners:
                self._end()

    def _end(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.end()

    def _ring(self) -> None:
        with self._lock:
            listeners = list(self._listeners.values())
        for notify in listeners:
            notify()


class _Listening(threading.Thread):
    """The thread that holds the connection."""

    def __init__(self, link: Link, ring: Callable[[], None]) -> None:
        super().__init__(name="taskbus-celery-results", daemon=True)
        self._link = link
        self._ring = ring
        self._lock = threading.Lock()
        self._wanted: set[str] = set()
        self._heard: set[str] = set()
        self._has_rung = self._must_end = False
        self._woken, self._waking = os.pipe()

    def want(self, channels: set[str], ended: set[str]) -> None:
        with self._lock:
            wanted = (self._wanted | channels) - ended
            is_new = not wanted <= self._wanted
            self._wanted = wanted
        if is_new:
            self._wake()

    def end(self) -> None:
        """Make it leave, soon. Call it once."""
        self._must_end = True
        self._wake()

    def _wake(self) -> None:
        os.write(self._waking, b".")

    def run(self) -> None:
        pause = FIRST_PAUSE
        try:
            while not self._must_end:
                try:
                    self._listen()
                    pause = FIRST_PAUSE
                except RedisError:
                    self._ring()  # whatever is written until it can be reached again
                    self._wait(pause)
                    pause = min(2 * pause, LONGEST_PAUSE)
        finally:
            self._link.drop()
            os.close(self._woken)
            os.close(self._waking)

    def _listen(self) -> None:
        """Pass on what is heard, until it must end or the connection breaks."""
        while not self._must_end:
            self._tune_in()
            if self._has_rung:
                self._has_rung = False
                self._ring()
            self._wait(None, self._link.fileno())
            self._link.look()

    def _tune_in(self) -> None:
        with self._lock:
            wanted = set(self._wanted)
        for channel in self._heard - wanted:
            self._link.unsubscribe(channel.encode())
        self._heard &= wanted
        for channel in wanted - self._heard:
            self._link.subscribe(channel.encode(), self._hear)
            self._heard.add(channel)
            self._has_rung = True

    def _hear(self) -> None:
        self._has_rung = True

    def _wait(self, seconds: float | None, *fds: int) -> None:
        poll = select.poll()
        for fd in (self._woken, *fds):
            poll.register(fd, select.POLLIN)
        if any(fd == self._woken for fd, _ in poll.poll(None if seconds is None else seconds * 1000)):
            os.read(self._woken, 4096)
