"""Values as JSON: a tagged type is a map with one key that starts with a dollar sign, ``{"$date": "2026-02-01"}``.

A genuine map that looks like that, or has keys other than text, is written as ``{"$map": [[key, value], ...]}``. What
another program sent under an unknown ``$`` key is left as it is.
"""

import base64
import json
import math
from collections.abc import Callable
from enum import Enum
from typing import Any

from taskbus.codec import native
from taskbus.codec.limits import MAX_DEPTH, MAX_ITEMS, check_json
from taskbus.errors import DecodeError, EncodeError


def encode(value: Any) -> bytes:
    """The JSON text in UTF-8. Raises what ``json`` and ``native`` raise; ``codec.encode`` explains it."""
    tree = _tree(value, MAX_DEPTH)
    try:
        data = json.dumps(tree, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:  # a file name that is not UTF-8; escapes can carry it
        data = json.dumps(tree, separators=(",", ":")).encode()
    check_json(data)
    return data


def decode(data: bytes) -> Any:
    """The value; raises ``DecodeError``."""
    check_json(data)
    try:
        return json.loads(data, object_hook=_read)
    except DecodeError:
        raise
    except Exception as error:  # a tag's reader raises many kinds
        raise DecodeError(f"not JSON: {type(error).__name__}: {error}"[:500]) from error


def _tree(value: Any, depth: int) -> Any:
    """``value`` of nothing but what JSON has."""
    if value is None or isinstance(value, (str, bool)):
        return value
    if depth < 0:
        raise EncodeError(f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, int):
        return value if value.bit_length() <= 64 else {"$int": native.BY_NAME["$int"].write(value)}
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": repr(float(value))}
    if isinstance(value, dict):
        return _map(value, depth)
    if isinstance(value, (list, tuple)):
        return [_tree(item, depth - 1) for item in value]
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, (set, frozenset)):
        name = "$frozenset" if isinstance(value, frozenset) else "$set"
        return {name: [_tree(item, depth - 2) for item in value]}
    tag = native.tag_of(value)
    if tag is None or isinstance(value, Enum):
        return _tree(native.plain(value), depth - 1)
    return {tag.name: tag.write(value)}


def _map(value: dict[Any, Any], depth: int) -> dict[str, Any]:
    if all(isinstance(key, str) for key in value) and not (len(value) == 1 and next(iter(value)).startswith("$")):
        return {key: _tree(item, depth - 1) for key, item in value.items()}
    return {"$map": [[_tree(key, depth - 3), _tree(item, depth - 3)] for key, item in value.items()]}


def _read(value: dict[str, Any]) -> Any:
    if len(value) != 1:
        return value
    ((name, written),) = value.items()
    if not name.startswith("$"):
        return value
    tag = native.BY_NAME.get(name)
    if tag is not None:
        if not isinstance(written, str):
            raise DecodeError(f"{name} holds {type(written).__name__}, not text")
        return tag.read(written)
    reader = _READERS.get(name)
    return value if reader is None else reader(written)


def _pairs(written: Any) -> dict[Any, Any]:
    if not isinstance(written, list) or len(written) > MAX_ITEMS:
        raise DecodeError("$map holds no array")
    return native.as_map(written)


_READERS: dict[str, Callable[[Any], Any]] = {
    "$set": lambda written: native.as_set(written, set),
    "$frozenset": lambda written: native.as_set(written, frozenset),
    "$map": _pairs,
    "$bytes": lambda written: base64.b64decode(written, validate=True),
    "$float": lambda written: {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[written],
}
