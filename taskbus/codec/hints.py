"""From a type hint to a function that rebuilds what the hint says from decoded plain values.

Built once per parameter, so that a call pays only for what its hints need; most need nothing. It converts, it does not
validate: a value that already fits is passed on as it is, and a hint it does not understand asks for nothing.
"""

import collections.abc
import dataclasses
import inspect
import sys
import types
import typing
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any, NewType, TypeVar, Union, get_args, get_origin
from uuid import UUID

from taskbus.codec.native import as_key
from taskbus.errors import DecodeError

Convert = Callable[[Any], Any]

REFUSALS = (TypeError, ValueError, LookupError, ArithmeticError, AttributeError)
"""What constructors raise for values they do not take."""

_WRAPPERS = {typing.Annotated, typing.Required, typing.NotRequired, typing.ClassVar, typing.Final}
_LISTS = {
    list,
    collections.abc.Sequence,
    collections.abc.MutableSequence,
    collections.abc.Iterable,
    collections.abc.Collection,
}
_SETS = {set: set, collections.abc.Set: set, collections.abc.MutableSet: set, frozenset: frozenset}
_CONTAINERS = {dict, list, tuple, set, frozenset}
_MAPS = {dict, collections.abc.Mapping, collections.abc.MutableMapping}


def converter(hint: Any) -> Convert | None:
    """A function that turns a decoded value into what ``hint`` says; None if decoded values will do.

    The function raises ``DecodeError`` for a value that cannot be turned; what a class of the user's raises when it
    is built, other than ``REFUSALS``, passes through.
    """
    hint = _strip(hint)
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return _union(get_args(hint))
    if origin is not None:
        return _parametrised(origin, get_args(hint))
    if isinstance(hint, type):
        return _class(hint)
    if type(hint).__name__ == "TypeAliasType":
        return _alias(hint)
    return None


def _alias(alias: Any) -> Convert:
    """``type Name = ...`` may name itself, so what it stands for is looked at when a value comes."""
    built: list[Convert | None] = []

    def convert(value: Any) -> Any:
        if not built:
            built.append(converter(alias.__value__))
        return value if built[0] is None else built[0](value)

    return convert


def _strip(hint: Any) -> Any:
    """``hint`` without the layers that say nothing about the value's type."""
    while True:
        if get_origin(hint) in _WRAPPERS:
            hint = get_args(hint)[0] if get_args(hint) else Any
        elif isinstance(hint, NewType):
            hint = hint.__supertype__
        elif isinstance(hint, TypeVar):
            hint = hint.__bound__ or Any
        elif isinstance(hint, dataclasses.InitVar):
            hint = hint.type
        else:
            return hint


def _class(kind: type) -> Convert | None:
    leaf = _LEAVES.get(kind)
    if leaf is not None:
        return _guard(kind, leaf)
    if kind in (tuple, set, frozenset):
        return _guard(kind, _from_items(kind))
    if issubclass(kind, Enum):
        return _guard(kind, lambda value: kind(as_key(value)))
    if issubclass(kind, PurePath):
        return _guard(kind, lambda value: kind(value) if isinstance(value, (str, PurePath)) else _expect(kind, value))
    if typing.is_typeddict(kind):
        return _typed_dict(kind)
    return _model(kind)


def _guard(kind: type, build: Convert) -> Convert:
    """``build``, for values that are no ``kind`` yet, with one kind of error."""

    def convert(value: Any) -> Any:
        if isinstance(value, kind):
            return value
        try:
            return build(value)
        except DecodeError:
            raise
        except REFUSALS as error:
            raise DecodeError(f"cannot make {kind.__qualname__} of {value!r:.80}: {error}") from error

    return convert


def _expect(kind: type, value: Any) -> Any:
    raise DecodeError(f"expected {kind.__qualname__}, got {value!r:.80}")


def _from_text(kind: Any, read: Convert) -> Convert:
    return lambda value: read(value) if isinstance(value, str) else _expect(kind, value)


def _from_items(kind: Any) -> Convert:
    return lambda value: kind(value) if isinstance(value, (list, tuple, set, frozenset)) else _expect(kind, value)


def _from_number(value: Any) -> timedelta:
    return timedelta(seconds=value) if isinstance(value, (int, float)) else _expect(timedelta, value)


def _decimal(value: Any) -> Decimal:
    return Decimal(value) if type(value) in (int, str) else Decimal(repr(value))


# What a sender that knows no tags (another language, a command line) writes for our tagged types.
_LEAVES: dict[Any, Convert] = {
    datetime: _from_text(datetime, datetime.fromisoformat),
    date: _from_text(date, date.fromisoformat),
    time: _from_text(time, time.fromisoformat),
    timedelta: _from_number,
    UUID: _from_text(UUID, UUID),
    Decimal: _decimal,
    Path: _from_text(Path, Path),
    PurePath: _from_text(PurePath, Path),
}


def _union(members: tuple[Any, ...]) -> Convert | None:
    """The first member that takes the value, those first that need no converting."""
    plain = [get_origin(member) or member for member in map(_strip, members)]
    kinds = tuple(kind for kind in plain if isinstance(kind, type))
    as_is = tuple(kind for kind in kinds if kind not in _CONTAINERS)
    attempts = [found for member in members if (found := converter(member)) is not None]

    def convert(value: Any) -> Any:
        if value is None or isinstance(value, as_is):
            return value
        errors = []
        for attempt in attempts:
            try:
                return attempt(value)
            except DecodeError as error:
                errors.append(str(error))
        if isinstance(value, kinds):
            return value
        raise DecodeError("; ".join(errors))

    return convert if attempts else None


