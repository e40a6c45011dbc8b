"""The codec: what goes in comes out, in both encodings; hostile bytes come out as ``DecodeError``."""

import base64
import json
import math
import pickle
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskbus import codec
from taskbus.codec import limits
from taskbus.errors import DecodeError, EncodeError

ENCODINGS = list(codec.CONTENT_TYPES)
in_both = pytest.mark.parametrize("encoding", ENCODINGS)


def round_trip(value: Any, encoding: str) -> Any:
    return codec.decode(codec.encode(value, encoding), encoding)


offsets = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
hashable = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.datetimes()
    | st.datetimes(timezones=offsets)
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.uuids()
    | st.decimals(allow_nan=False)
    | st.integers(-(1 << 500), 1 << 500)
    | st.sampled_from([Path("/a/b"), Path("x"), Path("caf\udce9"), Path("")])
)
keys = hashable | st.tuples(hashable, hashable) | st.frozensets(hashable, max_size=3)
values = st.recursive(
    hashable,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(), inner, max_size=4)
        | st.dictionaries(keys, inner, max_size=4)
        | st.sets(keys, max_size=4)
        | st.frozensets(keys, max_size=4)
    ),
    max_leaves=20,
)


def same(left: Any, right: Any) -> bool:
    """Equal, and of equal types all the way down: ``1``, ``True`` and ``1.0`` differ here."""
    if type(left) is not type(right):
        return False
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return bool(left == right)


@in_both
@settings(max_examples=300)
@given(value=values)
def test_values_arrive_as_they_were_sent(encoding: str, value: Any) -> None:
    assert same(round_trip(value, encoding), value)


@in_both
@given(value=st.dictionaries(st.sampled_from(["$set", "$map", "$date", "$int", "$", "$new", "a"]), st.lists(st.none())))
def test_maps_that_look_like_tags_arrive_as_maps(encoding: str, value: Any) -> None:
    assert same(round_trip(value, encoding), value)
    assert same(round_trip([value, {"$set": value}], encoding), [value, {"$set": value}])


@in_both
def test_numbers_that_are_none_arrive_too(encoding: str) -> None:
    found = round_trip([math.nan, math.inf, -math.inf, Decimal("NaN"), Decimal("-Infinity"), -0.0], encoding)
    assert math.isnan(found[0]) and found[1:3] == [math.inf, -math.inf]
    assert found[3].is_nan() and found[4] == Decimal("-Infinity") and math.copysign(1, found[5]) == -1
    json.loads(codec.encode([math.nan, math.inf], "json"), parse_constant=lambda name: pytest.fail(name))


class Colour(Enum):
    RED = "red"
    MIXED = ("red", "blue")


class Level(IntEnum):
    HIGH = 3


class Mode(StrEnum):
    FAST = "fast"


@dataclass
class Point:
    x: int
    at: datetime | None = None


class Pair(NamedTuple):
    left: int
    right: str


class Text(str):
    """A subclass, as frameworks have them."""


@in_both
@pytest.mark.parametrize(
    ("value", "arrives"),
    [
        ((1, (2, 3)), [1, [2, 3]]),
        (Colour.RED, "red"),
        (Colour.MIXED, ["red", "blue"]),
        (Level.HIGH, 3),
        (Mode.FAST, "fast"),
        (Point(1, datetime(2026, 1, 2, tzinfo=UTC)), {"x": 1, "at": datetime(2026, 1, 2, tzinfo=UTC)}),
        (Pair(1, "b"), [1, "b"]),
        (Text("a"), "a"),
        (bytearray(b"a"), b"a"),
        (memoryview(b"a"), b"a"),
        (PurePosixPath("/a"), Path("/a")),
        ({1: Colour.RED, "p": [Point(2)]}, {1: "red", "p": [{"x": 2, "at": None}]}),
        ({Mode.FAST: 1}, {"fast": 1}),
        ({Colour.RED}, {"red"}),
    ],
)
def test_without_a_hint_objects_arrive_as_plain_values(encoding: str, value: Any, arrives: Any) -> None:
    assert same(round_trip(value, encoding), arrives)


@in_both
def test_an_aware_datetime_keeps_its_instant_and_offset(encoding: str) -> None:
    sent = datetime(2026, 7, 1, 12, tzinfo=ZoneInfo("Europe/Paris"))
    found = round_trip(sent, encoding)
    assert (found, found.utcoffset()) == (sent, timedelta(hours=2))


@in_both
def test_a_file_name_that_is_not_utf8_arrives(encoding: str) -> None:
    assert round_trip(["caf\udce9", Path("caf\udce9")], encoding) == ["caf\udce9", Path("caf\udce9")]


