"""AMQP 0-9-1 on the wire: methods by name, whole frames out of bytes, messages into frames.

Reading is done in place: a delivery whose frames lie in the buffer is handed on with two slices of it. Tables are left
to py-amqp. Source: AMQP 0-9-1, 2.3 and 4.2; RabbitMQ's extensions to it (confirms, nack, blocked).
"""

import struct
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

# mypy: allow-untyped-calls
from amqp.serialization import dumps, loads

METHOD, HEADER, BODY, HEARTBEAT, END = 1, 2, 3, 8, 0xCE
FRAME_OVERHEAD = 8
LARGEST_FRAME = 1 << 24
"""Bytes no broker agrees on: what claims to be larger is no AMQP, and is not waited for."""
_frame_head = struct.Struct(">BHI")
_u32 = struct.Struct(">I")
_u64 = struct.Struct(">Q")


class Method(NamedTuple):
    """``id``: class in the upper 16 bits, method in the lower. ``layout``: of its arguments, as py-amqp spells them."""

    id: int
    layout: str = ""


def _method(class_id: int, method_id: int, layout: str = "") -> Method:
    return Method(class_id << 16 | method_id, layout)


CONNECTION_START = _method(10, 10, "ooFSS")
CONNECTION_START_OK = _method(10, 11, "FsSs")
CONNECTION_TUNE = _method(10, 30, "BlB")
CONNECTION_TUNE_OK = _method(10, 31, "BlB")
CONNECTION_OPEN = _method(10, 40, "ssb")
CONNECTION_OPEN_OK = _method(10, 41, "s")
CONNECTION_CLOSE = _method(10, 50, "BsBB")
CONNECTION_CLOSE_OK = _method(10, 51)
CONNECTION_BLOCKED = _method(10, 60, "s")
CONNECTION_UNBLOCKED = _method(10, 61)
CHANNEL_OPEN = _method(20, 10, "s")
CHANNEL_OPEN_OK = _method(20, 11, "S")
CHANNEL_CLOSE = _method(20, 40, "BsBB")
CHANNEL_CLOSE_OK = _method(20, 41)
EXCHANGE_DECLARE = _method(40, 10, "BssbbbbbF")
EXCHANGE_DECLARE_OK = _method(40, 11)
EXCHANGE_DELETE = _method(40, 20, "Bsbb")
EXCHANGE_DELETE_OK = _method(40, 21)
QUEUE_DECLARE = _method(50, 10, "BsbbbbbF")
QUEUE_DECLARE_OK = _method(50, 11, "sll")
QUEUE_BIND = _method(50, 20, "BsssbF")
QUEUE_BIND_OK = _method(50, 21)
QUEUE_PURGE = _method(50, 30, "Bsb")
QUEUE_PURGE_OK = _method(50, 31, "l")
QUEUE_DELETE = _method(50, 40, "Bsbbb")
QUEUE_DELETE_OK = _method(50, 41, "l")
QUEUE_UNBIND = _method(50, 50, "BsssF")
QUEUE_UNBIND_OK = _method(50, 51)
BASIC_QOS = _method(60, 10, "lBb")
BASIC_QOS_OK = _method(60, 11)
BASIC_CONSUME = _method(60, 20, "BssbbbbF")
BASIC_CONSUME_OK = _method(60, 21, "s")
BASIC_CANCEL = _method(60, 30, "sb")
BASIC_CANCEL_OK = _method(60, 31, "s")
BASIC_PUBLISH = _method(60, 40, "Bssbb")
BASIC_RETURN = _method(60, 50, "Bsss")
BASIC_DELIVER = _method(60, 60, "sLbss")
BASIC_GET = _method(60, 70, "Bsb")
BASIC_GET_OK = _method(60, 71, "Lbssl")
BASIC_GET_EMPTY = _method(60, 72, "s")
BASIC_ACK = _method(60, 80, "Lb")
BASIC_NACK = _method(60, 120, "Lbb")
CONFIRM_SELECT = _method(85, 10, "b")
CONFIRM_SELECT_OK = _method(85, 11)

METHODS = {each.id: each for each in list(globals().values()) if isinstance(each, Method)}
_CONTENT = frozenset((BASIC_RETURN.id, BASIC_DELIVER.id, BASIC_GET_OK.id))
_DELIVER = BASIC_DELIVER.id


class Malformed(Exception):
    """What came is no AMQP."""


class Listener(Protocol):
    """A channel, as far as reading goes."""

    def on_method(self, id: int, arguments: bytes) -> None: ...

    def on_content(self, id: int, arguments: bytes, properties: bytes, body: bytes) -> None: ...

    def on_delivery(
        self, consumer: bytes, tag: int, is_redelivered: bool, where: bytes, properties: bytes, body: bytes
    ) -> None:
        """``where``: exchange and routing key, as they stand in the frame."""


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    return b"%b%b\xce" % (_frame_head.pack(kind, channel, len(payload)), payload)


def method(channel: int, method: Method, *arguments: Any) -> bytes:
    """The frame of a method without content."""
    packed = dumps(method.layout, arguments) if method.layout else b""
    return frame(METHOD, channel, _u32.pack(method.id) + packed)