def _parametrised(origin: Any, args: tuple[Any, ...]) -> Convert | None:
    if origin in _LISTS:
        return _list(args)
    if origin in _SETS:
        return _set(_SETS[origin], converter(args[0]))
    if origin in _MAPS:
        return _map(converter(args[0]), converter(args[1]))
    if origin is tuple:
        return _tuple(args)
    return _class(origin) if isinstance(origin, type) else None


def _list(args: tuple[Any, ...]) -> Convert | None:
    item = converter(args[0])
    if item is None:
        return None
    return lambda value: [item(each) for each in value] if isinstance(value, (list, tuple)) else _expect(list, value)


def _set(kind: Any, item: Convert | None) -> Convert:
    def convert(value: Any) -> Any:
        if not isinstance(value, (list, tuple, set, frozenset)):
            return _expect(kind, value)
        try:
            return kind(value if item is None else map(item, value))
        except TypeError as error:  # a member that cannot be hashed
            raise DecodeError(f"cannot make {kind.__qualname__} of {value!r:.80}: {error}") from error

    return convert


def _map(key: Convert | None, item: Convert | None) -> Convert | None:
    if key is None and item is None:
        return None

    def convert(value: Any) -> Any:
        if not isinstance(value, dict):
            return _expect(dict, value)
        return {key(name) if key else name: item(each) if item else each for name, each in value.items()}

    return convert


def _tuple(args: tuple[Any, ...]) -> Convert:
    endless = len(args) == 2 and args[1] is Ellipsis
    converts = [converter(arg) for arg in (args[:1] if endless else () if args == ((),) else args)]

    def convert(value: Any) -> Any:
        if not isinstance(value, (list, tuple)):
            return _expect(tuple, value)
        if not endless and len(value) != len(converts):
            raise DecodeError(f"expected a tuple of {len(converts)}, got {len(value)} items")
        each = converts * len(value) if endless else converts
        return tuple(item(part) if item else part for item, part in zip(each, value, strict=True))

    return convert


# --- classes with fields -----------------------------------------------------------------------------------------


def _model(kind: type) -> Convert | None:
    if dataclasses.is_dataclass(kind):
        return _fields(kind, tuple(field.name for field in dataclasses.fields(kind) if field.init))
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return _named_tuple(kind)
    if hasattr(kind, "__pydantic_validator__") and hasattr(kind, "model_validate"):
        return _guard(kind, lambda value: kind.model_validate(value, by_name=True, by_alias=True))
    attributes = getattr(kind, "__attrs_attrs__", None)
    if attributes is not None:
        return _fields(kind, tuple(field.alias for field in attributes if field.init))
    if hasattr(kind, "__struct_config__") and "msgspec" in sys.modules:
        return _guard(kind, lambda value: sys.modules["msgspec"].convert(value, kind, from_attributes=True))
    return None


@lru_cache(maxsize=4096)
def _field_converts(kind: Any) -> dict[str, Convert]:
    """The converters of the fields that need one. Not built with the class's own, or a tree's node would never end."""
    try:
        hints = typing.get_type_hints(kind, include_extras=True)
    except (NameError, TypeError, AttributeError):
        hints = _resolvable(kind)
    if hasattr(kind, "__attrs_attrs__"):
        hints = {field.alias: hints[field.name] for field in kind.__attrs_attrs__ if field.name in hints}
    found = {name: converter(hint) for name, hint in hints.items()}
    return {name: convert for name, convert in found.items() if convert is not None}


def _resolvable(kind: type) -> dict[str, Any]:
    """The hints that can be resolved here, when some name a type that was only imported for type checkers."""
    hints: dict[str, Any] = {}
    for base in reversed(kind.__mro__):
        module = vars(sys.modules.get(base.__module__, types))
        for name, hint in inspect.get_annotations(base).items():
            try:
                holder = types.SimpleNamespace(__annotations__={name: hint})
                hints.update(typing.get_type_hints(holder, globalns=dict(module), include_extras=True))
            except (NameError, TypeError, AttributeError):
                continue
    return hints


def _fields(kind: type, names: tuple[str, ...]) -> Convert:
    known = frozenset(names)

    def build(value: Any) -> Any:
        if not isinstance(value, dict):
            return _expect(kind, value)
        if not known.issuperset(value):
            raise DecodeError(f"{kind.__qualname__} has no field {min(map(str, value.keys() - known))!r}")
        return kind(**_converted(kind, value))

    return _guard(kind, build)


def _converted(kind: type, value: dict[str, Any]) -> dict[str, Any]:
    converts = _field_converts(kind)
    fields = dict(value)
    for name in converts.keys() & fields.keys():
        try:
            fields[name] = converts[name](fields[name])
        except DecodeError as error:
            raise DecodeError(f"{kind.__qualname__}.{name}: {error}") from error
    return fields


def _typed_dict(kind: type) -> Convert:
    return lambda value: _converted(kind, value) if isinstance(value, dict) else _expect(kind, value)


def _named_tuple(kind: Any) -> Convert:
    def build(value: Any) -> Any:
        if not isinstance(value, (list, tuple)):
            return _expect(kind, value)
        if len(value) > len(kind._fields):
            raise DecodeError(f"{kind.__qualname__} has {len(kind._fields)} fields, got {len(value)} items")
        return kind(**_converted(kind, dict(zip(kind._fields, value, strict=False))))

    return _guard(kind, build)
