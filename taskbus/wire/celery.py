"""Celery's wire format, message protocol 2: what its producers send, and what its workers run. Pure functions.

    {"body": base64, "content-type", "content-encoding", "headers": {...}, "properties": {...}}

This is kombu's envelope as JSON, the very bytes of a Redis list; transports that carry headers and properties apart
make it of them (``wrap``) and take it apart (``unwrap``). The body stays as it came, as the body of the ``Message``,
and all else is kept in ``Message.celery``, so that what is sent on (a retry) is the same call to Celery. Protocol 1 is
read, and never written.
"""

import base64
import json
import os
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import uuid4

from taskbus import codec
from taskbus.codec import celery as body_codec
from taskbus.codec.limits import check_json
from taskbus.errors import DecodeError, EncodeError
from taskbus.message import CHUNK, COPY, FLOW, MAX_PRIORITY, OWN_HEADERS, Message
from taskbus.wire.compact import LATEST, MAX_NAME

CONTENT_TYPE = "application/x-celery"
"""What a delivery or a dead letter in this format is said to hold."""
SENT_AT = f"{OWN_HEADERS}sent-at"
"""Header by which a message remembers when it was sent: Celery's does not say."""
FIRST = b"{"
"""What a message in this format begins with, and no compact one."""
LONGEST_REPR = 1024
_EMBED = ("callbacks", "errbacks", "chain", "chord")
_KNOWN = frozenset({
    "lang", "task", "id", "shadow", "eta", "expires", "group", "group_index", "retries", "timelimit", "root_id",
    "parent_id", "argsrepr", "kwargsrepr", "origin", "ignore_result", "replaced_task_nesting", "stamped_headers",
    "stamps", "compression", "args", "kwargs", "callbacks", "called_directly", "chain", "chord", "correlation_id",
    "delivery_info", "errbacks", "headers", "hostname", "is_eager", "logfile", "loglevel", "properties", "reply_to",
    "utc", "redelivered", "taskset",
})  # fmt: skip
"""Headers that are Celery's own: its tasks do not see them among ``request.headers``."""
_NEVER_TAKEN = (FLOW, COPY, CHUNK)
"""Headers with a meaning that no other program may give them."""
_BROKERS_OWN = ("x-death", "x-first-death-", "x-last-death-", "x-delivery-", "x-acquired-")


@dataclass(frozen=True, slots=True)
class CeleryCall:
    """What a message of Celery's says beyond its arguments, in Celery's own words and types.

    ``embed`` has ``callbacks``, ``errbacks``, ``chain`` (the next one last) and ``chord``: signatures as dicts, or
    None. ``limits``: the hard and the soft time limit in seconds, None for none.
    """

    headers: Mapping[str, Any]
    embed: Mapping[str, Any]
    properties: Mapping[str, Any]
    limits: tuple[float | None, float | None]


class Parts(NamedTuple):
    """A message as AMQP has it."""

    body: bytes
    content_type: str
    content_encoding: str
    headers: dict[str, Any]
    properties: dict[str, Any]


def call_of(message: Message) -> CeleryCall | None:
    """What Celery's wire said of a message; None of one that came in ours. Raises ``DecodeError`` for a broken body."""
    if message.celery is None:
        return None
    _, _, embed = body_codec.call(body_codec.decode(message.body, message.content_type))
    headers = message.celery["headers"]
    embedded = {name: embed.get(name) for name in _EMBED}
    return CeleryCall(headers, embedded, message.celery["properties"], limits_of(message))


def limits_of(message: Message) -> tuple[float | None, float | None]:
    """The time limits that a call of Celery's brings, hard and soft, in seconds; None for none."""
    given = message.celery["headers"].get("timelimit") if message.celery is not None else None
    hard, soft, *_ = (*given, None, None) if isinstance(given, list) else (None, None)
    return _limit(hard), _limit(soft)


