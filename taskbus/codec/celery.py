"""Bodies that Celery made, and bodies for Celery: read with our own limits, never pickle.

A body is ``[args, kwargs, embed]`` in the encoding that its MIME type names, perhaps compressed. Which both are is said
by one text, ``kind``, which is a message's ``content_type``. Source: Celery's message protocol 2, kombu's serializers.
"""

import base64
import bz2
import json
import lzma
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime, time
from decimal import Decimal
from importlib import import_module
from typing import Any, Protocol
from uuid import UUID

from taskbus.codec import native, packed
from taskbus.codec.limits import MAX_DEPTH, MAX_ITEMS, check_json
from taskbus.errors import DecodeError, EncodeError

PREFIX = "celery:"
JSON = "application/json"
MAX_BYTES = 16 << 20
"""Bytes that a compressed body may become."""


def kind(content_type: str, compression: str = "") -> str:
    """The ``content_type`` of a message with such a body, whether it will be read or not."""
    return f"{PREFIX}{compression[:100]}:{content_type[:100]}"


def decode(body: bytes, content_type: str) -> Any:
    """The value in a body whose ``kind`` this is.

    Raises ``DecodeError`` for bytes that are none, and for what is never read, with what its sender must do.
    """
    compression, _, mime = content_type.removeprefix(PREFIX).partition(":")
    read = _READERS.get(mime)
    if read is None:
        raise DecodeError(f"content type {mime!r} {_ADVICE.get(mime, _UNKNOWN)}")
    return read(_decompress(body, compression) if compression else body)


def call(value: Any) -> tuple[list[Any], dict[str, Any], dict[str, Any]]:
    """Args, kwargs and embed of a decoded body. Raises ``DecodeError`` where it is none of a task."""
    args, kwargs, embed, *_ = (*value, None, None) if isinstance(value, list) and len(value) > 1 else (None, None, None)
    if not isinstance(args, list) or not isinstance(kwargs, dict) or not isinstance(embed, dict | None):
        raise DecodeError("the body is not Celery's [args, kwargs, embed]")
    return args, kwargs, embed or {}


def encode(args: Sequence[Any], kwargs: Mapping[str, Any], embed: Mapping[str, Any]) -> bytes:
    """The body of a call, as JSON with Celery's typed values. Raises ``EncodeError``."""
    try:
        body = json.dumps([list(args), kwargs, embed], default=typed).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise EncodeError(f"it cannot travel as Celery's JSON: {error}") from error
    check_json(body)
    return body


# --- encodings -------------------------------------------------------------------------------------------------------


def _from_json(body: bytes) -> Any:
    check_json(body)
    try:
        return json.loads(body, object_hook=_plain)
    except DecodeError:
        raise
    except Exception as error:  # a typed value's reader raises many kinds
        raise DecodeError(f"not Celery's JSON: {type(error).__name__}: {error}"[:500]) from error


