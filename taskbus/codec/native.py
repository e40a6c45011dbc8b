"""The types that neither msgpack nor JSON has: how each is written as a short text, and read back.

Both encodings share this table. What is not in it but known (enums, dataclasses, models) is taken apart by ``plain``.
"""

import dataclasses
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any, NamedTuple
from uuid import UUID

from taskbus.codec.limits import MAX_INT_BITS, SET_CODES, check_distinct
from taskbus.errors import DecodeError, EncodeError


class Tag(NamedTuple):
    """One tagged type: its msgpack extension code, its JSON key, and its text both ways."""

    code: int
    name: str
    kind: type
    write: Callable[[Any], str]
    read: Callable[[str], Any]


def _write_integer(value: int) -> str:
    if value.bit_length() > MAX_INT_BITS:
        raise EncodeError(f"an integer of {value.bit_length()} bits is beyond {MAX_INT_BITS}; send it as text or bytes")
    return format(value, "x")


def _read_integer(text: str) -> int:
    if len(text) > MAX_INT_BITS // 4 + 1:
        raise DecodeError(f"an integer of {len(text)} hexadecimal digits is too large")
    return int(text, 16)


def _write_duration(value: timedelta) -> str:
    return str(value // timedelta(microseconds=1))


def _read_duration(text: str) -> timedelta:
    return timedelta(microseconds=int(text))


# ``datetime`` stands before ``date``, its base class. The codes are part of the wire format: never reuse one.
TAGS = (
    Tag(1, "$datetime", datetime, datetime.isoformat, datetime.fromisoformat),
    Tag(2, "$date", date, date.isoformat, date.fromisoformat),
    Tag(3, "$time", time, time.isoformat, time.fromisoformat),
    Tag(4, "$timedelta", timedelta, _write_duration, _read_duration),
    Tag(5, "$uuid", UUID, str, UUID),
    Tag(6, "$decimal", Decimal, str, Decimal),
    Tag(9, "$path", PurePath, str, Path),
    Tag(10, "$int", int, _write_integer, _read_integer),
)
BY_TYPE = {tag.kind: tag for tag in TAGS}
BY_CODE = {tag.code: tag for tag in TAGS}
BY_NAME = {tag.name: tag for tag in TAGS}
SET_CODE, FROZENSET_CODE = SET_CODES


def tag_of(value: object) -> Tag | None:
    """The tag ``value`` travels under, None if it has none."""
    tag = BY_TYPE.get(type(value))
    if tag is None:
        tag = next((tag for tag in TAGS if isinstance(value, tag.kind)), None)
    return tag


def plain(value: Any) -> Any:
    """``value`` one step simpler: an enum's value, an object's fields as a dict.

    Raises ``TypeError`` if it is of no known kind.
    """
    kind: Any = type(value)
    if isinstance(value, Enum):
        return value.value
    names = _field_names(kind)
    if names is not None:
        return {name: getattr(value, attribute) for name, attribute in names}
    home = kind.__module__.partition(".")[0]
    if hasattr(kind, "__pydantic_serializer__") and hasattr(kind, "model_dump"):
        return {name: getattr(value, name) for name in kind.model_fields} | (value.model_extra or {})
    if home in ("pydantic", "pydantic_core") and kind.__name__.endswith(("Url", "Dsn")):
        return str(value)
    raise TypeError(f"{kind.__module__}.{kind.__qualname__}")


@lru_cache(maxsize=1024)
def _field_names(kind: Any) -> tuple[tuple[str, str], ...] | None:
    """(name in the encoded map, attribute) of each field that the constructor takes, None for other classes."""
    if dataclasses.is_dataclass(kind):
        return tuple((field.name, field.name) for field in dataclasses.fields(kind) if field.init)
    attributes = getattr(kind, "__attrs_attrs__", None)
    if attributes is not None:
        return tuple((field.alias, field.name) for field in attributes if field.init)
    if hasattr(kind, "__struct_config__") and hasattr(kind, "__struct_fields__"):
        return tuple((name, name) for name in kind.__struct_fields__)
    return None


def as_key(value: Any) -> Any:
    """``value`` as a set's member or a map's key: a list was a tuple there."""
    return tuple(as_key(item) for item in value) if isinstance(value, list) else value


def as_set(items: Any, kind: Callable[[list[Any]], Any]) -> Any:
    """A set or frozenset of decoded ``items``; the list, for a hint to make one, if they are objects in parts."""
    if not isinstance(items, list):
        raise DecodeError("a set is not written as an array")
    keys = [as_key(item) for item in items]
    if any(isinstance(key, dict) for key in keys):
        return items
    check_distinct(keys)
    return kind(keys)


def as_map(pairs: list[Any]) -> dict[Any, Any]:
    """A dict of decoded ``pairs``."""
    entries = [(as_key(key), value) for key, value in pairs]
    if any(isinstance(key, dict) for key, _ in entries):
        raise DecodeError("an object cannot be the key of a map; send a list of pairs")
    check_distinct(key for key, _ in entries)
    return dict(entries)
