"""Messages on their way to the broker, and the channel on which it confirms each of them."""

import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from taskbus.broker.transports.amqp import frames
from taskbus.broker.transports.amqp.calls import Calls
from taskbus.broker.transports.amqp.wire import Wire

_u64 = struct.Struct(">Q")
_SIZE = struct.Struct(">Q")


class Letter(NamedTuple):
    """One basic.publish, in RabbitMQ's names. ``queue``, ``level``: what must be there for it; "": not known."""

    exchange: str
    key: str
    properties: bytes
    body: bytes
    queue: str = ""
    level: str = ""

    @property
    def is_mandatory(self) -> bool:
        """Whether the broker is to return it if it leads to no queue; through exchanges it may lead to none."""
        return not self.exchange


class Confirms(Calls):
    """A channel in confirm mode. ``open``: sequence numbers not yet confirmed."""

    def __init__(self, wire: Wire) -> None:
        super().__init__(wire)
        self.open: set[int] = set()
        self.refused: set[int] = set()
        self.returned: list[tuple[str, bytes]] = []
        self._last = 0
        self._lowest = 1
        self._methods: dict[tuple[str, str], bytes] = {}
        self._headers: dict[bytes, tuple[bytes, bytes]] = {}
        self.post(frames.CONFIRM_SELECT, False)

    def send(self, letters: Iterable[Letter]) -> range:
        """Post letters; the sequence numbers by which they will be confirmed. One ``flush`` sends them all."""
        first = self._last + 1
        number, room = self.number, self.wire.frame_max - frames.FRAME_OVERHEAD
        methods, headers = self._methods, self._headers
        parts: list[bytes] = []
        add = parts.append
        pack_size, pack_head, body_kind = _SIZE.pack, struct.Struct(">BHI").pack, frames.BODY
        for letter in letters:
            exchange, key, properties, body, *_ = letter
            add(methods.get((exchange, key)) or self._method(exchange, key))
            head, tail = headers.get(properties) or self._header(properties)
            size = len(body)
            add(head)
            add(pack_size(size))
            add(tail)
            if 0 < size <= room:
                add(pack_head(body_kind, number, size))
                add(body)
                add(b"\xce")
            elif size:
                parts.extend(frames.bodies(number, body, self.wire.frame_max))
            self._last += 1
        sent = range(first, self._last + 1)
        self.open.update(sent)
        self.wire.post(b"".join(parts))
        return sent

    def probe(self) -> None:
        """Post an empty message to nowhere: its confirm says that the broker lives, and takes messages.

        The broker says that it takes none only to those who send it one, and then leaves that one unread.
        """
        self._last += 1
        self.open.add(self._last)
        self.post(frames.BASIC_PUBLISH, 0, "", "", False, False)
        self.wire.post(frames.content_header(b"\x00\x00")(self.number, 0))

    def _method(self, exchange: str, key: str) -> bytes:
        if len(self._methods) > 4096:
            self._methods.clear()
        packed = frames.method(self.number, frames.BASIC_PUBLISH, 0, exchange, key, not exchange, False)
        self._methods[exchange, key] = packed
        return packed

    def _header(self, properties: bytes) -> tuple[bytes, bytes]:
        if len(self._headers) > 1024:
            self._headers.clear()
        whole = frames.content_header(properties)(self.number, 0)
        parts = self._headers[properties] = (whole[:11], whole[19:])
        return parts

    def on_method(self, id: int, packed: bytes) -> None:
        if id == frames.BASIC_ACK.id:
            self._settle(_u64.unpack_from(packed)[0], is_multiple=packed[8] & 1 == 1)
        elif id == frames.BASIC_NACK.id:
            self.refused |= self._settle(_u64.unpack_from(packed)[0], is_multiple=packed[8] & 1 == 1)
        else:
            super().on_method(id, packed)

    def _settle(self, tag: int, *, is_multiple: bool) -> set[int]:
        if is_multiple:
            settled = self.open.intersection(range(self._lowest, tag + 1))
            self._lowest = max(self._lowest, tag + 1)
        else:
            settled = self.open & {tag}
        self.open -= settled
        return settled

    def on_content(self, id: int, arguments: bytes, properties: bytes, body: bytes) -> None:
        if id == frames.BASIC_RETURN.id:
            _, _, _, key = frames.arguments(id, arguments)
            self.returned.append((key, body))


def returned_of(letters: Sequence[Letter], returned: Sequence[tuple[str, bytes]]) -> list[Letter]:
    """Which letters came back. A return does not say; letters alike in key and body may stand for each other."""
    counts: dict[tuple[str, bytes], int] = {}
    for each in returned:
        counts[each] = counts.get(each, 0) + 1
    back = []
    for letter in letters:
        left = counts.get((letter.key, letter.body), 0)
        if left and letter.is_mandatory:
            counts[letter.key, letter.body] = left - 1
            back.append(letter)
    return back
