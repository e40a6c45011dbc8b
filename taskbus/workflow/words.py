"""``chain``, ``group`` and ``chord``, typed: what each step is given is what the one before it gives."""

from collections.abc import Iterable
from typing import Any, Literal, TypeVar, overload

from taskbus.errors import ConfigError
from taskbus.store.flows import Policy
from taskbus.workflow.canvas import Canvas, Chain, Chord, Group, canvas
from taskbus.workflow.failed import FailedTask

In = TypeVar("In")
Out = TypeVar("Out")
T = TypeVar("T")
H = TypeVar("H")
T1 = TypeVar("T1")
T2 = TypeVar("T2")
T3 = TypeVar("T3")
T4 = TypeVar("T4")
T5 = TypeVar("T5")
T6 = TypeVar("T6")


# fmt: off
@overload
def chain(a: Canvas[In, T, H], /) -> Chain[In, T, H]: ...
@overload
def chain(a: Canvas[In, T1, Any], b: Canvas[T1, T, H], /) -> Chain[In, T, H]: ...
@overload
def chain(a: Canvas[In, T1, Any], b: Canvas[T1, T2, Any], c: Canvas[T2, T, H], /) -> Chain[In, T, H]: ...
@overload
def chain(
    a: Canvas[In, T1, Any], b: Canvas[T1, T2, Any], c: Canvas[T2, T3, Any], d: Canvas[T3, T, H], /
) -> Chain[In, T, H]: ...
@overload
def chain(
    a: Canvas[In, T1, Any], b: Canvas[T1, T2, Any], c: Canvas[T2, T3, Any], d: Canvas[T3, T4, Any],
    e: Canvas[T4, T, H], /
) -> Chain[In, T, H]: ...
@overload
def chain(
    a: Canvas[In, T1, Any], b: Canvas[T1, T2, Any], c: Canvas[T2, T3, Any], d: Canvas[T3, T4, Any],
    e: Canvas[T4, T5, Any], f: Canvas[T5, T, H], /
) -> Chain[In, T, H]: ...
@overload
def chain(
    a: Canvas[In, T1, Any], b: Canvas[T1, T2, Any], c: Canvas[T2, T3, Any], d: Canvas[T3, T4, Any],
    e: Canvas[T4, T5, Any], f: Canvas[T5, T6, Any], g: Canvas[T6, Any, Any], /, *more: Canvas[Any, Any, Any]
) -> Chain[In, Any, Any]: ...
@overload
def chain(steps: Iterable[Canvas[Any, Any, Any]], /) -> Chain[Any, Any, Any]: ...
# fmt: on
def chain(*steps: Any) -> Any:
    """Run one after the other, each given the value of the one before; the value is that of the last.

    ``chain(a.s(1), b.s())``, or ``a.s(1) | b.s()``. When one fails, those after it do not run: their results say which
    (``FlowFailed``). Takes the steps, or an iterable of them; raises ``ConfigError`` where there are none.
    """
    found = _all(steps)
    if not found:
        raise ConfigError("a chain of no tasks has no value; leave it out, or write group() for nothing to do")
    return Chain(found)


# Of members that differ mypy would make one of `object`; with a type for each it is a union.
# fmt: off
@overload
def group(
    a: Canvas[In, T1, Any], b: Canvas[In, T2, Any], /, *, collect: Literal[False] = False
) -> Group[In, T1 | T2]: ...
@overload
def group(
    a: Canvas[In, T1, Any], b: Canvas[In, T2, Any], c: Canvas[In, T3, Any], /, *, collect: Literal[False] = False
) -> Group[In, T1 | T2 | T3]: ...
@overload
def group(
    a: Canvas[In, T1, Any], b: Canvas[In, T2, Any], c: Canvas[In, T3, Any], d: Canvas[In, T4, Any], /, *,
    collect: Literal[False] = False,
) -> Group[In, T1 | T2 | T3 | T4]: ...
@overload
def group(
    a: Canvas[In, T1, Any], b: Canvas[In, T2, Any], /, *, collect: bool
) -> Group[In, T1 | T2 | FailedTask]: ...
@overload
def group(
    a: Canvas[In, T1, Any], b: Canvas[In, T2, Any], c: Canvas[In, T3, Any], /, *, collect: bool
) -> Group[In, T1 | T2 | T3 | FailedTask]: ...
# fmt: on
@overload
def group(*members: Canvas[In, Out, Any], collect: Literal[False] = False) -> Group[In, Out]: ...
@overload
def group(members: Iterable[Canvas[In, Out, Any]], /, *, collect: Literal[False] = False) -> Group[In, Out]: ...
@overload
def group(*members: Canvas[In, Out, Any], collect: bool) -> Group[In, Out | FailedTask]: ...
@overload
def group(members: Iterable[Canvas[In, Out, Any]], /, *, collect: bool) -> Group[In, Out | FailedTask]: ...
def group(*members: Any, collect: bool = False) -> Any:
    """Run side by side, all given the same; the value is the list of their values, in their order.

    ``group(a.s(1), a.s(2))``, or of any iterable; there may be none. The first member that fails fails what comes after
    the group, while the others run on. With ``collect`` that comes when all have ended, and in the place of each that
    failed there is a ``FailedTask``.
    """
    return Group(_all(members), Policy.COLLECT if collect else Policy.FAIL_FAST)


class Header:
    """A chord that lacks its body."""

    def __init__(self, members: "Group[Any, Any]") -> None:
        self.group = members

    def __call__(self, body: Canvas[Any, Any, H]) -> H:
        """Send it with this body, as in Celery; ``chord(header, body)`` makes one without sending it."""
        chord: Chord[object, Any, H] = Chord((self.group, canvas(body)))
        return chord.delay()

    def __repr__(self) -> str:
        return f"<chord of {self.group!r}>"


@overload
def chord(
    header: Group[In, Out], body: Canvas[list[Out], T, H], /, *, collect: Literal[False] = False
) -> Chord[In, T, H]: ...
@overload
def chord(
    header: Iterable[Canvas[In, Out, Any]], body: Canvas[list[Out], T, H], /, *, collect: Literal[False] = False
) -> Chord[In, T, H]: ...
@overload
def chord(
    header: Group[In, Out] | Iterable[Canvas[In, Out, Any]],
    body: Canvas[list[Out | FailedTask], T, H],
    /,
    *,
    collect: bool,
) -> Chord[In, T, H]: ...
@overload
def chord(header: Group[Any, Any] | Iterable[Canvas[Any, Any, Any]], /, *, collect: bool = False) -> Header: ...
def chord(header: Any, body: Any = None, /, *, collect: bool = False) -> Any:
    """A group, then ``body``, which is given the list of its values: ``group(...) | body``.

    ``header``: a group, or an iterable of its members. For ``collect`` see ``group``. ``chord(header)(body)`` sends it
    at once, as in Celery.
    """
    members = header if isinstance(header, Group) else group(header)
    if collect:
        members = members.collecting()
    return Header(members) if body is None else Chord((members, canvas(body)))


def _all(given: tuple[Any, ...]) -> tuple[Canvas[Any, Any, Any], ...]:
    """Canvases, given as they are or in one iterable. A group is a canvas, though it can be iterated over."""
    if len(given) == 1 and not isinstance(given[0], Canvas) and isinstance(given[0], Iterable):
        given = tuple(given[0])
    return tuple(map(canvas, given))
