"""The compact wire format: one msgpack array, the body inside as opaque bytes.

    [version=1, id, task, attempt, sent_at, due_at | nil, expires_at | nil, content_type, headers | nil, body]

Queue and priority are not in it: the broker carries them. A reader refuses what it does not understand, before it
believes a single field; it keeps elements after the tenth unread, so that a later version may add some.
"""

import msgpack

from taskbus.errors import DecodeError
from taskbus.message import NO_HEADERS, Message

VERSION = 1
CONTENT_TYPE = "application/x-taskbus"
MAX_NAME = 200
MAX_HEADERS = 64
MAX_HEADER_BYTES = 8192


def encode(message: Message) -> bytes:
    """Return the bytes that travel."""
    wire: bytes = msgpack.packb(
        (
            VERSION,
            message.id,
            message.task,
            message.attempt,
            message.sent_at,
            message.due_at,
            message.expires_at,
            message.content_type,
            dict(message.headers) if message.headers else None,
            message.body,
        )
    )
    return wire


def decode(wire: bytes, queue: str, priority: int, max_bytes: int) -> Message:
    """Return the message in ``wire``; raises ``DecodeError`` for anything that is not one.

    Nothing is allocated beyond ``max_bytes``, whatever lengths the bytes claim.
    """
    if len(wire) > max_bytes:
        raise DecodeError(f"message of {len(wire)} bytes is larger than max_message_bytes={max_bytes}")
    try:
        fields = msgpack.unpackb(
            wire, max_array_len=64, max_map_len=MAX_HEADERS, max_ext_len=0, max_str_len=max_bytes, max_bin_len=max_bytes
        )
    except Exception as error:  # msgpack raises a dozen kinds, some of them bare ValueErrors
        raise DecodeError(f"not a TaskBus message: {type(error).__name__}: {error}") from error
    if not isinstance(fields, list) or len(fields) < 10:
        raise DecodeError("not a TaskBus message: no array of ten fields")
    if fields[0] != VERSION:
        raise DecodeError(f"message format version {fields[0]!r} is unknown here; this TaskBus reads version {VERSION}")
    _, id, task, attempt, sent_at, due_at, expires_at, content_type, headers, body = fields[:10]
    if not (_is_name(id) and _is_name(task) and _is_name(content_type)):
        raise DecodeError("not a TaskBus message: id, task or content type is not a short text")
    if type(attempt) is not int or not 1 <= attempt < 1 << 31:
        raise DecodeError(f"not a TaskBus message: attempt {attempt!r} is not a positive integer")
    if not (_is_instant(sent_at) and (due_at is None or _is_instant(due_at)) and (expires_at is None or _is_instant(expires_at))):
        raise DecodeError("not a TaskBus message: an instant is not a number of seconds")
    if type(body) is not bytes:
        raise DecodeError("not a TaskBus message: the body is not bytes")
    return Message(
        id, task, body, content_type, queue, priority, attempt, sent_at, due_at, expires_at, _headers(headers)
    )


def _is_name(value: object) -> bool:
    return type(value) is str and 0 < len(value) <= MAX_NAME


def _is_instant(value: object) -> bool:
    return type(value) in (int, float) and 0 <= value < 1e11  # type: ignore[operator]


def _headers(value: object) -> dict[str, str]:
    if value is None:
        return NO_HEADERS  # type: ignore[return-value]
    if not isinstance(value, dict):
        raise DecodeError("not a TaskBus message: headers are not a map")
    size = 0
    for key, text in value.items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise DecodeError(f"not a TaskBus message: header {key!r} is not text")
        size += len(key) + len(text)
    if size > MAX_HEADER_BYTES:
        raise DecodeError(f"headers of {size} characters exceed {MAX_HEADER_BYTES}")
    return value