@in_both
def test_a_mebibyte_arrives_unless_it_is_too_much(encoding: str) -> None:
    data = codec.encode("x" * (1 << 20), encoding)
    assert len(codec.decode(data, encoding, max_bytes=len(data))) == 1 << 20
    with pytest.raises(DecodeError, match=f"more than the {len(data) - 1} allowed"):
        codec.decode(data, encoding, max_bytes=len(data) - 1)


def test_what_is_too_large_to_be_read_is_not_written() -> None:
    with pytest.raises(EncodeError, match="bytes are more than 67108864; store them elsewhere"):
        codec.encode(bytes(codec.MAX_BYTES))


def test_plain_json_of_other_programs_is_read() -> None:
    text = b'[[1, {"$oid": "5f"}], {"when": "2026-01-01", "caf\\u00e9": 1e3}]'
    assert codec.decode(text, "json") == [[1, {"$oid": "5f"}], {"when": "2026-01-01", "café": 1000.0}]


# --- what cannot be encoded ----------------------------------------------------------------------------------------


def circle() -> list[Any]:
    value: list[Any] = []
    value.append({"self": value})
    return value


def tower(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@in_both
@pytest.mark.parametrize(
    ("value", "says"),
    [
        (open, r"^value: builtins\.builtin_function_or_method cannot be encoded"),
        ([1, {"a": (2, object())}], r"^value\[1\]\['a'\]\[1\]: builtins\.object cannot be encoded; send plain values"),
        ({"k": Point(1, at=object())}, r"^value\['k'\]\.at: builtins\.object"),  # type: ignore[arg-type]
        ({object(): 1}, r"^value\{key <object .*: builtins\.object"),
        ({frozenset({object()})}, r"builtins\.object cannot be encoded"),
        ((each for each in ()), r"builtins\.generator cannot be encoded; send a list"),
        (lambda: 1, r"builtins\.function cannot be encoded; send its name"),
        (1j, r"^value: builtins\.complex cannot be encoded"),
        ([1 << 5000], r"^value\[0\]: an integer of 5001 bits is beyond 4096; send it as text or bytes"),
        (Point, r"builtins\.type cannot be encoded"),
        (circle(), r"nested deeper than 64 levels, or holds itself"),
        (tower(70), r"nested deeper than 64 levels, or holds itself"),
        (tower(10_000), r"nested deeper than 64 levels, or holds itself"),
        ([0] * 100_001, r"more than 100000 items"),
    ],
)
def test_what_cannot_be_encoded_is_named_with_its_place(encoding: str, value: Any, says: str) -> None:
    with pytest.raises(EncodeError, match=says):
        codec.encode(value, encoding)


@in_both
def test_the_argument_that_cannot_be_encoded_is_named(encoding: str) -> None:
    with pytest.raises(EncodeError, match=r"^args\[1\]: builtins\.object"):
        codec.encode_call((1, object()), {}, encoding)
    with pytest.raises(EncodeError, match=r"^kwargs\['to'\]\[0\]: builtins\.object"):
        codec.encode_call((1,), {"to": [object()]}, encoding)
    assert codec.decode(codec.encode_call((1,), {"a": 2}, encoding), encoding) == [[1], {"a": 2}]


@in_both
def test_what_is_as_deep_and_as_large_as_allowed_goes_through(encoding: str) -> None:
    assert round_trip(tower(limits.MAX_DEPTH - 1), encoding) == tower(limits.MAX_DEPTH - 1)
    assert len(round_trip([0] * 99_000, encoding)) == 99_000
    assert len(round_trip(["x" * 9] * 50_000, encoding)) == 50_000


def test_an_unknown_encoding_is_refused_both_ways() -> None:
    with pytest.raises(EncodeError, match="'pickle' is unknown; use msgpack or json"):
        codec.encode(1, "pickle")
    with pytest.raises(DecodeError, match="'pickle' is unknown; TaskBus reads msgpack and json"):
        codec.decode(pickle.dumps(1), "pickle")


def test_values_of_tags_are_written_readably_in_json() -> None:
    value = [UUID(int=1), date(2026, 2, 1), timedelta(seconds=1.5), b"\x00", {1: "a"}]
    assert json.loads(codec.encode(value, "json")) == [
        {"$uuid": "00000000-0000-0000-0000-000000000001"},
        {"$date": "2026-02-01"},
        {"$timedelta": "1500000"},
        {"$bytes": base64.b64encode(b"\x00").decode()},
        {"$map": [[1, "a"]]},
    ]
