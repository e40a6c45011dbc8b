"""Hearing of results that any process records: one connection, while somebody waits, that Redis pushes to.

Nothing polls: the thread sleeps until the server rings, the connection breaks, or nobody listens any more. When it has
connected anew it rings once itself, as something may have been recorded meanwhile.
"""

import os
import select
import threading
from collections.abc import Callable

from taskbus.database.redis import Link, RedisDatabase, RedisError

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
"""Seconds between attempts to connect anew."""


class Bell:
    """Who listens on ``channel``. ``subscribe`` may be called from any thread, also in the child of a fork."""

    def __init__(self, database: RedisDatabase, channel: bytes) -> None:
        self._database = database
        self._channel = channel
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._listeners: dict[object, Callable[[], None]] = {}
        self._thread: _Listening | None = None

    def subscribe(self, notify: Callable[[], None]) -> Callable[[], None]:
        """Call ``notify``, from a thread of its own, at every ring from now on; returns a function that ends it.

        Returns when the server listens, after the timeout at the latest. While it cannot be reached that is tried again
        and again; ``notify`` is called when it was.
        """
        if self._pid != os.getpid():
            self._begin()  # the thread stayed behind in the parent, with those it served
        token = object()
        with self._lock:
            self._listeners[token] = notify
            if self._thread is None:
                self._thread = _Listening(self._database.connect(), self._channel, self._ring)
                self._thread.start()
            thread = self._thread
        thread.is_heard.wait(self._database.timeout)
        return lambda: self._leave(token)

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
    """The thread that holds the connection. ``is_heard`` is set once it listens, or could not."""

    def __init__(self, link: Link, channel: bytes, ring: Callable[[], None]) -> None:
        super().__init__(name="taskbus-bell", daemon=True)
        self._link = link
        self._channel = channel
        self._ring = ring
        self._has_rung = False
        self._end, self._ending = os.pipe()
        self.is_heard = threading.Event()

    def end(self) -> None:
        """Make it leave, soon. Call it once: the byte itself is the sign, so that nothing is closed before."""
        os.write(self._ending, b".")

    def run(self) -> None:
        pause = FIRST_PAUSE
        try:
            while not self._must_end(pause):
                try:
                    if self._listen():
                        return
                    pause = FIRST_PAUSE
                except RedisError:
                    self._has_rung = True  # whatever is recorded until it can be reached again
                    self.is_heard.set()
                    pause = min(2 * pause, LONGEST_PAUSE)
        finally:
            self.is_heard.set()
            self._link.drop()
            os.close(self._end)
            os.close(self._ending)

    def _listen(self) -> bool:
        """Pass on what is rung until the connection breaks (False) or all is over (True)."""
        link = self._link
        if not link.has_ears:
            link.subscribe(self._channel, self._hear)
        fd = link.fileno()
        self.is_heard.set()
        while True:
            self._pass_on()
            if self._end in self._readable(fd):
                return True
            if not link.look():
                self._has_rung = True
                return False

    def _hear(self) -> None:
        self._has_rung = True

    def _pass_on(self) -> None:
        """Ring once for all that was heard."""
        if self._has_rung:
            self._has_rung = False
            self._ring()

    def _must_end(self, pause: float) -> bool:
        """Whether it must, waiting for that while there is no connection."""
        return self.is_heard.is_set() and self._end in self._readable(self._end, pause)

    def _readable(self, fd: int, seconds: float | None = None) -> list[int]:
        poll = select.poll()
        poll.register(self._end, select.POLLIN)
        poll.register(fd, select.POLLIN)
        return [found for found, _ in poll.poll(None if seconds is None else seconds * 1000)]
