"""One connection to one Redis server: opened by a deadline, greeted in RESP3, commands out and replies in, as bytes.

Push messages may come at any time on the same connection; they go to ``on_push``. redis-py is not used: importing it
takes a tenth of a second, and its timeouts are per read, where a call here has one deadline in all.
"""

import math
import os
import select
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any

from hiredis import HiredisError, PushNotification, Reader, ReplyError, pack_command

from taskbus.database import tls
from taskbus.database.dial import reach
from taskbus.database.redis_errors import NotReached, Unusable, refused
from taskbus.database.redis_url import Address, RedisPlace

BUFFER = 1 << 18
_MORE = object()
pack: Callable[[tuple[Any, ...]], bytes] = pack_command
"""A command as it is sent: text, bytes and numbers. hiredis's own stub knows only commands of one word."""
_KEEPALIVE = (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 20_000))
"""A peer that vanished without a word is found out in half a minute, even when nothing is sent."""


class Wire:
    """Used by one thread at a time. ``hello`` is what the server said of itself, ``heard_at`` when it last said
    anything (monotonic).

    Raises:
        OSError: from any method; the connection is of no use then. ``TimeoutError`` at the deadline.
    """

    def __init__(self, address: Address, place: RedisPlace, deadline: float, *, as_sentinel: bool = False) -> None:
        self.address = address
        self.pid = os.getpid()
        self.heard_at = time.monotonic()
        self.on_push: Callable[[Any], None] = lambda push: None
        self._reader = Reader(notEnoughData=_MORE)
        self._reader.setmaxbuf(0)
        self._buffer = bytearray(BUFFER)
        self._socket = _connect(address, place, deadline)
        try:
            self._input = select.poll()
            self._input.register(self._socket.fileno(), select.POLLIN)
            self._is_tls = isinstance(self._socket, ssl.SSLSocket)
            self.hello: dict[bytes, Any] = self._greet(place, deadline, as_sentinel)
        except BaseException:
            self._socket.close()
            raise

    def _greet(self, place: RedisPlace, deadline: float, as_sentinel: bool) -> dict[bytes, Any]:
        user, password, db = place.user, place.password, place.db
        if as_sentinel:
            user, password, db = place.options.get("sentinel_user", ""), place.options.get("sentinel_password", ""), 0
        login = ("AUTH", user or "default", password) if password else ()
        packed = pack(("HELLO", 3, *login, "SETNAME", "taskbus"))
        self.send(packed + pack(("SELECT", db)) if db else packed, deadline)
        replies = [self.reply(deadline) for _ in range(2 if db else 1)]
        for reply in replies:
            if type(reply) is ReplyError:
                if "unknown command" in str(reply) or "NOPROTO" in str(reply):
                    raise NotReached(f"{place.shown} speaks no RESP3; TaskBus needs Redis 6.2 or later, or Valkey")
                raise refused(str(reply), place.shown)
        return {key: value for key, value in replies[0].items()}

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, packed: bytes, deadline: float) -> None:
        """Hand all of it to the system."""
        try:
            sent = self._socket.send(packed)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            sent = 0
        view = memoryview(packed)
        while sent < len(view):
            try:
                sent += self._socket.send(view[sent:])
            except ssl.SSLWantReadError:
                self._wait(select.POLLIN, deadline)
            except (BlockingIOError, ssl.SSLWantWriteError):
                self._wait(select.POLLOUT, deadline)

    def reply(self, deadline: float) -> Any:
        """The next reply; a refusal is returned as hiredis's ``ReplyError``."""
        try:
            while True:
                reply = self._reader.gets()
                if reply is _MORE:
                    if not (self._is_tls and self._socket.pending()):  # type: ignore[attr-defined]
                        self._wait(select.POLLIN, deadline)
                    self._take_in()
                elif type(reply) is PushNotification:
                    self.on_push(reply)
                else:
                    return reply
        except HiredisError as error:
            raise ConnectionError(f"it sent what is not Redis's protocol ({error})") from error

    def hear(self) -> None:
        """Hand on the push messages that came along with the last reply: the descriptor does not tell of those."""
        if not self._reader.has_data():
            return
        try:
            while (message := self._reader.gets()) is not _MORE:
                if type(message) is not PushNotification:
                    raise ConnectionError("it replied to what nobody asked")
                self.on_push(message)
        except HiredisError as error:
            raise ConnectionError(f"it sent what is not Redis's protocol ({error})") from error

    def look(self) -> bool:
        """Take in the push messages that have come; whether the connection is alive, as far as can be seen."""
        try:
            while self._input.poll(0) or (self._is_tls and self._socket.pending()):  # type: ignore[attr-defined]
                self._take_in()
                self.hear()
        except OSError:
            return False
        return True

    def close(self) -> None:
        self._socket.close()

    def __del__(self) -> None:
        found = getattr(self, "_socket", None)
        if found is not None:
            found.close()

    def _take_in(self) -> None:
        try:
            count = self._socket.recv_into(self._buffer)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        if not count:
            raise ConnectionResetError("it closed the connection")
        self.heard_at = time.monotonic()
        self._reader.feed(self._buffer, 0, count)  # type: ignore[arg-type]

    def _wait(self, events: int, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("no answer in time")
        if events == select.POLLIN:
            found = self._input.poll(math.ceil(left * 1000))
        else:
            poll = select.poll()
            poll.register(self._socket.fileno(), events)
            found = poll.poll(math.ceil(left * 1000))
        if not found:
            raise TimeoutError("no answer in time")


def _connect(address: Address, place: RedisPlace, deadline: float) -> socket.socket:
    connected = reach(*address, deadline)
    try:
        for name, value in _KEEPALIVE:
            if hasattr(socket, name):
                connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        if place.is_tls:
            connected.settimeout(max(0.001, deadline - time.monotonic()))
            connected = _secure(connected, address, place)
        connected.settimeout(0)
    except BaseException:
        connected.close()
        raise
    return connected


def _secure(connected: socket.socket, address: Address, place: RedisPlace) -> ssl.SSLSocket:
    """TLS with the server's certificate and name verified: there is no option not to."""
    options = place.options
    try:
        context = tls.context(options.get("ca_file"), options.get("cert_file"), options.get("key_file"))
    except tls.Unreadable as error:
        raise Unusable(f"{place.shown}: {error.strerror}; {tls.remedy(error)}") from error
    return context.wrap_socket(connected, server_hostname=address.host)
