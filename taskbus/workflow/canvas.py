"""``chain``, ``group``, ``chord`` and ``|``: workflows as they are written. Celery's words, typed.

A canvas is a value: making one sends nothing. What it is given and what it gives are part of its type, so that type
checkers see a step that does not fit the one before it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Generic, Self, TypeVar, cast, overload

from taskbus.errors import ConfigError
from taskbus.options import PLAIN, call_options
from taskbus.store.flows import Policy, When
from taskbus.workflow import sending
from taskbus.workflow.failed import FailedTask
from taskbus.workflow.picture import picture
from taskbus.workflow.results import GroupResult
from taskbus.workflow.shape import NO_KWARGS, AtOnce, InTurn, Link, OneCall, Shape

In = TypeVar("In", contravariant=True)
Out = TypeVar("Out", covariant=True)
Handle = TypeVar("Handle", covariant=True)
T = TypeVar("T")
In2 = TypeVar("In2")
Out2 = TypeVar("Out2")
Handle2 = TypeVar("Handle2")


class Canvas(Shape, Generic[In, Out, Handle]):
    """A workflow that can be sent, or be part of another one.

    ``In`` is what its first task still wants to be given (``object``: nothing, it takes whatever comes), ``Out`` its
    value, ``Handle`` what sending it returns.
    """

    __slots__ = ()

    # --- sending ---

    @overload
    def delay(self: "Canvas[object, Any, Handle2]") -> Handle2: ...
    @overload
    def delay(self, value: In, /) -> Handle: ...
    def delay(self, *args: Any) -> Any:
        """Send it, its first tasks with these arguments before their own. When this returns, it was accepted.

        It begins at once, also inside ``app.batch()``. Of a large one, or where broker and results are not one
        database, the graph is recorded before the first task is sent: a crash in between leaves a workflow that was
        never accepted, and of which nothing runs to its end.

        Raises ``BadArguments``, ``ConfigError``, ``EncodeError``, ``PayloadTooLarge`` (nothing was sent),
        ``PublishFailed`` (it will not run to its end) or ``PublishUnknown`` (it may).
        """
        return sending.send(self, args, NO_KWARGS)

    @overload
    async def adelay(self: "Canvas[object, Any, Handle2]") -> Handle2: ...
    @overload
    async def adelay(self, value: In, /) -> Handle: ...
    async def adelay(self, *args: Any) -> Any:
        """As ``delay``, without blocking the event loop."""
        return await sending.asend(self, args, NO_KWARGS)

    def apply_async(
        self,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        countdown: float | timedelta | None = None,
        eta: float | datetime | None = None,
        expires: float | datetime | timedelta | None = None,
        priority: int | None = None,
        queue: str | None = None,
        task_id: str | None = None,
        headers: Mapping[str, str] | None = None,
        link: "Canvas[Out, Any, Any] | Iterable[Canvas[Out, Any, Any]] | None" = None,
        link_error: "Canvas[FailedTask, Any, Any] | Iterable[Canvas[FailedTask, Any, Any]] | None" = None,
    ) -> Handle:
        """As ``delay``, in Celery's words; for the options see ``options``, for the links ``link`` and ``link_error``.

        ``kwargs`` are for the first tasks. The arguments are checked when it is called, not by the type checker.
        """
        words = dict(
            countdown=countdown, eta=eta, expires=expires, priority=priority, queue=queue, task_id=task_id,
            headers=headers,
        )  # fmt: skip
        changed = self._with(words)
        for callback in _each(link):
            changed = changed.link(callback)
        for callback in _each(link_error):
            changed = changed.link_error(callback)
        return cast(Handle, sending.send(changed, args, kwargs or {}))

    # --- what is said about it ---

    def options(
        self,
        *,
        countdown: float | timedelta | None = None,
        eta: float | datetime | None = None,
        expires: float | datetime | timedelta | None = None,
        priority: int | None = None,
        queue: str | None = None,
        task_id: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Self:
        """The same with these options, which mean what they mean for ``Task.apply_async``.

        ``countdown`` counts from when its first tasks could start: from now, or from the end of what they wait for;
        ``expires`` counts from when it is sent. Of several tasks ``countdown`` and ``eta`` concern the first,
        ``task_id`` the last, and each task's own options come before those of what it is part of.
        """
        return self._with(
            dict(
                countdown=countdown, eta=eta, expires=expires, priority=priority, queue=queue, task_id=task_id,
                headers=headers,
            )
        )  # fmt: skip

    def set(self, **options: Any) -> Self:
        """``options``, in Celery's word."""
        unknown = options.keys() - _WORDS
        if unknown:
            raise ConfigError(f"there is no option {min(unknown)!r}; there are {', '.join(_WORDS)}")
        return self._with(options)

    def link(self, callback: "Canvas[Out, Any, Any]") -> Self:
        """Run ``callback`` beside the rest when this has succeeded; it is given the value, unless it is made by ``si``.

        Whatever becomes of it changes nothing for what follows.
        """
        return self._linked(When.SUCCESS, callback)

    def link_error(self, callback: "Canvas[FailedTask, Any, Any]") -> Self:
        """Run ``callback`` once when this fails for good, is revoked or cannot run as something before it failed.

        It is given the ``FailedTask``, unless it is made by ``si``.
        """
        return self._linked(When.FAILURE, callback)

    def __or__(self, other: "Canvas[Out, Out2, Handle2]") -> "Canvas[In, Out2, Handle2]":
        """This, then the other one, which is given the value."""
        if not isinstance(other, Canvas):
            return NotImplemented
        return Chain((*_steps_of(self), *_steps_of(other)))

    def __ror__(  # type: ignore[misc]
        self: "Canvas[list[T], Out2, Handle2]", other: "Group[In2, T]"
    ) -> "Canvas[In2, Out2, Handle2]":
        # For type checkers: a list[int] is no list[float], though what is made of a group of the one may be the other.
        if not isinstance(other, Canvas):
            return NotImplemented
        return Chain((*_steps_of(other), *_steps_of(self)))

    def _with(self, words: Mapping[str, Any]) -> Self:
        return replace(self, chosen=call_options(_name_of(self), **words).over(self.chosen))

    def _linked(self, when: When, callback: "Canvas[Any, Any, Any]") -> Self:
        return replace(self, links=(*self.links, Link(when, canvas(callback))))

    def __repr__(self) -> str:
        return f"<{picture(self)}>"


