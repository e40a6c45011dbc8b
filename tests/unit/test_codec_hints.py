"""Type hints rebuild what plain values cannot carry, and ask for nothing else."""

import collections.abc
import datetime as dt
import typing
from dataclasses import InitVar, dataclass, field
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple, NewType, NotRequired, Optional, TypedDict, TypeVar, Union
from uuid import UUID

import pytest
from typing_extensions import TypeAliasType

from taskbus import codec
from taskbus.codec import converter
from taskbus.errors import DecodeError

if typing.TYPE_CHECKING:
    from elsewhere import Unknown  # type: ignore[import-not-found]

in_both = pytest.mark.parametrize("encoding", codec.CONTENT_TYPES)


class Colour(Enum):
    RED = "red"
    MIXED = ("red", "blue")


class Level(IntEnum):
    HIGH = 3


class Mode(StrEnum):
    FAST = "fast"


@dataclass(frozen=True)
class Point:
    x: int
    y: float = 0.0


@dataclass
class Shape:
    name: str
    corners: list[Point]
    colour: Colour = Colour.RED
    at: dt.datetime | None = None
    parts: "dict[str, Shape]" = field(default_factory=dict)
    area: float = field(init=False, default=0.0)


@dataclass
class Partly:
    known: Point
    unknown: "Unknown"


@dataclass
class Scaled:
    x: int
    factor: InitVar[int] = 1

    def __post_init__(self, factor: int) -> None:
        self.x *= factor


@dataclass
class Checked:
    x: int

    def __post_init__(self) -> None:
        if self.x < 0:
            raise ValueError("x is negative")


class Pair(NamedTuple):
    left: Point
    right: int = 5


class Row(TypedDict):
    id: UUID
    at: NotRequired[dt.date]


class Generic2(typing.Generic[TypeVar("T")]):  # type: ignore[misc]
    pass


T = TypeVar("T")


@dataclass
class Box(typing.Generic[T]):
    content: T


UserId = NewType("UserId", int)
When = NewType("When", dt.date)
ROUND_TRIPS: list[tuple[Any, Any]] = [
    (Point, Point(1, 2.5)),
    (Shape, Shape("s", [Point(1), Point(2)], Colour.MIXED, dt.datetime(2026, 1, 1), {"a": Shape("t", [])})),
    (Colour, Colour.MIXED),
    (Level, Level.HIGH),
    (Mode, Mode.FAST),
    (Pair, Pair(Point(1))),
    (Row, {"id": UUID(int=7), "at": dt.date(2026, 1, 2)}),
    (list[Point], [Point(1)]),
    (collections.abc.Sequence[Point], [Point(1)]),
    (dict[str, Point], {"a": Point(1)}),
    (dict[int, Point], {1: Point(1)}),
    (dict[Colour, int], {Colour.RED: 1}),
    (tuple[Point, int], (Point(1), 2)),
    (tuple[Point, ...], (Point(1), Point(2))),
    (tuple[()], ()),
    (tuple, (1, 2)),
    (set[Point], {Point(1)}),
    (frozenset[Colour], frozenset([Colour.RED])),
    (set, {1, 2}),
    (Point | None, Point(1)),
    (Optional[Point], None),  # noqa: UP045
    (Union[int, Point], Point(1)),  # noqa: UP007
    (int | Point, 4),
    (Point | Shape, Shape("s", [])),
    (str | Colour, "blue"),
    (list[Point] | None, [Point(1)]),
    (Annotated[Point, "about"], Point(1)),
    (Final[Point], Point(1)),
    (When, dt.date(2026, 1, 1)),
    (list[dict[str, tuple[Point | None, ...]]], [{"a": (Point(1), None)}]),
    (Scaled, Scaled(3)),
]


@in_both
@pytest.mark.parametrize(("hint", "value"), ROUND_TRIPS)
def test_what_a_hint_says_arrives(encoding: str, hint: Any, value: Any) -> None:
    convert = converter(hint)
    assert convert is not None
    found = convert(codec.decode(codec.encode(value, encoding), encoding))
    assert found == value
    assert type(found) is type(value)
    assert convert(value) == value


@pytest.mark.parametrize(
    "hint",
    [
        Any, object, None, type(None), int, float, str, bytes, bool, list, dict, list[int], dict[str, float],
        int | str | None, Literal["a", 1], UserId, T, collections.abc.Callable[[int], str],
        collections.abc.Mapping[str, Any], Annotated[int, "x"], Generic2, "Point", 7, typing.Iterable[int],
    ],
)  # fmt: skip
def test_most_hints_ask_for_nothing(hint: Any) -> None:
    assert converter(hint) is None


