"""Arguments and results as bytes and back: msgpack or JSON, never pickle, and nothing is imported by a name in them.

Plain values travel as they are. Datetimes, dates, times, timedeltas, UUIDs, Decimals, sets, frozensets, paths, integers
beyond 64 bits and maps with keys other than text are tagged, and arrive as what they were without any hint (an aware
datetime keeps its offset, not the name of its zone). Dataclasses, enums, named tuples, pydantic, attrs and msgspec
objects travel as plain values and are rebuilt where a type hint asks for them (``converter``). Tuples arrive as lists
unless a hint, a set or a map's key says otherwise; so does a set of objects.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from taskbus.codec import celery, packed, text
from taskbus.codec.explain import explain
from taskbus.codec.hints import converter
from taskbus.errors import DecodeError, EncodeError

CONTENT_TYPES = ("msgpack", "json")
MAX_BYTES = 64 << 20
"""Longest encoding, in bytes, that is made or read where nothing shorter is asked for."""

__all__ = ["CONTENT_TYPES", "MAX_BYTES", "converter", "decode", "encode", "encode_call"]


def encode(value: Any, content_type: str = "msgpack") -> bytes:
    """The bytes of ``value``; whatever is returned can be decoded again.

    Raises ``EncodeError`` that says where in the value the trouble is, and of which type.
    """
    return _encode(value, content_type, ("value",))


def encode_call(args: Sequence[Any], kwargs: Mapping[str, Any], content_type: str = "msgpack") -> bytes:
    """The bytes of ``[args, kwargs]``, a message's body; an ``EncodeError`` names the argument."""
    return _encode((args, kwargs), content_type, ("args", "kwargs"))


def decode(data: bytes, content_type: str = "msgpack", *, max_bytes: int = MAX_BYTES) -> Any:
    """The value in ``data``. Hostile bytes cost time and memory in proportion to their length, and no more.

    Of a body that Celery made it is ``[args, kwargs]``.

    Raises ``DecodeError`` if they are malformed, larger than ``max_bytes``, or deeper or more than ``limits`` says.
    """
    if len(data) > max_bytes:
        raise DecodeError(f"{len(data)} bytes are more than the {max_bytes} allowed")
    if content_type == "msgpack":
        return packed.decode(data)
    if content_type == "json":
        return text.decode(data)
    if content_type.startswith(celery.PREFIX):
        return list(celery.call(celery.decode(data, content_type))[:2])
    raise DecodeError(f"content type {content_type[:100]!r} is unknown; TaskBus reads {' and '.join(CONTENT_TYPES)}")


def _encode(value: Any, content_type: str, roots: tuple[str, ...]) -> bytes:
    encode_as = _ENCODERS.get(content_type)
    if encode_as is None:
        raise EncodeError(f"content type {content_type!r} is unknown; use {' or '.join(CONTENT_TYPES)}")
    try:
        data = encode_as(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise EncodeError(explain(value, roots, error)) from error
    if len(data) > MAX_BYTES:
        raise EncodeError(f"{len(data)} bytes are more than {MAX_BYTES}; store them elsewhere, and send where")
    return data


_ENCODERS = {"msgpack": packed.encode, "json": text.encode}
