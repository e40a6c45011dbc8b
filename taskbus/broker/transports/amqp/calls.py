"""A channel for questions and answers: pipelined, in order, each with a deadline."""

from collections import deque
from typing import Any, NamedTuple

from taskbus.broker.transports.amqp import frames
from taskbus.broker.transports.amqp.frames import Method
from taskbus.broker.transports.amqp.wire import TooLate, Wire

NOT_FOUND, PRECONDITION_FAILED, ACCESS_REFUSED, LOCKED = 404, 406, 403, 405


class Refused(Exception):
    """The broker closed the channel over what was asked."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class Got(NamedTuple):
    """What basic.get brought."""

    tag: int
    is_redelivered: bool
    where: bytes
    properties: bytes
    body: bytes


class Calls:
    """One channel. ``closed``: why the broker closed it; using it then raises that."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.number = wire.enroll(self)
        self.closed: Refused | None = None
        self.answers: deque[tuple[int, Any]] = deque()
        self.post(frames.CHANNEL_OPEN, "")

    @property
    def is_usable(self) -> bool:
        return self.closed is None and self.wire.failure is None

    # --- asking ---

    def post(self, method: Method, *arguments: Any) -> None:
        """Ask with the next flush."""
        self.wire.post(frames.method(self.number, method, *arguments))

    def ask(self, method: Method, *arguments: Any, until: float) -> list[Any]:
        """One round trip. Raises ``Refused``, ``WireLost``, ``TooLate``."""
        self.post(method, *arguments)
        return list(self.take(until)[1])

    def take(self, until: float) -> tuple[int, Any]:
        """The next answer: its method, and its arguments (``Got`` for a message)."""
        self.wire.flush(until)
        while not self.answers:
            if self.closed is not None:
                raise self.closed
            try:
                self.wire.wait(until)
            except TooLate:  # the answer may still come, and must not pass for that of another question
                self.wire.fail("the broker did not answer in time")
                raise
        return self.answers.popleft()

    def ping(self, until: float) -> None:
        """A round trip that changes nothing."""
        self.ask(frames.BASIC_QOS, 0, 0, False, until=until)

    def close(self, until: float) -> None:
        if self.is_usable:
            self.ask(frames.CHANNEL_CLOSE, 200, "", 0, 0, until=until)
            self.wire.dismiss(self.number)
            self.closed = Refused(200, "closed")

    # --- hearing ---

    def on_method(self, id: int, packed: bytes) -> None:
        if id == frames.CHANNEL_OPEN_OK.id:
            return
        elif id == frames.CHANNEL_CLOSE.id:
            code, text, *_ = frames.arguments(id, packed)
            self.wire.post(frames.method(self.number, frames.CHANNEL_CLOSE_OK))
            self.wire.dismiss(self.number)
            self.closed = Refused(code, text)
            self.on_closed()
        elif id in frames.METHODS:
            self.answers.append((id, frames.arguments(id, packed)))

    def on_closed(self) -> None:
        """The broker closed it."""

    def on_content(self, id: int, arguments: bytes, properties: bytes, body: bytes) -> None:
        if id == frames.BASIC_GET_OK.id:
            tag, is_redelivered, exchange, key, _ = frames.arguments(id, arguments)
            where = b"".join(bytes((len(part),)) + part for part in (exchange.encode(), key.encode()))
            self.answers.append((id, Got(tag, is_redelivered, where, properties, body)))

    def on_delivery(
        self, consumer: bytes, tag: int, is_redelivered: bool, where: bytes, properties: bytes, body: bytes
    ) -> None:
        """None is asked for on such a channel."""
