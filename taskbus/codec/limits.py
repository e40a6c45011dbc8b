"""How deep and how numerous a value may be, checked on the bytes before a parser believes them.

A parser allocates what an array's header claims; a hundred bytes may claim gigabytes. So whatever could nest deeply or
hold many items is walked once here, header by header, building nothing.
"""

import re
from collections.abc import Iterable

from taskbus.errors import DecodeError

MAX_DEPTH = 64
MAX_ITEMS = 100_000
MAX_INT_BITS = 4096
MAX_COLLISIONS = 1000

SET_CODES = (7, 8)
"""Extension codes whose payload is a msgpack array: the walk goes on inside."""

# Every byte that can open something nested: fixmap, fixarray, array and map 16/32, extensions.
_OPENERS = {*range(0x80, 0xA0), *range(0xC7, 0xCA), *range(0xD4, 0xD9), *range(0xDC, 0xE0)}
_OTHERS = bytes(sorted(set(range(256)) - _OPENERS))


def check_msgpack(data: bytes) -> None:
    """Raise ``DecodeError`` if ``data`` nests deeper than ``MAX_DEPTH`` or holds more than ``MAX_ITEMS``."""
    if len(data) <= MAX_DEPTH or (len(data) <= MAX_ITEMS and len(data.translate(None, _OTHERS)) <= MAX_DEPTH):
        return
    try:
        _walk(data)
    except IndexError:
        raise DecodeError("the bytes end too early") from None


def _sizes() -> tuple[int, ...]:
    """For each head byte, the size of its value if the head alone tells it, else 0."""
    sizes = [1] * 256
    for length in range(32):
        sizes[0xA0 + length] = 1 + length
    for head, size in _FIXED.items():
        sizes[head] = size
    for head in {*_OPENERS, *_LENGTHS}:
        sizes[head] = 0
    return tuple(sizes)


# Head byte: (bytes of the length field, bytes after it that the length does not count).
_LENGTHS = {
    0xC4: (1, 0), 0xC5: (2, 0), 0xC6: (4, 0), 0xD9: (1, 0), 0xDA: (2, 0), 0xDB: (4, 0),
    0xC7: (1, 1), 0xC8: (2, 1), 0xC9: (4, 1),
}  # fmt: skip
_FIXED = {
    0xCA: 5, 0xCB: 9, 0xCC: 2, 0xCD: 3, 0xCE: 5, 0xCF: 9, 0xD0: 2, 0xD1: 3, 0xD2: 5, 0xD3: 9,
}  # fmt: skip
_SIZES = _sizes()


def _walk(data: bytes) -> None:
    sizes, position, items = _SIZES, 0, 0
    left = 1
    outer: list[int] = []
    while True:
        while left:
            head = data[position]
            left -= 1
            if size := sizes[head]:
                position += size
                continue
            position, children = _enter(data, position, head)
            if not children:
                continue
            items += children
            outer.append(left)
            left = children
            if len(outer) > MAX_DEPTH:
                raise DecodeError(f"nested deeper than {MAX_DEPTH} levels")
            if items > MAX_ITEMS:
                raise DecodeError(f"more than {MAX_ITEMS} items")
        if not outer:
            return
        left = outer.pop()


def _enter(data: bytes, position: int, head: int) -> tuple[int, int]:
    """Where the walk goes on after the head at ``position``, and how many values belong to it."""
    if head in _LENGTHS:
        width, extra = _LENGTHS[head]
        start = position + 1 + width + extra
        if extra and data[start - 1] in SET_CODES:
            return start, 1
        return start + int.from_bytes(data[position + 1 : position + 1 + width], "big"), 0
    if 0xD4 <= head <= 0xD8:
        if data[position + 1] in SET_CODES:
            return position + 2, 1
        return position + 2 + (1 << (head - 0xD4)), 0
    if head < 0x90:
        return position + 1, 2 * (head - 0x80)
    if head < 0xA0:
        return position + 1, head - 0x90
    width = 2 if head in (0xDC, 0xDE) else 4
    count = int.from_bytes(data[position + 1 : position + 1 + width], "big")
    return position + 1 + width, count * (2 if head >= 0xDE else 1)


_JSON_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[{,]|[\]}]', re.DOTALL)


def check_json(data: bytes) -> None:
    """Raise ``DecodeError`` if the JSON text nests deeper than ``MAX_DEPTH`` or holds more than ``MAX_ITEMS``."""
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH and data.count(b",") < MAX_ITEMS - MAX_DEPTH:
        return
    depth = items = 0
    for token in _JSON_TOKEN.finditer(data):
        mark = data[token.start()]
        if mark in b"[{":
            depth += 1
            items += 1
            if depth > MAX_DEPTH:
                raise DecodeError(f"nested deeper than {MAX_DEPTH} levels")
        elif mark in b"]}":
            depth -= 1
        elif mark == 0x2C:
            items += 1
        if items > MAX_ITEMS:
            raise DecodeError(f"more than {MAX_ITEMS} items")


def check_distinct(keys: Iterable[object]) -> None:
    """Raise ``DecodeError`` if many of ``keys`` share a hash: a set or dict of them would take quadratic time."""
    hashes = [hash(key) for key in keys]
    if len(hashes) - len(set(hashes)) > MAX_COLLISIONS:
        raise DecodeError(f"more than {MAX_COLLISIONS} keys with the same hash")
