"""A TCP proxy that breaks what passes through it, at an exact byte and without waiting: the network of a test.

It runs in a thread of the test; clients may be in any process. When a method returns its fault is in force. One thread
does everything, so no two faults can interleave. It speaks no protocol: it knows bytes and connections.
"""

import contextlib
import queue
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import TypeVar

from tests.servers.proxy_parts import (
    BOTH,
    PATIENCE,
    Cut,
    Finder,
    LostReply,
    Pair,
    Stream,
    Way,
    break_off,
    is_connected,
    undelivered,
)

__all__ = ["Proxy", "Way"]
T = TypeVar("T")

HELD = 1 << 20
"""Bytes held back for a peer before no more are read, as a kernel's buffer would."""
PIECE = 1 << 16


class Proxy:
    """Listens on a free loopback port (``port``) and passes everything on to ``target``, a loopback port."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.accepted = 0
        """Connections ever accepted."""
        self._round_trips = 0
        self._listener: socket.socket | None = self._listen(0)
        self.port: int = self._listener.getsockname()[1]
        self._pairs: list[Pair] = []
        self._fillers: list[socket.socket] = []
        self._blackholed: frozenset[Way] = frozenset()
        self._delay: dict[Way, float] = {}
        self._rate: dict[Way, float] = {}
        self._cuts: list[Cut] = []
        self._lost: list[LostReply] = []
        self._selector = selectors.DefaultSelector()
        self._orders: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._woken, self._waker = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name=f"proxy to {target}", daemon=True)
        self._thread.start()

    # --- faults --------------------------------------------------------------------------------------------------

    def blackhole(self, *ways: Way) -> None:
        """Pass nothing on (either way, or the ways given), on any connection, new ones too; no connection ends."""
        self._order(lambda: setattr(self, "_blackholed", frozenset(ways or BOTH)))

    def delay(self, seconds: float, *ways: Way) -> None:
        """Pass on each byte ``seconds`` after it came."""
        self._order(lambda: self._delay.update(dict.fromkeys(ways or BOTH, seconds)))

    def throttle(self, bytes_per_second: float, *ways: Way) -> None:
        """Pass on no more than so much a second on each connection."""
        self._order(lambda: self._rate.update(dict.fromkeys(ways or BOTH, bytes_per_second)))

    def cut_after(self, count: int, way: Way, *, reset: bool = True) -> Cut:
        """Cut the connection that carries the ``count``-th byte from now, right after it; both its ends.

        0: the one that is to carry the next byte, before it. ``reset``: by RST; else by FIN.
        """
        cut = Cut(way, count, reset=reset)
        self._order(lambda: self._cuts.append(cut))
        return cut

    def lose_reply(self, pattern: bytes, nth: int = 1, *, reply: bytes = b"", reset: bool = True) -> LostReply:
        """Pass on the ``nth`` request from now that holds ``pattern``, swallow what is answered, then cut.

        ``reply``: what the answer holds, where the server may say something else first; "": its first byte is enough.
        """
        lost = LostReply(pattern, nth, reply, reset=reset)
        self._order(lambda: self._lost.append(lost))
        return lost

    def cut(self, *, reset: bool = True) -> int:
        """Cut every connection now; how many there were."""

        def cut() -> int:
            found = [pair for pair in self._pairs if pair.dying is None]
            for pair in found:
                self._end(pair, reset=reset)
            return len(found)

        return self._order(cut)

    def refuse(self) -> None:
        """Refuse new connections; those there are go on."""
        self._order(self._stop_listening)

    def ignore(self) -> None:
        """Leave new connections without an answer to their SYN, so that ``connect`` hangs; those there are go on."""
        self._order(self._fill_backlog)

    def admit(self) -> None:
        """Take new connections again, after ``refuse`` or ``ignore``."""
        self._order(self._listen_again)

    def retarget(self, port: int) -> None:
        """Lead new connections to another port."""
        self._order(lambda: setattr(self, "target", port))

    def heal(self) -> None:
        """End every fault, and pass on what was held back; faults that have not struck yet never will."""

        def heal() -> None:
            self._blackholed = frozenset()
            for faults in (self._delay, self._rate, self._cuts, self._lost):
                faults.clear()
            for stream in (stream for pair in self._pairs for stream in pair.streams):
                stream.ready_at = 0.0
                stream.held = deque((0.0, piece) for _, piece in stream.held)
            self._listen_again()

        self._order(heal)

    @property
    def connections(self) -> int:
        """How many connections pass through it now."""
        return self._order(lambda: len(self._pairs))

    @property
    def round_trips(self) -> int:
        """How often a server has said something after its client had, or first of all: what a slow line costs."""
        return self._order(lambda: self._round_trips)

    def close(self) -> None:
        """Cut everything, and listen no more."""
        if self._is_closed:
            return
        self._order(lambda: setattr(self, "_is_closed", True))
        self._thread.join(PATIENCE)

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # --- its thread ----------------------------------------------------------------------------------------------

    def _order(self, act: Callable[[], T]) -> T:
        """Have the thread do something between two bytes; returns when it is done."""
        done: Future[T] = Future()

        def carry_out() -> None:
            try:
                done.set_result(act())
            except BaseException as error:
                done.set_exception(error)

        self._orders.put(carry_out)
        self._waker.send(b".")
        return done.result(PATIENCE)

    def _run(self) -> None:
        while not self._is_closed:
            for key, _ in self._selector.select(self._sleep()):
                if key.fileobj is self._woken:
                    self._woken.recv(1)
                    self._orders.get()()
                elif key.fileobj is self._listener:
                    self._accept()
            for pair in list(self._pairs):
                self._serve(pair)
        for pair in list(self._pairs):
            self._drop(pair, reset=True)
        self._stop_listening()
        for each in (self._woken, self._waker, *self._fillers):
            each.close()
        self._selector.close()

    def _sleep(self) -> float | None:
        """Seconds until something held back may be passed on; None: only an event can change anything."""
        now, instants = time.monotonic(), list[float]()
        for pair in self._pairs:
            if pair.dying is not None:
                instants.append(now + 0.001)
            for stream in pair.streams:
                if stream.held and not stream.is_choked and stream.way not in self._blackholed:
                    instants.append(max(stream.held[0][0], stream.ready_at))
        return max(0.0, min(instants) - now) if instants else None

    # --- connections ---

    @staticmethod
    def _listen(port: int) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(128)
        return listener

    def _stop_listening(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(KeyError):
                self._selector.unregister(listener)
            listener.close()

    def _listen_again(self) -> None:
        if self._listener is None or self._fillers:
            self._stop_listening()
            while self._fillers:
                self._fillers.pop().close()
            self._listener = self._listen(self.port)
            self._selector.register(self._listener, selectors.EVENT_READ)

    def _fill_backlog(self) -> None:
        """Linux drops a SYN for which the queue of a listener has no room. Source: listen(2)."""
        if self._fillers:
            return
        self._listen_again()
        assert self._listener is not None
        self._selector.unregister(self._listener)
        self._listener.listen(0)
        while not self._fillers or is_connected(self._fillers[-1]):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", self.port))
            self._fillers.append(filler)

    def _accept(self) -> None:
        assert self._listener is not None
        client, _ = self._listener.accept()
        self.accepted += 1
        try:
            server = socket.create_connection(("127.0.0.1", self.target), timeout=PATIENCE)
        except OSError:
            break_off(client)
            return
        for each in (client, server):
            each.setblocking(False)
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._pairs.append(Pair(client, server))

    def _end(self, pair: Pair, *, reset: bool) -> None:
        pair.dying, pair.dies_at = reset, time.monotonic() + 1.0
        for each in (pair.client, pair.server):
            self._listen_for(each, 0)

    def _drop(self, pair: Pair, *, reset: bool) -> None:
        self._pairs.remove(pair)
        for each in (pair.client, pair.server):
            self._listen_for(each, 0)
            break_off(each) if reset else each.close()

    def _listen_for(self, each: socket.socket, events: int) -> None:
        known = self._selector.get_map().get(each)
        if known is None and events:
            self._selector.register(each, events)
        elif known is not None and not events:
            self._selector.unregister(each)
        elif known is not None and known.events != events:
            self._selector.modify(each, events)

    # --- bytes ---

    def _serve(self, pair: Pair) -> None:
        """Take in and pass on what can be, then say what to wait for."""
        for stream in pair.streams:
            if pair.dying is None:
                self._read(pair, stream)
                self._pass_on(pair, stream)
        if pair.dying is not None:
            # A reset throws away what the kernel has not delivered, and the count of bytes would be wrong.
            if time.monotonic() > pair.dies_at or not (undelivered(pair.client) or undelivered(pair.server)):
                self._drop(pair, reset=pair.dying)
            return
        if all(stream.is_shut for stream in pair.streams):
            self._drop(pair, reset=False)
            return
        for stream, other in (pair.streams, pair.streams[::-1]):
            wants = 0 if stream.has_ended or stream.size >= HELD else selectors.EVENT_READ
            self._listen_for(stream.source, wants | (selectors.EVENT_WRITE if other.is_choked else 0))

    def _read(self, pair: Pair, stream: Stream) -> None:
        while not stream.has_ended and stream.size < HELD and pair.dying is None:
            try:
                piece = stream.source.recv(PIECE)
            except BlockingIOError:
                return
            except OSError:
                self._end(pair, reset=True)  # one side was reset: so is the other
                return
            if piece and stream.way is not pair.spoke_last:
                self._round_trips += stream.way is Way.TO_CLIENT
                pair.spoke_last = stream.way
            if not piece:
                stream.has_ended = True
            elif stream.way is Way.TO_CLIENT and pair.swallowing is not None:
                self._swallow(pair, *pair.swallowing, piece)
            else:
                stream.held.append((time.monotonic() + self._delay.get(stream.way, 0.0), piece))
                stream.size += len(piece)

    def _swallow(self, pair: Pair, lost: LostReply, finder: Finder | None, piece: bytes) -> None:
        if finder is None or finder.count(piece):
            self._end(pair, reset=lost.reset)
            lost.strike()

    def _pass_on(self, pair: Pair, stream: Stream) -> None:
        stream.is_choked = False
        while stream.held and stream.way not in self._blackholed and pair.dying is None:
            now = time.monotonic()
            if max(stream.held[0][0], stream.ready_at) > now:
                return
            cut = next((cut for cut in self._cuts if cut.way is stream.way), None)
            if cut is None or cut.left:
                sent = self._send(pair, stream, cut.left if cut else PIECE)
                if not sent:
                    return
                if cut:
                    cut.left -= len(sent)
                if rate := self._rate.get(stream.way):
                    stream.ready_at = now + len(sent) / rate
                if stream.way is Way.TO_SERVER:
                    self._look_for_requests(pair, stream, sent)
            if cut and not cut.left:
                self._cuts.remove(cut)
                self._end(pair, reset=cut.reset)
                cut.strike()
        if stream.has_ended and not stream.held and not stream.is_shut and stream.way not in self._blackholed:
            stream.is_shut = True
            with contextlib.suppress(OSError):
                stream.sink.shutdown(socket.SHUT_WR)

    def _send(self, pair: Pair, stream: Stream, limit: int) -> bytes:
        """What of the next piece the kernel took; nothing if it has no room, or the connection is gone."""
        due_at, piece = stream.held.popleft()
        if rate := self._rate.get(stream.way):
            limit = min(limit, max(1, int(rate / 50)))
        count = 0
        try:
            count = stream.sink.send(piece[:limit])
        except BlockingIOError:
            stream.is_choked = True
        except OSError:
            self._end(pair, reset=True)
        if count < len(piece):
            stream.held.appendleft((due_at, piece[count:]))
        stream.size -= count
        return piece[:count]

    def _look_for_requests(self, pair: Pair, stream: Stream, sent: bytes) -> None:
        for lost in list(self._lost):
            lost.left -= stream.finders.setdefault(lost, Finder(lost.pattern)).count(sent)
            if lost.left <= 0:
                self._lost.remove(lost)
                pair.swallowing = (lost, Finder(lost.reply) if lost.reply else None)
