"""How a sleeping worker learns of messages: a push message on the connection it has anyway, behind one descriptor."""

import contextlib
import os
import selectors

from taskbus.database.redis import Link, RedisError


class Bell:
    """A ``Watch``: readable when it was rung, or may have been while the connection was down. One thread may use it.

    Its descriptor stands for two others: the connection, which changes when it is opened anew, and a pipe that is
    written to when a ring was taken in together with the reply to something else.

    Raises:
        RedisError: the server cannot be reached, or does not let this user subscribe.
    """

    def __init__(self, link: Link, channel: bytes) -> None:
        self._link = link
        self._channel = channel
        self._is_rung = False
        self._both = selectors.DefaultSelector()
        self._reader, self._writer = os.pipe()
        for end in (self._reader, self._writer):
            os.set_blocking(end, False)
        self._both.register(self._reader, selectors.EVENT_READ)
        link.followers.append(self)
        try:
            link.subscribe(channel, self.ring)
            if link.fd not in self._both.get_map():
                self.opened(link.fd)
        except BaseException:
            self._release()
            raise

    def fileno(self) -> int:
        return int(self._both.fileno())

    def ring(self) -> None:
        if not self._is_rung:
            self._is_rung = True
            os.write(self._writer, b"!")

    def drain(self) -> None:
        """Make the descriptor unreadable until the next ring. A connection found dead is left to the next command."""
        self._link.look()
        if self._is_rung:
            self._is_rung = False
            os.read(self._reader, 16)

    def close(self) -> None:
        with contextlib.suppress(RedisError):
            self._link.unsubscribe(self._channel)
        self._release()

    def opened(self, fd: int) -> None:
        self._both.register(fd, selectors.EVENT_READ)

    def closing(self, fd: int) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._both.unregister(fd)

    def _release(self) -> None:
        if self in self._link.followers:
            self._link.followers.remove(self)
        self._both.close()
        for end in (self._reader, self._writer):
            os.close(end)