def _from_yaml(body: bytes) -> Any:
    try:
        yaml = import_module("yaml")
    except ModuleNotFoundError:
        raise DecodeError("the body is YAML; install what reads it: pip install 'taskbus[yaml]'") from None
    try:
        value = yaml.load(body, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        _check_size(value)
    except DecodeError:
        raise
    except Exception as error:  # PyYAML lets ValueErrors of its constructors through
        raise DecodeError(f"not YAML: {type(error).__name__}: {error}"[:500]) from error
    return value


def _check_size(value: Any) -> None:
    """An alias stands for all that it names: what is small in YAML may be exponentially large."""
    left, level = MAX_ITEMS, [value]
    for _ in range(MAX_DEPTH + 1):
        inner: list[Any] = []
        for each in level:
            children = [*each, *each.values()] if isinstance(each, dict) else each if isinstance(each, list) else ()
            left -= len(children)
            if left < 0:
                raise DecodeError(f"more than {MAX_ITEMS} items")
            inner += children
        if not inner:
            return
        level = inner
    raise DecodeError(f"nested deeper than {MAX_DEPTH} levels")


_READERS: dict[str, Callable[[bytes], Any]] = {
    JSON: _from_json,
    "application/x-msgpack": packed.decode,
    "application/x-yaml": _from_yaml,
}
_ADVICE = {
    "application/x-python-serialize": "is pickle, which may run any code and is never read here; "
    "let its sender set task_serializer = 'json'",
    "application/data": "is signed by Celery's auth serializer, which is not read here; "
    "let its sender set task_serializer = 'json'",
}


def _known(names: Mapping[str, Any]) -> str:
    return ", ".join(names)


_UNKNOWN = f"is not one of a task; {_known(_READERS)} are read"


# --- typed values: {"__type__": ..., "__value__": ...}. Source: kombu.utils.json --------------------------------------


def _plain(value: dict[str, Any]) -> Any:
    if value.keys() != {"__type__", "__value__"}:
        return value
    read = _TYPES.get(value["__type__"]) if isinstance(value["__type__"], str) else None
    if read is None:
        raise DecodeError(f"a value of type {value['__type__']!r:.100} is unknown; {_known(_TYPES)} are read")
    return read(value["__value__"])


_TYPES: dict[str, Callable[[Any], Any]] = {
    "datetime": datetime.fromisoformat,
    "date": lambda text: datetime.fromisoformat(text).date(),
    "time": time.fromisoformat,
    "decimal": Decimal,
    "uuid": lambda fields: UUID(fields["hex"]),
    "bytes": lambda text: text.encode(),
    "base64": lambda text: base64.b64decode(text, validate=True),
}


def typed(value: Any) -> Any:
    """What JSON has not, as Celery writes it; other objects as ``codec`` takes them apart."""
    if isinstance(value, datetime | date | time):
        name = "datetime" if isinstance(value, datetime) else "date" if isinstance(value, date) else "time"
        return {"__type__": name, "__value__": value.isoformat()}
    if isinstance(value, Decimal):
        return {"__type__": "decimal", "__value__": str(value)}
    if isinstance(value, UUID):
        return {"__type__": "uuid", "__value__": {"hex": value.hex}}
    if isinstance(value, bytes | bytearray | memoryview):
        raw = bytes(value)
        with suppress(UnicodeDecodeError):
            return {"__type__": "bytes", "__value__": raw.decode()}
        return {"__type__": "base64", "__value__": base64.b64encode(raw).decode()}
    if isinstance(value, set | frozenset):
        return list(value)
    tag = native.tag_of(value)
    return tag.write(value) if tag is not None else native.plain(value)


# --- compression: by MIME type. Source: kombu.compression ------------------------------------------------------------


class _Decompressor(Protocol):
    """As of ``bz2``, ``lzma`` and ``zstd``: it gives no more than it is asked for."""

    @property
    def eof(self) -> bool: ...

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


def _decompress(body: bytes, compression: str) -> bytes:
    """Raises ``DecodeError`` before more than ``MAX_BYTES`` were made."""
    if compression not in _DECOMPRESSORS:
        raise DecodeError(f"compression {compression!r} is unknown; {_known(_DECOMPRESSORS)} are read")
    try:
        plain, is_whole = _DECOMPRESSORS[compression](body)
    except DecodeError:
        raise
    except ModuleNotFoundError as error:
        raise DecodeError(f"the body is compressed as {compression!r}; install what reads it: {error.name}") from None
    except Exception as error:  # each library has errors of its own
        raise DecodeError(f"not {compression}: {type(error).__name__}: {error}"[:500]) from error
    if len(plain) > MAX_BYTES:
        raise DecodeError(f"{len(body)} bytes of {compression} become more than {MAX_BYTES}")
    if not is_whole:
        raise DecodeError(f"not {compression}: the bytes end too early")
    return plain


def _by(decompressor: _Decompressor, body: bytes) -> tuple[bytes, bool]:
    plain = decompressor.decompress(body, MAX_BYTES + 1)
    return plain, decompressor.eof


def _zlib(body: bytes) -> tuple[bytes, bool]:
    decompressor = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # kombu's "gzip" is zlib; others send true gzip
    plain = decompressor.decompress(body, MAX_BYTES + 1)
    return plain, decompressor.eof


def _zstd(body: bytes) -> tuple[bytes, bool]:
    try:
        module = import_module("compression.zstd")
    except ModuleNotFoundError:
        module = import_module("backports.zstd")
    return _by(module.ZstdDecompressor(), body)


def _brotli(body: bytes) -> tuple[bytes, bool]:
    decompressor = import_module("brotli").Decompressor()
    plain = decompressor.process(body, output_buffer_limit=MAX_BYTES + 1)
    return plain, decompressor.is_finished()


_DECOMPRESSORS: dict[str, Callable[[bytes], tuple[bytes, bool]]] = {
    "application/x-gzip": _zlib,
    "application/x-bz2": lambda body: _by(bz2.BZ2Decompressor(), body),
    "application/x-lzma": lambda body: _by(lzma.LZMADecompressor(), body),
    "application/zstd": _zstd,
    "application/x-brotli": _brotli,
}
