"""What is inside a message, for people: read by the wire format and codec, without believing it."""

import reprlib
from dataclasses import dataclass
from typing import Any

from taskbus.cli.phrase import count
from taskbus.errors import CodecError
from taskbus.message import Message
from taskbus.steering.letters import call_of
from taskbus.steering.showing import Showing
from taskbus.wire import formats


@dataclass(frozen=True, slots=True)
class Preview:
    """A message as far as it can be read. ``call`` is its arguments as text, or why they cannot be read."""

    message: Message | None
    args: list[Any] | None
    kwargs: dict[str, Any] | None
    call: str


def preview(wire: bytes, queue: str, priority: int, showing: Showing | None = None) -> Preview:
    """Read the bytes of a message as far as possible; never raises. ``showing`` leaves the secrets out."""
    try:
        message = formats.decode(wire, queue, priority, max(len(wire), 1))
    except CodecError as error:
        return Preview(None, None, None, f"cannot be read: {error}")
    try:
        args, kwargs = call_of(message)
    except CodecError as error:
        return Preview(message, None, None, f"arguments cannot be read: {error}")
    if showing is not None:
        args, kwargs = showing.values(message.task, args, kwargs)
    return Preview(message, args, kwargs, _call(args, kwargs))


def hexadecimal(octets: bytes, limit: int = 256) -> str:
    """The first bytes in hex, sixteen a line, with their ASCII beside them."""
    lines = []
    for start in range(0, min(len(octets), limit), 16):
        row = octets[start : start + 16]
        text = "".join(chr(octet) if 32 <= octet < 127 else "." for octet in row)
        lines.append(f"{start:06x}  {row.hex(' '):<47}  {text}")
    if len(octets) > limit:
        lines.append(f"... {count(len(octets) - limit, 'more byte')}; -o json prints all")
    return "\n".join(lines)


def _call(args: list[Any], kwargs: dict[str, Any]) -> str:
    parts = [_short.repr(value) for value in args]
    parts += [f"{key}={_short.repr(value)}" for key, value in kwargs.items()]
    return f"({', '.join(parts)})"


_short = reprlib.Repr()
_short.maxstring = _short.maxother = 200
_short.maxlist = _short.maxtuple = _short.maxdict = 20