@pytest.mark.parametrize(
    ("hint", "written", "value"),
    [
        (dt.datetime, "2026-01-02T03:04:05+01:00", dt.datetime.fromisoformat("2026-01-02T03:04:05+01:00")),
        (dt.date, "2026-01-02", dt.date(2026, 1, 2)),
        (dt.time, "03:04", dt.time(3, 4)),
        (dt.timedelta, 1.5, dt.timedelta(seconds=1.5)),
        (UUID, "00000000-0000-0000-0000-000000000007", UUID(int=7)),
        (Decimal, "1.10", Decimal("1.10")),
        (Decimal, 2, Decimal(2)),
        (Decimal, 0.1, Decimal("0.1")),
        (Path, "/a/b", Path("/a/b")),
        (list[Path] | None, ["a"], [Path("a")]),
        (Row, {"id": "00000000-0000-0000-0000-000000000007"}, {"id": UUID(int=7)}),
    ],
)
def test_what_a_sender_without_tags_writes_is_read_by_the_hint(hint: Any, written: Any, value: Any) -> None:
    convert = converter(hint)
    assert convert is not None
    assert convert(written) == value
    assert convert(value) == value


@pytest.mark.parametrize(
    ("hint", "written", "says"),
    [
        (Point, {"x": 1, "z": 2}, "Point has no field 'z'"),
        (Point, {}, "cannot make Point of {}: .*missing"),
        (Point, [1], "expected Point, got \\[1\\]"),
        (Shape, {"name": "s", "corners": [{"x": 1, "q": 0}]}, "Shape.corners: Point has no field 'q'"),
        (Colour, "green", "cannot make Colour of 'green'"),
        (dt.datetime, "tomorrow", "cannot make datetime of 'tomorrow'"),
        (dt.datetime, 5, "expected datetime, got 5"),
        (UUID, "x", "cannot make UUID of 'x'"),
        (Decimal, "x", "cannot make Decimal of 'x'"),
        (list[Point], {"x": 1}, "expected list, got"),
        (dict[str, Point], [1], "expected dict, got"),
        (tuple[Point, int], [1], "expected a tuple of 2, got 1 items"),
        (set[Colour], "red", "expected set, got 'red'"),
        (set[Point], [["x"]], "expected Point"),
        (set, "red", "expected set, got 'red'"),
        (frozenset[Any], [[1]], "cannot make frozenset"),
        (Checked, {"x": -1}, "cannot make Checked of .*x is negative"),
        (Pair, [1, 2, 3], "Pair has 2 fields, got 3 items"),
        (Pair, 7, "expected Pair, got 7"),
        (Point | Colour, {"q": 1}, "Point has no field 'q'; cannot make Colour"),
        (Row, [1], "expected Row, got"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(hint: Any, written: Any, says: str) -> None:
    convert = converter(hint)
    assert convert is not None
    with pytest.raises(DecodeError, match=says):
        convert(written)


def test_a_field_whose_type_is_unknown_here_arrives_as_it_was_sent() -> None:
    convert = converter(Partly)
    assert convert is not None
    assert convert({"known": {"x": 1}, "unknown": {"y": 2}}) == Partly(Point(1), {"y": 2})


def test_a_class_is_looked_into_when_a_value_comes_so_that_it_may_name_itself() -> None:
    convert = converter(Shape)
    assert convert is not None
    deep: dict[str, Any] = {"name": "0", "corners": []}
    for number in range(1, 20):
        deep = {"name": str(number), "corners": [], "parts": {"inner": deep}}
    found = convert(deep)
    for number in range(19, -1, -1):
        assert found.name == str(number)
        found = found.parts.get("inner")


def test_an_alias_stands_for_what_it_names_even_for_itself() -> None:
    points = TypeAliasType("points", list[Point])
    convert = converter(points)
    assert convert is not None
    assert convert([{"x": 1}]) == [Point(1)]
    plain = converter(TypeAliasType("plain", int))
    assert plain is not None and plain(5) == 5


def test_a_generic_dataclass_is_rebuilt_whatever_its_parameter() -> None:
    convert = converter(Box[int])
    assert convert is not None
    assert convert({"content": 5}) == Box(5)


def test_a_class_is_never_chosen_by_what_the_data_says() -> None:
    assert codec.decode(codec.encode({"__class__": "os.system", "$class": "Point", "x": 1})) == {
        "__class__": "os.system", "$class": "Point", "x": 1,
    }  # fmt: skip