def arguments(id: int, packed: bytes) -> list[Any]:
    """What came with a method."""
    layout = METHODS[id].layout
    return list(loads(layout, packed, 0)[0]) if layout else []


def content_header(properties: bytes) -> Callable[[int, int], bytes]:
    """Makes header frames (of a channel, for a body of so many bytes) with these properties."""
    size = 12 + len(properties)

    def header(channel: int, length: int) -> bytes:
        return b"%b\x00\x3c\x00\x00%b%b\xce" % (
            _frame_head.pack(HEADER, channel, size), _u64.pack(length), properties,
        )  # fmt: skip

    return header


def bodies(channel: int, body: bytes, frame_max: int) -> Sequence[bytes]:
    """The frames of a body, none of them larger than ``frame_max``."""
    room = frame_max - FRAME_OVERHEAD
    if len(body) <= room:
        return (b"%b%b\xce" % (_frame_head.pack(BODY, channel, len(body)), body),) if body else ()
    return [frame(BODY, channel, body[start : start + room]) for start in range(0, len(body), room)]


class _Content:
    """A message whose frames have not all come."""

    __slots__ = ("arguments", "id", "left", "parts", "properties")

    def __init__(self, id: int, arguments: bytes) -> None:
        self.id, self.arguments = id, arguments
        self.properties = b""
        self.parts: list[bytes] = []
        self.left = -1


class Scanner:
    """Cuts bytes into frames, puts messages together, and hands both to the channel they are for."""

    def __init__(self, listeners: dict[int, Listener]) -> None:
        self._listeners = listeners
        self._rest = b""
        self._contents: dict[int, _Content] = {}

    def feed(self, data: bytes) -> None:
        """Raises ``Malformed``."""
        if self._rest:
            data = self._rest + data
        position, end = 0, len(data)
        head, listeners = _frame_head.unpack_from, self._listeners
        while end - position >= FRAME_OVERHEAD:
            kind, number, size = head(data, position)
            stop = position + FRAME_OVERHEAD + size
            if stop > end:
                if size > LARGEST_FRAME:
                    raise Malformed(f"a frame of {size} bytes")
                break
            if data[stop - 1] != END:
                raise Malformed(f"a frame of kind {kind} does not end where it says")
            start = position + 7
            if kind == METHOD and size >= 4:
                id = _u32.unpack_from(data, start)[0]
                if id == _DELIVER:
                    taken = self._whole(data, number, start + 4, stop, end)
                    if taken:
                        position = taken
                        continue
                packed = data[start + 4 : stop - 1]
                if id in _CONTENT:
                    self._contents[number] = _Content(id, packed)
                elif number in listeners:
                    listeners[number].on_method(id, packed)
            elif kind in (HEADER, BODY):
                self._continue(number, kind, data[start : stop - 1])
            elif kind != HEARTBEAT:
                raise Malformed(f"a frame of kind {kind}")
            position = stop
        self._rest = data[position:] if position else data

    def _whole(self, data: bytes, number: int, start: int, header: int, end: int) -> int:
        """Take a delivery whose frames follow each other in ``data``; where it ends, or 0 if they do not."""
        if end - header < FRAME_OVERHEAD:
            return 0
        kind, channel, size = _frame_head.unpack_from(data, header)
        body: int = header + FRAME_OVERHEAD + size
        if kind != HEADER or channel != number or body > end:
            return 0
        length: int = _u64.unpack_from(data, header + 11)[0]
        stop = body
        if length:
            stop = body + FRAME_OVERHEAD + length
            if stop > end:
                return 0
            kind, channel, size = _frame_head.unpack_from(data, body)
            if kind != BODY or channel != number or size != length:
                return 0
        if data[body - 1] != END or data[stop - 1] != END:
            raise Malformed("a frame of a delivery does not end where it says")
        listener = self._listeners.get(number)
        if listener is not None:
            tag = start + 1 + data[start]
            listener.on_delivery(
                data[start + 1 : tag], _u64.unpack_from(data, tag)[0], data[tag + 8] == 1,
                data[tag + 9 : header - 1], data[header + 19 : body - 1], data[body + 7 : stop - 1] if length else b"",
            )  # fmt: skip
        return stop

    def _continue(self, number: int, kind: int, payload: bytes) -> None:
        content = self._contents.get(number)
        if content is None or (kind == HEADER) != (content.left < 0):
            raise Malformed("a piece of a message that nothing began")
        if kind == HEADER:
            content.left, content.properties = _u64.unpack_from(payload, 4)[0], payload[12:]
        else:
            content.parts.append(payload)
            content.left -= len(payload)
        if content.left > 0:
            return
        del self._contents[number]
        listener = self._listeners.get(number)
        if listener is None:
            return
        body, packed = b"".join(content.parts), content.arguments
        if content.id == _DELIVER:
            tag = 1 + packed[0]
            redelivered = packed[tag + 8] == 1
            listener.on_delivery(
                packed[1:tag], _u64.unpack_from(packed, tag)[0], redelivered, packed[tag + 9 :], content.properties,
                body,
            )  # fmt: skip
        else:
            listener.on_content(content.id, packed, content.properties, body)