def _limit(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < LATEST else None


def is_result_ignored(message: Message) -> bool:
    """Whether the call asks for its result not to be kept."""
    return message.celery is not None and message.celery["headers"].get("ignore_result") is True


def shown_name(message: Message) -> str:
    """What the task is to be called in front of people: its sender may have given it another name (``shadow``)."""
    shadow = message.celery["headers"].get("shadow") if message.celery is not None else None
    return shadow[:MAX_NAME] if isinstance(shadow, str) and shadow.isprintable() and shadow else message.task


# --- reading ---------------------------------------------------------------------------------------------------------


def decode(wire: bytes, queue: str, max_bytes: int) -> Message:
    """Return the message in ``wire``; raises ``DecodeError`` for anything that is none. Its body is not looked into.

    Its ``priority`` is Celery's number as it is, its ``attempt`` one more than Celery's retries. ``headers`` are those
    of the user, what is no text as JSON.
    """
    if len(wire) > max_bytes:
        raise DecodeError(f"message of {len(wire)} bytes is larger than max_message_bytes={max_bytes}")
    envelope, body = _opened(wire)
    headers, properties = envelope["headers"], envelope["properties"]
    kind = body_codec.kind(_text(envelope, "content-type"), _text(headers, "compression"))
    if "task" not in headers:
        headers, body = _of_protocol_1(body_codec.decode(body, kind))
        kind = body_codec.kind(body_codec.JSON)
        envelope = {**envelope, "content-type": body_codec.JSON, "content-encoding": "utf-8", "headers": headers}
    priority = properties.get("priority")
    retries = headers.get("retries") or 0
    if type(retries) is not int or not 0 <= retries < 1 << 30:
        raise DecodeError(f"not a message of Celery's: its retries {retries!r:.40} are no whole number")
    return Message(
        _name(headers, "id"),
        _name(headers, "task"),
        body,
        kind,
        queue,
        min(max(priority, 0), MAX_PRIORITY) if type(priority) is int else 0,
        retries + 1,
        _sent_at(headers),
        _instant(headers, "eta"),
        _instant(headers, "expires"),
        _own_headers(headers),
        envelope,
    )


def _opened(wire: bytes) -> tuple[dict[str, Any], bytes]:
    """The envelope without its body, and that."""
    check_json(wire)
    try:
        envelope = json.loads(wire)
        body = envelope.pop("body")
        properties = envelope.setdefault("properties", {})
        envelope |= {name: _text(envelope, name) for name in ("content-type", "content-encoding")}
        if not isinstance(envelope.setdefault("headers", {}), dict) or not isinstance(properties, dict):
            raise TypeError("its headers or properties are no map")
        is_base64 = properties.get("body_encoding") == "base64"
        return envelope, base64.b64decode(body, validate=True) if is_base64 else body.encode()
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise DecodeError(f"not kombu's envelope: {type(error).__name__}: {error}"[:300]) from error


def _of_protocol_1(value: Any) -> tuple[dict[str, Any], bytes]:
    """Headers and body in protocol 2 of what is in the body of a message of protocol 1."""
    if not isinstance(value, dict) or "task" not in value:
        raise DecodeError("not a message of Celery's: it has neither a header nor a body that names the task")
    args, kwargs, _ = body_codec.call([value.get("args") or [], value.get("kwargs") or {}])
    embed = {name: value.get(name) for name in _EMBED} | {"chain": None}
    headers: dict[str, Any] = {
        name: value.get(name) for name in ("task", "id", "eta", "expires", "retries", "timelimit")
    }
    headers |= {"group": value.get("taskset") or value.get("group"), "group_index": value.get("group_index")}
    headers |= {"argsrepr": _repr(tuple(args)), "kwargsrepr": _repr(kwargs)}
    try:
        return headers, body_codec.encode(args, kwargs, embed)
    except EncodeError as error:
        raise DecodeError(f"a message of protocol 1 whose arguments are none of protocol 2: {error}") from error


def _own_headers(headers: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: value if isinstance(value, str) else json.dumps(value, default=str)
        for name, value in headers.items()
        if name not in _KNOWN and name not in _NEVER_TAKEN and name != SENT_AT and not name.startswith(_BROKERS_OWN)
    }


def _name(headers: Mapping[str, Any], field: str) -> str:
    value = headers.get(field)
    if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME or _LONELY.search(value):
        raise DecodeError(f"not a message of Celery's: its {field} is not a text of 1 to {MAX_NAME} characters")
    return value


_LONELY = re.compile("[\ud800-\udfff]")
"""Halves of characters, which JSON can hold and UTF-8 cannot."""


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def _instant(headers: Mapping[str, Any], field: str) -> float | None:
    text = headers.get(field)
    if text is None or text == "":
        return None
    try:
        instant = datetime.fromisoformat(text)
        seconds = (instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, OverflowError):
        seconds = LATEST
    if not 0 <= seconds < LATEST:
        raise DecodeError(f"not a message of Celery's: its {field} {text!r:.60} is no time in ISO 8601")
    return seconds


def _sent_at(headers: Mapping[str, Any]) -> float:
    text = headers.get(SENT_AT)
    return float(text) if isinstance(text, str) and _SECONDS.fullmatch(text) else 0.0


_SECONDS = re.compile(r"\d{1,10}(\.\d{1,9})?")


# --- writing ---------------------------------------------------------------------------------------------------------


def encode(message: Message) -> bytes:
    """Return the bytes that a Celery worker reads: of a message of its own, the same call with what has changed.

    Raises ``EncodeError`` for arguments that Celery's JSON has no form for.
    """
    body, envelope = _of_ours(message) if message.celery is None else (message.body, message.celery)
    headers = {name: value for name, value in envelope["headers"].items() if _stays(name, message)}
    headers |= {
        name: text for name, text in message.headers.items() if name not in headers and name not in _NEVER_TAKEN
    }
    if message.sent_at:
        headers[SENT_AT] = f"{message.sent_at:.6f}"
    headers["retries"] = message.attempt - 1
    headers["eta"] = _iso(message.due_at, headers, "eta")
    headers["expires"] = _iso(message.expires_at, headers, "expires")
    properties = {
        **envelope["properties"],
        "priority": message.priority,
        "body_encoding": "base64",
        "delivery_info": {"exchange": "", "routing_key": message.queue},
        "delivery_tag": str(uuid4()),
    }
    if message.expires_at is None:
        properties.pop("expiration", None)
    return _sealed(Parts(body, envelope["content-type"], envelope["content-encoding"], headers, properties))


def with_call(message: Message, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Message:
    """A message that came in Celery's wire, with other arguments. Raises ``EncodeError``, ``DecodeError``."""
    assert message.celery is not None
    _, _, embed = body_codec.call(body_codec.decode(message.body, message.content_type))
    headers = {**message.celery["headers"], "argsrepr": _repr(tuple(args)), "kwargsrepr": _repr(kwargs)}
    headers.pop("compression", None)
    rest = {"content-type": body_codec.JSON, "content-encoding": "utf-8", "headers": headers}
    body = body_codec.encode(args, kwargs, embed)
    return message._replace(body=body, content_type=body_codec.kind(body_codec.JSON), celery={**message.celery, **rest})


def _stays(name: str, message: Message) -> bool:
    """What TaskBus had added and took off again, and what brokers add, is not sent on."""
    if name.startswith(OWN_HEADERS):
        return message.celery is None
    return not name.startswith(_BROKERS_OWN)


def _of_ours(message: Message) -> tuple[bytes, Mapping[str, Any]]:
    """Body and the rest of a call that a producer of ours makes."""
    args, kwargs = codec.decode(message.body, message.content_type)
    try:
        body = body_codec.encode(args, kwargs, dict.fromkeys(_EMBED))
    except EncodeError as error:
        raise EncodeError(f"task {message.task!r} cannot be sent to queue {message.queue!r}: {error}") from error
    headers: dict[str, Any] = {
        "lang": "py", "task": message.task, "id": message.id, "shadow": None, "eta": None, "expires": None,
        "group": None, "group_index": None, "retries": 0, "timelimit": [None, None], "root_id": message.id,
        "parent_id": None, "argsrepr": _repr(tuple(args)), "kwargsrepr": _repr(kwargs), "origin": _origin(os.getpid()),
        "ignore_result": None, "replaced_task_nesting": 0, "stamped_headers": None, "stamps": {},
    }  # fmt: skip
    properties: dict[str, Any] = {"correlation_id": message.id, "reply_to": "", "delivery_mode": 2}
    if message.expires_at is not None:
        properties["expiration"] = str(max(0, int((message.expires_at - message.sent_at) * 1000)))
    rest = {"content-type": body_codec.JSON, "content-encoding": "utf-8", "headers": headers, "properties": properties}
    return body, rest


def _iso(instant: float | None, headers: Mapping[str, Any], field: str) -> str | None:
    if instant is None:
        return None
    text = headers.get(field)
    if isinstance(text, str) and _instant(headers, field) == instant:
        return text
    return datetime.fromtimestamp(instant, UTC).isoformat()


def _repr(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_REPR else f"{text[: LONGEST_REPR - 3]}..."


@lru_cache(maxsize=1)
def _origin(pid: int) -> str:
    return f"gen{pid}@{socket.gethostname()}"


# --- headers and body apart, as AMQP has them ------------------------------------------------------------------------


def is_one(content_type: str, headers: Mapping[str, Any], body: bytes) -> bool:
    """Whether what arrived with these may be a message of Celery's, whether it can be read or not."""
    return "task" in headers or (content_type in _SERIALIZED and b"task" in body)


_SERIALIZED = (body_codec.JSON, "application/x-msgpack", "application/x-yaml", "application/x-python-serialize")


def wrap(parts: Parts) -> bytes:
    """A message that arrived in parts, as one piece."""
    return _sealed(parts._replace(properties={**parts.properties, "body_encoding": "base64"}))


def unwrap(wire: bytes) -> Parts:
    """The parts of what ``encode`` or ``wrap`` made."""
    envelope, body = _opened(wire)
    kept = {name: value for name, value in envelope["properties"].items() if name not in _KOMBUS_OWN}
    return Parts(body, envelope["content-type"], envelope["content-encoding"], envelope["headers"], kept)


_KOMBUS_OWN = ("body_encoding", "delivery_info", "delivery_tag")


def _sealed(parts: Parts) -> bytes:
    return json.dumps(
        {
            "body": base64.b64encode(parts.body).decode(),
            "content-encoding": parts.content_encoding,
            "content-type": parts.content_type,
            "headers": parts.headers,
            "properties": parts.properties,
        },
        default=str,
    ).encode()
