"""Waking by PostgreSQL's NOTIFY: on the connection a thread works with anyway, or in a thread for those who subscribe.

A notification may come in with the answer to a statement, or while the connection is idle. Behind one descriptor are
both: the connection's own socket, and a pipe written to by whoever reads the notification. A new connection writes to
it too: what came in between went unheard.
"""

import contextlib
import os
import select
import threading
from collections.abc import Callable, Collection
from typing import cast

from taskbus.database.connections import Held, Link
from taskbus.database.postgresql_link import PostgresLink
from taskbus.database.server import ServerDatabase

RETRY = 1.0
"""Seconds between two tries of a subscriber's thread to connect."""


class NotifyWatch:
    """See ``port.Watch``. It belongs to the thread that made it, and follows that thread's connection."""

    def __init__(self, held: Held, connected: Callable[[], PostgresLink], channel_of: Callable[[str], str]) -> None:
        self._held = held
        self._connected = connected
        self._channel_of = channel_of
        self._channels: set[str] = set()
        self._link: PostgresLink | None = None
        self._epoll = select.epoll()
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._epoll.register(self._reader, select.EPOLLIN)
        held.opened.append(self._opened)

    def fileno(self) -> int:
        return self._epoll.fileno()

    def listen(self, topics: Collection[str]) -> None:
        """Raises ``psycopg.Error`` where the server cannot be asked; does nothing once closed."""
        if self._reader < 0:
            return
        self._channels.update(map(self._channel_of, topics))
        self._follow(self._connected())

    def hurry(self) -> None:
        """Nothing to do: whoever publishes notifies."""

    def drain(self) -> None:
        """Make the descriptor unreadable. A connection found dead is closed; the next statement opens another."""
        link = self._link
        if link is not None and link is self._held.link and link.is_dead():
            self._held.drop(link)
        with contextlib.suppress(BlockingIOError):
            while len(os.read(self._reader, 4096)) == 4096:
                continue

    def close(self) -> None:
        if self._reader < 0:
            return
        self._held.opened.remove(self._opened)
        if self._link is not None:
            self._link.unfollow(self._epoll, self._heard)
        self._epoll.close()
        os.close(self._reader)
        os.close(self._writer)
        self._reader = self._writer = -1

    def _opened(self, link: Link) -> None:
        if self._channels:
            self._follow(cast(PostgresLink, link))
            self.wake()

    def _follow(self, link: PostgresLink) -> None:
        link.listen(self._channels)
        if link is not self._link:
            link.follow(self._epoll, self._heard)
            self._link = link

    def _heard(self, channel: str) -> None:
        if channel in self._channels:
            self.wake()

    def wake(self) -> None:
        """Make the descriptor readable."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._writer, b".")


def subscribe(database: ServerDatabase, channel: str, notify: Callable[[], None]) -> Callable[[], None]:
    """See ``port.Database.subscribe``: a thread with a connection of its own, for as long as the subscription lasts.

    When this returns the server has been told, or could not be reached; then ``notify`` is called once it is.
    """
    subscriber = _Subscriber(database, channel, notify)
    return subscriber.stop


class _Subscriber:
    def __init__(self, database: ServerDatabase, channel: str, notify: Callable[[], None]) -> None:
        self._database = database
        self._channel = channel
        self._notify = notify
        self._wake, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._is_stopped = False
        self._ready = threading.Event()
        self._is_awaited = True
        threading.Thread(target=self._run, name="taskbus-listen", daemon=True).start()
        self._ready.wait(database.timeout + RETRY)
        self._is_awaited = False

    def stop(self) -> None:
        if not self._is_stopped:
            self._is_stopped = True
            os.close(self._waker)

    def _run(self) -> None:
        watch = NotifyWatch(self._database.held, self._connected, lambda _: self._channel)
        try:
            while not self._is_stopped:
                if self._listens(watch):
                    self._sleep(watch)
                else:
                    self._wait_for_stop(RETRY)
        finally:
            self._ready.set()
            watch.close()
            self._database.held.close()
            os.close(self._wake)

    def _connected(self) -> PostgresLink:
        return cast(PostgresLink, self._database.link())

    def _listens(self, watch: NotifyWatch) -> bool:
        """Make sure of the connection; whoever waits is told to look when it is a new one."""
        was = self._database.held.link
        try:
            watch.listen([""])
        except self._database.errors:
            return False
        if self._database.held.link is not was and self._ready.is_set():
            self._notify()
        if self._is_awaited:
            watch.drain()  # woken by nothing but its own connecting
        self._ready.set()
        return True

    def _sleep(self, watch: NotifyWatch) -> None:
        poller = select.poll()
        poller.register(self._wake, select.POLLIN | select.POLLHUP)
        poller.register(watch.fileno(), select.POLLIN)
        if any(fd == self._wake for fd, _ in poller.poll()):
            return
        watch.drain()
        self._notify()

    def _wait_for_stop(self, seconds: float) -> None:
        poller = select.poll()
        poller.register(self._wake, select.POLLIN | select.POLLHUP)
        poller.poll(seconds * 1000)
