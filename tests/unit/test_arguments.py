"""The arguments of a task: checked where it is called, encoded, and converted where it runs."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from taskbus import Context, codec
from taskbus.arguments import Arguments
from taskbus.errors import BadArguments, ConfigError, DecodeError


class Colour(Enum):
    RED = "red"


@dataclass(frozen=True)
class Point:
    x: int
    y: int = 0


def plain(a: int, b: int = 1) -> int:
    return a + b


def injected(ctx: Context, url: str) -> None: ...


def varied(first: int, *rest: Path, flag: bool, **named: Point) -> None: ...


def positional_only(a: int, /, b: int) -> None: ...


def of(function: Callable[..., Any]) -> Arguments:
    return Arguments(function.__name__, function)


@pytest.mark.parametrize(
    ("function", "args", "kwargs"),
    [
        (plain, (1,), {}),
        (plain, (1, 2), {}),
        (plain, (), {"a": 1}),
        (plain, (1,), {"b": 2}),
        (injected, ("url",), {}),
        (injected, (), {"url": "url"}),
        (varied, (1,), {"flag": True}),
        (varied, (1, "a", "b"), {"flag": True, "p": Point(1)}),
        (positional_only, (1, 2), {}),
        (positional_only, (1,), {"b": 2}),
    ],
)
def test_a_call_that_fits_passes(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    of(function).check(args, kwargs)


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "says"),
    [
        (plain, (), {}, "missing a required argument: 'a'"),
        (plain, (1, 2, 3), {}, "too many positional arguments"),
        (plain, (1,), {"c": 2}, "unexpected keyword argument 'c'"),
        (plain, (1,), {"a": 2}, "multiple values for argument 'a'"),
        (injected, (), {}, "missing a required argument: 'url'"),
        (injected, ("ctx", "url"), {}, "too many positional arguments"),
        (varied, (1,), {}, "missing a required .*argument: 'flag'"),
        (positional_only, (), {"a": 1, "b": 2}, "'a'"),
    ],
)
def test_a_call_that_does_not_fit_fails_with_the_signature_in_the_message(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], says: str
) -> None:
    arguments = of(function)
    with pytest.raises(BadArguments, match=says) as raised:
        arguments.check(args, kwargs)
    assert str(raised.value).startswith(f"{function.__name__}{arguments.signature}: ")


def test_the_injected_context_is_no_parameter_of_the_call() -> None:
    arguments = of(injected)
    assert arguments.takes_context
    assert str(arguments.signature) == "(url: str)"


def test_a_context_given_as_text_is_injected_too() -> None:
    def later(ctx: "Context", n: int) -> None: ...

    assert of(later).takes_context


def test_a_context_that_is_not_the_first_parameter_is_refused() -> None:
    def wrong(n: int, ctx: Context) -> None: ...

    with pytest.raises(ConfigError, match="make the Context parameter 'ctx' the first one"):
        of(wrong)


@pytest.mark.parametrize("content_type", ["msgpack", "json"])
def test_what_was_sent_is_what_the_function_gets(content_type: str) -> None:
    def typed(
        point: Point, colour: Colour, price: Decimal, pair: tuple[int, str], maybe: Path | None = None
    ) -> None: ...

    sent = ([Point(1, 2), Colour.RED, Decimal("1.10"), (1, "a")], {"maybe": Path("a.png")})
    args, kwargs = of(typed).unpack(codec.encode(sent, content_type), content_type)
    bound = of(typed).signature.bind(*args, **kwargs).arguments
    assert bound == {
        "point": Point(1, 2),
        "colour": Colour.RED,
        "price": Decimal("1.10"),
        "pair": (1, "a"),
        "maybe": Path("a.png"),
    }
    assert type(bound["pair"]) is tuple


def test_every_value_of_a_variadic_parameter_is_converted() -> None:
    body = codec.encode(([1, "a", "b"], {"flag": True, "p": {"x": 1, "y": 2}}), "msgpack")
    args, kwargs = of(varied).unpack(body, "msgpack")
    assert args == [1, Path("a"), Path("b")]
    assert kwargs == {"flag": True, "p": Point(1, 2)}


def test_hints_are_looked_up_when_first_needed_so_they_may_name_later_classes() -> None:
    def early(event: "Later") -> None: ...  # type: ignore[name-defined]  # noqa: F821

    arguments = of(early)
    early.__globals__["Later"] = Point
    try:
        args, _ = arguments.unpack(codec.encode(([{"x": 3, "y": 4}], {}), "msgpack"), "msgpack")
    finally:
        del early.__globals__["Later"]
    assert args == [Point(3, 4)]


def test_a_hint_that_cannot_be_resolved_converts_nothing() -> None:
    def odd(value: "Nowhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821

    assert of(odd).unpack(codec.encode(([{"x": 1}], {}), "msgpack"), "msgpack") == ([{"x": 1}], {})


def test_a_value_that_cannot_become_its_type_names_the_argument() -> None:
    with pytest.raises(BadArguments, match=r"argument 'url'|argument 'point'"):

        def typed(point: Point) -> None: ...

        of(typed).unpack(codec.encode((["no point"], {}), "msgpack"), "msgpack")


def test_arguments_that_do_not_fit_any_more_are_refused_where_the_task_runs() -> None:
    with pytest.raises(BadArguments, match="too many positional arguments"):
        of(plain).unpack(codec.encode(([1, 2, 3], {}), "msgpack"), "msgpack")


@pytest.mark.parametrize("value", [1, [1], [[1], [2]], [{}, []], [[], {}, []], {"args": []}, None])
def test_a_body_that_is_no_pair_of_arguments_is_undecodable(value: Any) -> None:
    with pytest.raises(DecodeError):
        of(plain).unpack(codec.encode(value, "msgpack"), "msgpack")


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x92\x90", b"garbage", b"\x92\x90\x81\x01\x02"])
def test_bytes_that_are_no_arguments_are_refused(body: bytes) -> None:
    with pytest.raises((DecodeError, BadArguments)):
        of(plain).unpack(body, "msgpack")


def test_a_result_arrives_as_the_return_annotation_says() -> None:
    def make() -> list[Point]: ...

    assert of(make).result(codec.encode([Point(1), Point(2, 3)], "msgpack"), "msgpack") == [Point(1), Point(2, 3)]


def test_a_result_without_annotation_arrives_as_it_was_encoded() -> None:
    def make():  # type: ignore[no-untyped-def]
        ...

    assert of(make).result(codec.encode({"x": [1, 2]}, "json"), "json") == {"x": [1, 2]}
