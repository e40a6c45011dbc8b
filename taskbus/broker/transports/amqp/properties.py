"""What goes along with a message: AMQP's properties, and the counters that TaskBus keeps in its headers.

A plain message of TaskBus has the same few bytes of properties as every other of its priority, so they are made once.
Counters stand in headers only where they are not zero; what brokers add (``x-...``) is never sent on.
"""

from functools import lru_cache
from typing import Any, NamedTuple

# mypy: allow-untyped-calls
from amqp.exceptions import FrameSyntaxError
from amqp.serialization import dumps, loads

from taskbus.broker.transports.envelope import Envelope, pack, unpack
from taskbus.errors import PublishFailed
from taskbus.wire.compact import CONTENT_TYPE

CRASHES, LOSSES, WAIT, DUE = COUNTERS = ("taskbus-crashes", "taskbus-losses", "taskbus-wait", "taskbus-due")
_PROPERTIES = (
    ("content_type", "s", 0x8000),
    ("content_encoding", "s", 0x4000),
    ("headers", "F", 0x2000),
    ("delivery_mode", "o", 0x1000),
    ("priority", "o", 0x0800),
    ("correlation_id", "s", 0x0400),
    ("reply_to", "s", 0x0200),
    ("expiration", "s", 0x0100),
    ("message_id", "s", 0x0080),
    ("timestamp", "L", 0x0040),
    ("type", "s", 0x0020),
    ("user_id", "s", 0x0010),
    ("app_id", "s", 0x0008),
    ("cluster_id", "s", 0x0004),
)
_NAMES = frozenset(name for name, _, _ in _PROPERTIES)


class Counters(NamedTuple):
    """``wait``: milliseconds still to be waited for after the message has come out of a delay queue.

    ``due_at``: by its sender's clock, in milliseconds; it can shorten the wait, for a message that waited in its queue.
    """

    crashes: int = 0
    losses: int = 0
    wait: int = 0
    due_at: int = 0


NONE = Counters()


class Label(NamedTuple):
    """Everything a message's properties say. ``envelope`` None: it is a plain message of TaskBus."""

    priority: int
    counters: Counters
    envelope: Envelope | None


@lru_cache(maxsize=256)
def plain(priority: int, counters: Counters = NONE) -> bytes:
    """The properties of a message of TaskBus, packed."""
    return _packed({"content_type": CONTENT_TYPE, "delivery_mode": 2, "priority": priority}, _own(counters))


def foreign(packed: bytes, priority: int, counters: Counters) -> bytes:
    """The properties of any other message, from the envelope that kombu's side made (``envelope.pack``)."""
    envelope = unpack(packed, "")
    given = {name: value for name, value in envelope.properties.items() if name in _NAMES and value is not None}
    given |= {"content_type": envelope.content_type, "content_encoding": envelope.content_encoding}
    given.setdefault("delivery_mode", 2)
    try:
        return _packed({**given, "priority": priority}, {**envelope.headers, **_own(counters)})
    except (FrameSyntaxError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise PublishFailed(f"a header or property cannot travel: {error}") from error


def _own(counters: Counters) -> dict[str, int]:
    return {name: value for name, value in zip(COUNTERS, counters, strict=True) if value}


def _packed(properties: dict[str, Any], headers: dict[str, Any]) -> bytes:
    if headers:
        properties["headers"] = headers
    flags, layout, values = 0, "", []
    for name, kind, bit in _PROPERTIES:
        if name in properties:
            flags |= bit
            layout += kind
            value = properties[name]
            values.append(str(value) if kind == "s" else value)
    return flags.to_bytes(2, "big") + bytes(dumps(layout, values))


@lru_cache(maxsize=256)
def read(packed: bytes) -> Label:
    """What properties say. Raises ``ValueError`` where they are none."""
    flags = int.from_bytes(packed[:2], "big")
    known = [(name, kind) for name, kind, bit in _PROPERTIES if flags & bit]
    values, _ = loads("".join(kind for _, kind in known), packed, 2)
    properties = dict(zip((name for name, _ in known), values, strict=True))
    headers = properties.pop("headers", {})
    lost = max(_count(headers, "x-delivery-count"), _count(headers, "x-acquired-count"))
    counters = Counters(
        _count(headers, CRASHES), _count(headers, LOSSES) + lost, _count(headers, WAIT), _count(headers, DUE)
    )
    own = {name: value for name, value in headers.items() if not _is_added(name)}
    priority = min(properties.get("priority") or 0, 9)
    kind = properties.pop("content_type", "")
    encoding = properties.pop("content_encoding", "")
    if kind == CONTENT_TYPE and not own:
        return Label(priority, counters, None)
    return Label(priority, counters, Envelope(kind, encoding, properties, own, "", ""))


_UNREADABLE = Label(0, NONE, Envelope("", "", {}, {}, "", ""))


def label_of(packed: bytes) -> Label:
    """The same; of properties that say nothing sensible, that they are of a message that is not TaskBus's."""
    try:
        return read(packed)
    except (ValueError, LookupError, FrameSyntaxError, OverflowError):
        return _UNREADABLE


def _count(headers: dict[str, Any], name: str) -> int:
    value = headers.get(name, 0)
    return value if isinstance(value, int) and value > 0 else 0


def _is_added(name: str) -> bool:
    """Whether a header is TaskBus's or the broker's own: ``x-death`` sent on would pass for a cycle, and be dropped."""
    return name in COUNTERS or name.startswith(_BROKERS_OWN)


_BROKERS_OWN = ("x-delivery-", "x-acquired-", "x-death", "x-first-death-", "x-last-death-")


def envelope(label: Label, where: bytes, queue: str) -> bytes | None:
    """A delivery's envelope as a ``Claimed`` carries it. ``where``: its exchange and routing key, as they came."""
    if label.envelope is None:
        return None
    exchange, key = loads("ss", where, 0)[0]
    return pack(label.envelope._replace(exchange=exchange, routing_key=key if exchange else queue))
