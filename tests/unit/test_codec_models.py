"""Objects of pydantic, attrs and msgspec travel as plain values and are rebuilt by hint, where there is the library."""

import datetime as dt
from enum import Enum
from typing import Any
from uuid import UUID

import pytest

from taskbus import codec
from taskbus.errors import DecodeError, EncodeError

in_both = pytest.mark.parametrize("encoding", codec.CONTENT_TYPES)
NOON = dt.datetime(2026, 2, 1, 12, tzinfo=dt.UTC)


class Colour(Enum):
    RED = "red"


def rebuilt(hint: Any, value: Any, encoding: str) -> Any:
    convert = codec.converter(hint)
    assert convert is not None
    assert convert(value) == value
    return convert(codec.decode(codec.encode(value, encoding), encoding))


@in_both
def test_pydantic_models_arrive_with_what_is_nested_in_them(encoding: str) -> None:
    pydantic = pytest.importorskip("pydantic")
    inner = pydantic.create_model("Inner", at=(dt.datetime, ...), url=(pydantic.HttpUrl, ...))
    outer = pydantic.create_model(
        "Outer",
        id=(UUID, ...),
        number=(int, pydantic.Field(alias="theNumber")),
        inner=(list[inner], ...),  # type: ignore[valid-type]
        colour=(Colour, Colour.RED),
        pair=(tuple[int, str], (1, "a")),
        __config__=pydantic.ConfigDict(extra="allow"),
    )
    model = outer(id=UUID(int=7), theNumber=3, inner=[inner(at=NOON, url="https://example.org/a")], more=b"x")
    assert rebuilt(outer, model, encoding) == model
    assert rebuilt(dict[str, outer | None], {"a": model, "b": None}, encoding) == {"a": model, "b": None}  # type: ignore[valid-type]


def test_what_does_not_validate_is_refused() -> None:
    pydantic = pytest.importorskip("pydantic")
    model = pydantic.create_model("Model", id=(UUID, ...), secret=(pydantic.SecretStr, "x"))
    convert = codec.converter(model)
    assert convert is not None
    with pytest.raises(DecodeError, match=r"(?s)cannot make Model of .*valid UUID"):
        convert({"id": "x"})
    with pytest.raises(EncodeError, match=r"value\.secret: pydantic\.types\.SecretStr cannot be encoded"):
        codec.encode(model(id=UUID(int=7), secret=pydantic.SecretStr("x")))


@in_both
def test_attrs_objects_arrive(encoding: str) -> None:
    attrs = pytest.importorskip("attrs")
    point = attrs.make_class("Point", {"x": attrs.field(type=int), "_at": attrs.field(type=dt.date, default=None)})
    assert rebuilt(point, point(1, dt.date(2026, 2, 1)), encoding) == point(1, dt.date(2026, 2, 1))
    with pytest.raises(DecodeError, match="Point has no field 'q'"):
        codec.converter(point)({"x": 1, "q": 2})  # type: ignore[misc]


@in_both
def test_msgspec_structs_arrive(encoding: str) -> None:
    msgspec = pytest.importorskip("msgspec")
    struct = msgspec.defstruct("Row", [("a", int), ("at", dt.datetime), ("colour", Colour, Colour.RED)])
    assert rebuilt(struct, struct(1, NOON), encoding) == struct(1, NOON)
    with pytest.raises(DecodeError, match=r"cannot make Row of .*Expected `int`"):
        codec.converter(struct)({"a": "x"})  # type: ignore[misc]
