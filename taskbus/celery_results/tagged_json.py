"""JSON as kombu's serializer writes and reads it: what JSON has not is a map ``{"__type__": ..., "__value__": ...}``.

Reading makes nothing but values of the types named here; unknown tags are left as the maps they are.
"""

import base64
import json
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from taskbus.codec.limits import check_json
from taskbus.errors import DecodeError, EncodeError


def dumps(value: Any) -> str:
    """The JSON text, with kombu's separators; raises ``EncodeError``."""
    try:
        return json.dumps(value, default=_tagged)
    except (TypeError, ValueError, RecursionError) as error:
        raise EncodeError(f"it has no form in Celery's JSON: {error}") from error


def loads(text: bytes | str) -> Any:
    """The value; raises ``DecodeError`` for what is no JSON, or is nested too deeply."""
    encoded = text.encode() if isinstance(text, str) else text
    try:
        check_json(encoded)
        return json.loads(encoded, object_hook=_untagged)
    except DecodeError:
        raise
    except Exception as error:  # a tag's reader raises many kinds
        raise DecodeError(f"not Celery's JSON: {type(error).__name__}: {error}"[:500]) from error


def _tagged(value: Any) -> Any:
    match value:
        case datetime():
            return _tag("datetime", value.isoformat())
        case date():
            return _tag("date", value.isoformat())
        case time():
            return _tag("time", value.isoformat())
        case Decimal():
            return _tag("decimal", str(value))
        case UUID():
            return _tag("uuid", {"hex": value.hex})
        case bytes() | bytearray():
            try:
                return _tag("bytes", value.decode("utf-8"))
            except UnicodeDecodeError:
                return _tag("base64", base64.b64encode(value).decode())
        case timedelta():
            return value.total_seconds()
        case set() | frozenset():
            return list(value)
    if hasattr(value, "__fspath__"):
        return value.__fspath__()
    raise TypeError(f"{type(value).__qualname__} is none of its types")


def _tag(name: str, value: Any) -> dict[str, Any]:
    return {"__type__": name, "__value__": value}


def _untagged(found: dict[str, Any]) -> Any:
    if found.keys() != {"__type__", "__value__"}:
        return found
    reader = _READERS.get(found["__type__"]) if isinstance(found["__type__"], str) else None
    return found if reader is None else reader(found["__value__"])


_READERS: dict[str, Callable[[Any], Any]] = {
    "datetime": datetime.fromisoformat,
    "date": lambda text: datetime.fromisoformat(text).date(),
    "time": time.fromisoformat,
    "decimal": Decimal,
    "uuid": lambda fields: UUID(fields["hex"]),
    "bytes": lambda text: text.encode("utf-8"),
    "base64": lambda text: base64.b64decode(text, validate=True),
}
