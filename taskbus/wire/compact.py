"""The compact wire format: one msgpack array, the body inside as opaque bytes.

    [version=1, id, task, attempt, sent_at, due_at | nil, expires_at | nil, content_type, headers | nil, body]

Queue and priority are not in it: the broker carries them. A reader refuses what it does not understand, before it
believes a single field; it keeps elements after the tenth unread, so that a later version may add some.
"""

from collections.abc import Sequence
from typing import Any

import msgpack

from taskbus.errors import DecodeError, EncodeError
from taskbus.message import NO_HEADERS, Message

VERSION = 1
CONTENT_TYPE = "application/x-taskbus"
MAX_NAME = 200
MAX_HEADERS = 64
MAX_HEADER_BYTES = 8192
LATEST = 1e11
"""Instants are earlier than this, some time in the year 5138."""


def encode(message: Message) -> bytes:
    """Return the bytes that travel.

    Raises ``EncodeError`` for a name or an instant that ``decode`` would refuse. Nothing else is checked, so that a
    worker can pass on whatever it could read; a sender asks ``header_fault`` too.
    """
    fault = _send_fault(message)
    if fault:
        raise EncodeError(f"task {message.task[:MAX_NAME]!r} cannot be sent: {fault}")
    fields = (
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
    try:
        wire: bytes = msgpack.packb(fields)
    except UnicodeEncodeError as error:
        raise EncodeError(f"task {message.task!r} cannot be sent: {error.object!r} is no valid text") from error
    return wire


def decode(wire: bytes, queue: str, priority: int, max_bytes: int) -> Message:
    """Return the message in ``wire``; raises ``DecodeError`` for anything that is not one.

    Nothing is allocated beyond ``max_bytes``, whatever lengths the bytes claim.
    """
    if len(wire) > max_bytes:
        raise DecodeError(f"message of {len(wire)} bytes is larger than max_message_bytes={max_bytes}")
    try:
        fields = msgpack.unpackb(wire, max_array_len=64, max_map_len=MAX_HEADERS, max_ext_len=0)
    except Exception as error:  # msgpack raises a dozen kinds, some of them bare ValueErrors
        raise DecodeError(f"not a TaskBus message: {type(error).__name__}: {error}"[:500]) from error
    if not isinstance(fields, list) or len(fields) < 10:
        raise DecodeError("not a TaskBus message: no array of ten fields")
    if fields[0] != VERSION:
        raise DecodeError(
            f"message format version {fields[0]!r:.20} is unknown here; this TaskBus reads version {VERSION}"
        )
    fault = _fault(fields) or header_fault(fields[8])
    if fault:
        raise DecodeError(f"not a TaskBus message: {fault}")
    _, id, task, attempt, sent_at, due_at, expires_at, content_type, headers, body = fields[:10]
    return Message(
        id, task, body, content_type, queue, priority, attempt, sent_at, due_at, expires_at, headers or NO_HEADERS
    )


def header_fault(headers: Any) -> str:
    """What is wrong with the headers of a message, empty if nothing is; a sender asks before it sends."""
    if headers is None:
        return ""
    if not isinstance(headers, dict):
        return "its headers are not a map"
    if len(headers) > MAX_HEADERS:
        return f"it has {len(headers)} headers, more than {MAX_HEADERS}"
    size = 0
    for key, text in headers.items():
        if not isinstance(key, str) or not isinstance(text, str):
            return f"its header {key!r:.40} is not text to text"
        size += len(key) + len(text)
    return f"its headers have {size} characters, more than {MAX_HEADER_BYTES}" if size > MAX_HEADER_BYTES else ""


def _send_fault(message: Message) -> str:
    if not 0 < len(message.id) <= MAX_NAME or len(message.task) > MAX_NAME:
        return f"its id or task is not a text of 1 to {MAX_NAME} characters"
    for instant in (message.due_at, message.expires_at):
        if instant is not None and not 0 <= instant < LATEST:
            return f"{instant!r} is not a number of seconds since 1970"
    return ""


def _fault(fields: Sequence[Any]) -> str:
    """What is wrong with the fields of a message, empty if nothing is."""
    _, id, task, attempt, sent_at, due_at, expires_at, content_type, _, body = fields[:10]
    if not (_is_name(id) and _is_name(task) and _is_name(content_type)):
        return f"its id, task or content type is not a text of 1 to {MAX_NAME} characters"
    if type(attempt) is not int or not 1 <= attempt < 1 << 31:
        return f"its attempt {attempt!r:.40} is not a positive integer"
    if not (
        _is_instant(sent_at)
        and (due_at is None or _is_instant(due_at))
        and (expires_at is None or _is_instant(expires_at))
    ):
        return "an instant is not a number of seconds since 1970"
    if type(body) is not bytes:
        return "its body is not bytes"
    return ""


def _is_name(value: Any) -> bool:
    return type(value) is str and 0 < len(value) <= MAX_NAME


def _is_instant(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < LATEST
