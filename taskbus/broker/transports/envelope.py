"""What surrounds a message that is not plainly TaskBus's own, as bytes; and which queues a routing key leads to."""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

import msgpack

from taskbus.errors import BrokerError, EncodeError
from taskbus.wire.compact import CONTENT_TYPE

EXCHANGE_TYPES = ("direct", "fanout", "topic")


class Envelope(NamedTuple):
    """kombu's view of a message, without its body. ``properties`` and ``headers`` are as the sender gave them."""

    content_type: str
    content_encoding: str
    properties: dict[str, Any]
    headers: dict[str, Any]
    exchange: str
    routing_key: str


def pack(envelope: Envelope) -> bytes:
    """Raises ``EncodeError`` when a header or property is neither text, number, bytes, list nor map."""
    try:
        return bytes(msgpack.packb(envelope, datetime=True))
    except (TypeError, ValueError, OverflowError) as error:
        raise EncodeError(f"a header or property cannot travel: {error}") from error


def unpack(packed: bytes | None, queue: str) -> Envelope:
    """The envelope of a stored message; of a plain one if there is none."""
    if packed is None:
        return Envelope(CONTENT_TYPE, "binary", {"delivery_mode": 2}, {}, "", queue)
    return Envelope(*msgpack.unpackb(packed, timestamp=3, strict_map_key=False))


def content_type(packed: bytes | None) -> str:
    return CONTENT_TYPE if packed is None else str(unpack(packed, "").content_type)


def check_exchange(exchange: str, type: str, found: str | None, *, passive: bool) -> None:
    """Raise ``BrokerError`` unless it may be declared so; ``found`` is the type it has, None: it is not there."""
    if found is None and passive:
        raise BrokerError(f"there is no exchange {exchange!r}")
    if found is not None and found != type and not passive:
        raise BrokerError(f"exchange {exchange!r} exists with type {found!r}, not {type!r}")
    if type not in EXCHANGE_TYPES:
        raise BrokerError(f"exchange {exchange!r}: type {type!r} is not one of {', '.join(EXCHANGE_TYPES)}")


def matching(type: str, key: str, bindings: Iterable[tuple[str, str]]) -> list[str]:
    """The queues among ``bindings`` (queue, binding key) that a message with this routing key goes to, each once."""
    if type == "fanout":
        found = (queue for queue, _ in bindings)
    elif type == "topic":
        found = (queue for queue, pattern in bindings if _pattern(pattern).fullmatch(f".{key}"))
    else:
        found = (queue for queue, bound in bindings if bound == key)
    return list(dict.fromkeys(found))


@lru_cache(maxsize=1024)
def _pattern(binding: str) -> re.Pattern[str]:
    """``*`` is one word, ``#`` none or more; each word is led by a dot here. Source: AMQP 0-9-1, 3.1.3.3."""
    return re.compile("".join(_WORDS.get(word) or rf"\.{re.escape(word)}" for word in binding.split(".")))


_WORDS = {"*": r"\.[^.]*", "#": r"(?:\.[^.]*)*"}
