"""What a ``Proxy`` is made of: the faults that strike once, and the two ways through a connection."""

import contextlib
import errno
import fcntl
import selectors
import socket
import struct
import termios
import threading
from collections import deque
from enum import Enum

PATIENCE = 60.0


class Way(Enum):
    TO_SERVER = "to the server"
    TO_CLIENT = "to the client"


BOTH = (Way.TO_SERVER, Way.TO_CLIENT)


class Fault:
    """A fault that strikes once. ``is_over`` when it has; ``wait`` until then."""

    def __init__(self) -> None:
        self._struck = threading.Event()

    @property
    def is_over(self) -> bool:
        return self._struck.is_set()

    def wait(self, timeout: float = PATIENCE) -> None:
        assert self._struck.wait(timeout), f"{self!r} has not struck within {timeout:g} s"

    def strike(self) -> None:
        self._struck.set()


class Cut(Fault):
    def __init__(self, way: Way, left: int, *, reset: bool) -> None:
        super().__init__()
        self.way, self.left, self.reset = way, left, reset

    def __repr__(self) -> str:
        return f"a cut after {self.left} more bytes {self.way.value}"


class LostReply(Fault):
    def __init__(self, pattern: bytes, nth: int, reply: bytes, *, reset: bool) -> None:
        super().__init__()
        self.pattern, self.left, self.reply, self.reset = pattern, nth, reply, reset

    def __repr__(self) -> str:
        return f"a lost reply to {self.pattern!r}"


class Finder:
    """Counts occurrences of ``pattern`` in a stream that comes in pieces."""

    def __init__(self, pattern: bytes) -> None:
        self._pattern, self._tail = pattern, b""

    def count(self, piece: bytes) -> int:
        seen = self._tail + piece
        self._tail = seen[-(len(self._pattern) - 1) :] if len(self._pattern) > 1 else b""
        return seen.count(self._pattern)


class Stream:
    """One way through one connection: what was read and is not yet passed on, each piece with when it may be."""

    def __init__(self, way: Way, source: socket.socket, sink: socket.socket) -> None:
        self.way, self.source, self.sink = way, source, sink
        self.held: deque[tuple[float, bytes]] = deque()
        self.size = 0
        self.ready_at = 0.0
        self.has_ended = self.is_choked = self.is_shut = False
        self.finders: dict[LostReply, Finder] = {}


class Pair:
    """One connection of a client, and the one to the server that belongs to it."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server
        self.streams = (Stream(Way.TO_SERVER, client, server), Stream(Way.TO_CLIENT, server, client))
        self.spoke_last: Way | None = None
        self.swallowing: tuple[LostReply, Finder | None] | None = None
        self.dying: bool | None = None
        """True: to be reset, False: to be closed, as soon as the kernel has delivered what was passed on."""
        self.dies_at = 0.0


def break_off(each: socket.socket) -> None:
    """Close it with an RST. Source: socket(7), SO_LINGER."""
    with contextlib.suppress(OSError):
        each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    each.close()


def undelivered(each: socket.socket) -> int:
    """Bytes the peer's kernel has not acknowledged. Source: tcp(7), SIOCOUTQ."""
    try:
        return int(struct.unpack("i", fcntl.ioctl(each, termios.TIOCOUTQ, b"\0" * 4))[0])
    except OSError:
        return 0


def is_connected(each: socket.socket) -> bool:
    """Whether a connect that does not wait comes to an end at once."""
    with selectors.DefaultSelector() as selector:
        selector.register(each, selectors.EVENT_WRITE)
        done = bool(selector.select(0.1))
    return done and each.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) in (0, errno.EISCONN)