_WORDS = ("countdown", "eta", "expires", "priority", "queue", "task_id", "headers")


@dataclass(frozen=True, slots=True, repr=False)
class Chain(Canvas[In, Out, Handle], InTurn):
    """Canvases that run one after the other, each given the value of the one before: see ``chain``."""

    def __iter__(self) -> Iterator[Shape]:
        return iter(self.steps)

    def __len__(self) -> int:
        return len(self.steps)


@dataclass(frozen=True, slots=True, repr=False)
class Group(Canvas[In, list[Out], GroupResult[Out]], AtOnce, Generic[In, Out]):
    """Canvases that run side by side: see ``group``."""

    def __or__(self, other: Canvas[list[Out], Out2, Handle2]) -> Canvas[In, Out2, Handle2]:
        """This, then the other one, which is given the list of all values: a chord."""
        if isinstance(other, Canvas) and not isinstance(other, AtOnce | InTurn):
            return Chord((self, other))
        return Canvas.__or__(self, other)

    def collecting(self) -> "Group[In, Out | FailedTask]":
        """The same with ``collect=True``."""
        return replace(self, policy=Policy.COLLECT)

    def __iter__(self) -> Iterator[Shape]:
        return iter(self.members)

    def __len__(self) -> int:
        return len(self.members)


@dataclass(frozen=True, slots=True, repr=False)
class Chord(Canvas[In, Out, Handle], InTurn):
    """A group and what is given the list of its values: see ``chord``."""

    @property
    def header(self) -> Shape:
        return self.steps[0]

    @property
    def body(self) -> Shape:
        return self.steps[1]


def canvas(value: Any) -> Canvas[Any, Any, Any]:
    """The value itself; raises ``ConfigError`` for what is no canvas."""
    if isinstance(value, Canvas):
        return value
    name = getattr(value, "name", None)
    if isinstance(name, str) and hasattr(value, "delay"):
        raise ConfigError(f"{value!r} is a task, and a workflow is made of its calls: write {name}.s(...)")
    raise ConfigError(f"{value!r:.200} is no part of a workflow; write task.s(...), chain, group or chord")


def _steps_of(shape: Canvas[Any, Any, Any]) -> tuple[Shape, ...]:
    """What a chain adds to one that it is joined to; what was said about it as a whole keeps it whole."""
    is_plain = isinstance(shape, InTurn) and not shape.links and shape.chosen is PLAIN
    return shape.steps if is_plain and isinstance(shape, InTurn) else (shape,)


def _name_of(shape: Canvas[Any, Any, Any]) -> str:
    return shape.task.name if isinstance(shape, OneCall) else picture(shape)


def _each(callbacks: Any) -> Iterable[Canvas[Any, Any, Any]]:
    return () if callbacks is None else (callbacks,) if isinstance(callbacks, Canvas) else callbacks
