"""Values of the user's in a form that any tool can show: short texts, and plain JSON."""

from collections.abc import Mapping
from typing import Any

from taskbus import codec
from taskbus.codec import celery as celerys
from taskbus.errors import DecodeError
from taskbus.message import Message
from taskbus.outcome import Failure

LONGEST = 1024
"""Characters of a text of the user's in an event, as Celery cuts them."""
MAX_BYTES = 65_536
"""Bytes that are unpacked to be shown; of what is larger only the size is told."""


def call_of(message: Message) -> tuple[list[Any], dict[str, Any]]:
    """Arguments of a call as plain values; as one text that says why, where they cannot be read."""
    if len(message.body) > MAX_BYTES:
        return [f"<{len(message.body)} bytes>"], {}
    try:
        if message.celery is not None:
            args, kwargs, _ = celerys.call(celerys.decode(message.body, message.content_type))
        else:
            args, kwargs = codec.decode(message.body, message.content_type)
        return list(args), dict(kwargs)
    except (DecodeError, TypeError, ValueError):
        return [f"<{len(message.body)} bytes that cannot be read>"], {}


def celery_headers(message: Message) -> Mapping[str, Any]:
    """The headers of a message that came by Celery's wire; none of another."""
    headers: Mapping[str, Any] = (message.celery or {}).get("headers") or {}
    return headers


def texts_of(message: Message) -> tuple[str, str]:
    """Arguments of a call as Celery's ``argsrepr`` and ``kwargsrepr``: the sender's own, where there are such."""
    headers = celery_headers(message)
    if isinstance(headers.get("argsrepr"), str) and isinstance(headers.get("kwargsrepr"), str):
        return shortened(headers["argsrepr"]), shortened(headers["kwargsrepr"])
    args, kwargs = call_of(message)
    return shortened(repr(tuple(args))), shortened(repr(kwargs))


def result_text(data: bytes | None, content_type: str) -> str:
    """A return value as text; a task that keeps none has returned it all the same, and it is not known here."""
    if data is None:
        return "None"
    if len(data) > MAX_BYTES:
        return f"<{len(data)} bytes>"
    try:
        return shortened(repr(codec.decode(data, content_type)))
    except DecodeError:
        return f"<{len(data)} bytes that cannot be read>"


def error_text(failure: Failure) -> str:
    """An error as its ``repr`` would look: tools take the class from in front of the parenthesis."""
    return shortened(f"{failure.type.rpartition('.')[2] or 'Exception'}({failure.message!r})")


def counted(number: int, thing: str) -> str:
    """ "1 task", "2 tasks"."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def shortened(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def plain(value: Any) -> Any:
    """``value`` in JSON's own types; what is none of them as its ``repr``."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [plain(item) for item in value]
        case _:
            return shortened(repr(value))
