"""A message as it lies in Redis: a header that Lua can change without reading the rest, then properties and body.

Byte 1 is the rank (9 - priority), 2 counts crashes, 3 losses, 4-11 say when it became ready (a double, big-endian),
12-19 make it unique, as a member of a sorted set must be (the first is 255 once it was given back), 20-23 are how long
the properties are, plus 1 (0: there are none).
"""

import os
import struct
from collections.abc import Sequence
from itertools import count
from typing import Any

from taskbus.broker.transports.port import Claimed, Parcel

_HEADER = struct.Struct(">BxxdQI")
_READ = struct.Struct(">BBBdQI")
SIZE = _READ.size


class Serials:
    """Numbers below 2 ** 63 that no other process uses: they begin somewhere at random."""

    def __init__(self) -> None:
        self._pid = 0
        self._next = count().__next__

    def source(self) -> Any:
        """A function that returns the next one; to be asked for anew after a fork."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._next = count(int.from_bytes(os.urandom(8)) >> 2).__next__
        return self._next


def pack(parcel: Parcel, now: float, serial: int) -> bytes:
    """``now`` is when it is sent, for display only."""
    _, body, priority, due_at, properties, *_ = parcel
    ready_at = now if due_at is None or due_at < now else due_at
    if properties is None:
        return _HEADER.pack(9 - priority, ready_at, serial, 0) + body
    return _HEADER.pack(9 - priority, ready_at, serial, len(properties) + 1) + properties + body


def rest(of: Claimed) -> bytes:
    """What stands in the element of a message from byte 20 on."""
    if of.properties is None:
        return bytes(4) + of.body
    return (len(of.properties) + 1).to_bytes(4) + of.properties + of.body


def claimed(queue: str, number: int, fence: int, elements: Sequence[bytes]) -> list[Claimed]:
    """What was claimed from a queue at once; ``number`` is the queue's, for tags that differ between queues."""
    found = []
    for element in elements:
        rank, crashes, losses, _, _, length = _READ.unpack_from(element)
        tag = fence << 16 | number
        if length:
            start = SIZE + length - 1
            item = Claimed(rank, tag, queue, element[start:], element[SIZE:start], fence, crashes, losses)
        else:
            item = Claimed(rank, tag, queue, element[SIZE:], None, fence, crashes, losses)
        found.append(item)
        fence += 1
    return found
