"""One connection to RabbitMQ: a socket read in large pieces and written in one, and what the server says on channel 0.

Nothing here waits longer than the instant it is given (by the monotonic clock). A wire that failed stays failed.
"""

import os
import select
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any

from taskbus.broker.transports.amqp import frames
from taskbus.broker.transports.amqp.address import Address
from taskbus.broker.transports.amqp.frames import Method
from taskbus.database import tls
from taskbus.database.dial import reach

READ_SIZE = 1 << 18
LONGEST_POLL = 60.0
_HELLO = b"AMQP\x00\x00\x09\x01"
_HEARTBEAT = frames.frame(frames.HEARTBEAT, 0, b"")
_PROPERTIES = {
    "product": "TaskBus",
    "capabilities": {
        "consumer_cancel_notify": True,
        "connection.blocked": True,
        "publisher_confirms": True,
        "basic.nack": True,
        "authentication_failure_close": True,
    },
}


class WireLost(Exception):
    """The connection is no more, or was never made; the text says why."""


class TooLate(Exception):
    """The broker did not answer in time; the connection may still be good."""


class Wire:
    """An open connection. ``listeners``: its channels by number; ``blocked_because``: it takes no more messages now.

    ``beside``: keeps another one alive while this one is waited for; returns the seconds until that is due again.
    """

    def __init__(
        self,
        address: Address,
        host: tuple[str, int],
        heartbeat: int,
        until: float,
        beside: Callable[[], float],
    ) -> None:
        self.address = address
        self.beside = beside
        self.listeners: dict[int, frames.Listener] = {0: self}
        self.failure: str | None = None
        self.blocked_because: str | None = None
        self.server: dict[str, Any] = {}
        self.pid = os.getpid()
        self.heard_at = self.said_at = time.monotonic()
        self.frame_max, self.channel_max, self.heartbeat = 131072, 2047, 0
        self._scanner = frames.Scanner(self.listeners)
        self._answers: list[tuple[int, list[Any]]] = []
        self._out: list[bytes] = []
        self._free: list[int] = []
        self._next_channel = 1
        self._socket = _connected(address, host, until)
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        try:
            self._shake_hands(heartbeat, until)
        except TooLate:
            self.fail("it did not finish the handshake in time")
            raise WireLost("it did not finish the handshake in time") from None
        except WireLost:
            self.fail("the handshake failed")
            raise

    def fileno(self) -> int:
        return self._socket.fileno()

    # --- the handshake ---

    def _shake_hands(self, heartbeat: int, until: float) -> None:
        self.post(_HELLO)
        self.flush(until)
        *_, self.server, mechanisms, _ = self._answer(frames.CONNECTION_START, until)
        address = self.address
        if address.certfile is not None and "EXTERNAL" in mechanisms.split():
            mechanism, secret = "EXTERNAL", ""
        else:
            mechanism, secret = "PLAIN", f"\0{address.user}\0{address.password}"
        self._say(frames.CONNECTION_START_OK, _PROPERTIES, mechanism, secret, "en_US")
        self.flush(until)
        channels, frame_max, offered = self._answer(frames.CONNECTION_TUNE, until)
        self.channel_max = min(channels or 65535, 65535)
        self.frame_max = frame_max or self.frame_max
        self.heartbeat = min(offered, heartbeat) if offered and heartbeat else heartbeat
        self._say(frames.CONNECTION_TUNE_OK, self.channel_max, self.frame_max, self.heartbeat)
        self._say(frames.CONNECTION_OPEN, address.vhost, "", False)
        self.flush(until)
        self._answer(frames.CONNECTION_OPEN_OK, until)

    def _say(self, method: Method, *arguments: Any) -> None:
        self.post(frames.method(0, method, *arguments))

    def _answer(self, method: Method, until: float) -> list[Any]:
        while not self._answers:
            self.wait(until)
        id, arguments = self._answers.pop(0)
        if id != method.id:
            raise WireLost(f"it answered out of turn, with method {id:#x}")
        return arguments

    # --- channel 0 ---

    def on_method(self, id: int, packed: bytes) -> None:
        arguments = frames.arguments(id, packed) if id in frames.METHODS else []
        if id == frames.CONNECTION_CLOSE.id:
            self.post(frames.method(0, frames.CONNECTION_CLOSE_OK))
            self.fail(f"the broker closed the connection: {arguments[1]}")
        elif id == frames.CONNECTION_BLOCKED.id:
            self.blocked_because = arguments[0] or "low on resources"
        elif id == frames.CONNECTION_UNBLOCKED.id:
            self.blocked_because = None
        else:
            self._answers.append((id, arguments))

    def on_content(self, id: int, arguments: bytes, properties: bytes, body: bytes) -> None:
        raise frames.Malformed("a message on channel 0")

    def on_delivery(
        self, consumer: bytes, tag: int, is_redelivered: bool, where: bytes, properties: bytes, body: bytes
    ) -> None:
        raise frames.Malformed("a delivery on channel 0")

    # --- channels ---

    def enroll(self, listener: frames.Listener) -> int:
        """A number for a new channel."""
        if self._free:
            number = self._free.pop()
        elif self._next_channel > self.channel_max:
            raise WireLost(f"no channel is left of {self.channel_max}")
        else:
            number, self._next_channel = self._next_channel, self._next_channel + 1
        self.listeners[number] = listener
        return number

    def dismiss(self, number: int) -> None:
        """The channel is closed on both sides: its number may be used again."""
        if self.listeners.pop(number, None) is not None:
            self._free.append(number)

    # --- bytes ---

    def post(self, data: bytes) -> None:
        """Say something with the next ``flush``."""
        self._out.append(data)

    def flush(self, until: float) -> None:
        """Hand all that was posted to the system. Raises ``WireLost``: some of it may have been sent."""
        if not self._out:
            return
        if self.failure is not None:
            raise WireLost(self.failure)
        data, self._out = memoryview(b"".join(self._out)), []
        self.said_at = time.monotonic()
        while data:
            try:
                data = data[self._socket.send(data) :]
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                self._wait_for_room(until)
            except OSError as error:
                self.fail(f"the connection broke: {error.strerror or error}")
                raise WireLost(self.failure) from error

    def _wait_for_room(self, until: float) -> None:
        left = until - time.monotonic()
        self._poll.modify(self._socket, select.POLLOUT)
        try:
            if left <= 0 or not self._poll.poll(left * 1000):
                self.fail("it did not take what was sent in time")
                raise WireLost(self.failure)
        finally:
            if self.failure is None:
                self._poll.modify(self._socket, select.POLLIN)

    def read(self) -> bool:
        """Take in what has come, without waiting; whether there was anything. Never raises: see ``failure``."""
        something = False
        while self.failure is None:
            try:
                data = self._socket.recv(READ_SIZE)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                break
            except OSError as error:
                self.fail(f"the connection broke: {error.strerror or error}")
                break
            if not data:
                self.fail("the broker hung up")
                break
            something = True
            try:
                self._scanner.feed(data)
            except (frames.Malformed, ValueError, LookupError) as error:
                self.fail(f"what it sent is no AMQP: {error}")
            if len(data) < READ_SIZE and not isinstance(self._socket, ssl.SSLSocket):
                break
        if something:
            self.heard_at = time.monotonic()
        return something

    def wait(self, until: float) -> None:
        """Take in what comes next. Raises ``TooLate`` if nothing does, ``WireLost`` if nothing will.

        Tells the broker meanwhile that we live: it may be long about an answer, and must not hang up for that.
        """
        while not self.read() and self.failure is None:
            left = until - time.monotonic()
            if left <= 0:
                raise TooLate
            self._poll.poll(min(left, self.keep_alive(), self.beside()) * 1000)
        self.keep_alive()
        self.beside()
        if self.failure is not None:
            raise WireLost(self.failure)

    def beat(self) -> None:
        """Tell the broker that we live; find out that it does not, if it missed two of its heartbeats."""
        self.read()
        if not self.heartbeat or self.failure is not None:
            return
        now = time.monotonic()
        if now - self.heard_at > self.heartbeat + 1:
            self.fail(f"the broker was silent for {now - self.heard_at:.0f} s")
        else:
            self.keep_alive()

    def keep_alive(self) -> float:
        """Tell it without looking, if nothing was said for a while; seconds until that is due again."""
        every, now = self.heartbeat / 3, time.monotonic()
        if not every or self.failure is not None:
            return LONGEST_POLL
        if now - self.said_at >= every:
            self.post(_HEARTBEAT)
            try:
                self.flush(now + 1.0)
            except WireLost:
                return 0.0  # see ``failure``
        return self.said_at + every - now

    def fail(self, why: str) -> None:
        """It is of no use any more."""
        if self.failure is None:
            self.failure = why
            self._socket.close()

    def close(self, until: float) -> None:
        """Say goodbye, and wait until the broker has heard all that was said."""
        if self.failure is None:
            try:
                self._say(frames.CONNECTION_CLOSE, 200, "", 0, 0)
                self.flush(until)
                self._answer(frames.CONNECTION_CLOSE_OK, until)
            except (WireLost, TooLate):
                pass
        self.fail("it was closed")

    def abandon(self) -> None:
        """Close this process's copy of a socket that is its parent's, without a word to the broker."""
        self.fail("it is the parent's")


