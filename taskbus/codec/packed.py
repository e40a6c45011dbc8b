"""Values as msgpack: tagged types are extensions holding a short text, sets extensions holding an array."""

from enum import Enum
from typing import Any

import msgpack

from taskbus.codec import native
from taskbus.codec.limits import MAX_DEPTH, check_msgpack
from taskbus.errors import DecodeError


def encode(value: Any) -> bytes:
    """The msgpack bytes. Raises what msgpack and ``native`` raise; ``codec.encode`` explains it."""
    data = _pack(value)
    if len(data) > MAX_DEPTH:
        check_msgpack(data)
    return data


def _pack(value: Any) -> bytes:
    try:
        return msgpack.packb(value, default=_extend)  # type: ignore[no-any-return]
    except UnicodeEncodeError:  # a file name that is not UTF-8: rare, and slower to write
        return msgpack.packb(value, default=_extend, unicode_errors="surrogatepass")  # type: ignore[no-any-return]


def decode(data: bytes) -> Any:
    """The value; raises ``DecodeError``."""
    check_msgpack(data)
    try:
        return _parse(data)
    except DecodeError:
        raise
    except Exception as error:  # msgpack raises a dozen kinds, a tag's reader as many
        raise DecodeError(f"not msgpack: {type(error).__name__}: {error}"[:500]) from error


def _parse(data: bytes) -> Any:
    try:
        return msgpack.unpackb(data, **_READING)
    except ValueError as error:
        if "strict_map_key" not in str(error):
            raise
    # Keys other than text cannot be trusted to hash well, so their dicts are built with care.
    return msgpack.unpackb(data, **_READING, strict_map_key=False, object_pairs_hook=native.as_map)


def _extend(value: Any) -> Any:
    if isinstance(value, (set, frozenset)):
        code = native.FROZENSET_CODE if isinstance(value, frozenset) else native.SET_CODE
        return msgpack.ExtType(code, _pack(list(value)))
    tag = native.tag_of(value)
    if tag is None or isinstance(value, Enum):
        return native.plain(value)
    return msgpack.ExtType(tag.code, tag.write(value).encode("utf-8", "surrogateescape"))


def _read(code: int, payload: bytes) -> Any:
    tag = native.BY_CODE.get(code)
    if tag is not None:
        return tag.read(payload.decode("utf-8", "surrogateescape"))
    if code == native.SET_CODE:
        return native.as_set(_parse(payload), set)
    if code == native.FROZENSET_CODE:
        return native.as_set(_parse(payload), frozenset)
    raise DecodeError(f"msgpack extension {code} is not one of TaskBus's")


# msgpack's own timestamps, which we never write, arrive from other programs as aware datetimes.
_READING: dict[str, Any] = {"ext_hook": _read, "unicode_errors": "surrogatepass", "timestamp": 3}