def no_other() -> float:
    """What a connection has ``beside`` it that is the only one."""
    return LONGEST_POLL


def opened(address: Address, heartbeat: int, until: float, beside: Callable[[], float] = no_other) -> Wire:
    """A wire to the first host that answers; one that is silent leaves time for those after it."""
    problem: WireLost | None = None
    for number, host in enumerate(address.hosts):
        now = time.monotonic()
        share = now + max(0.0, until - now) / (len(address.hosts) - number)
        try:
            return Wire(address, host, heartbeat, share, beside)
        except WireLost as error:
            problem = error
    raise problem or WireLost("there is no host to connect to")


def _connected(address: Address, host: tuple[str, int], until: float) -> socket.socket:
    """A socket to a host, with TLS where asked for."""
    name, port = host
    try:
        context = address.context()
    except tls.Unreadable as error:
        raise WireLost(str(error.strerror)) from error
    try:
        connection = reach(name, port, until)
    except OSError as error:
        raise WireLost(f"{name}:{port}: {error.strerror or error}") from error
    try:
        if context is not None:
            connection.settimeout(max(0.001, until - time.monotonic()))
            connection = context.wrap_socket(connection, server_hostname=name)
        connection.setblocking(False)
    except OSError as error:
        connection.close()
        raise WireLost(f"{name}:{port}: {error.strerror or error}") from error
    return connection
