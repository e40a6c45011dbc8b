"""What a workflow is, as plain data: one call, some in turn, some at once. How it is written is ``canvas``'s business.

Shapes are never changed: whatever adds to one makes another, so that each may be used many times, in many places.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from taskbus.arguments import Arguments
from taskbus.config import Config
from taskbus.message import Message
from taskbus.options import PLAIN, CallOptions
from taskbus.store.flows import Policy, When
from taskbus.store.results import AsyncResult
from taskbus.workflow.plan import Plan

NO_KWARGS: Mapping[str, Any] = MappingProxyType({})


class Sender(Protocol):
    """What a workflow needs of the application that its tasks belong to."""

    config: Config

    def now(self) -> float:
        """The broker's time."""

    def submit(self, message: Message, session: Any = None) -> None:
        """Send, or with a ``session`` make the message part of its transaction."""

    async def asubmit(self, message: Message, session: Any = None) -> None: ...

    def begin(self, plan: Plan, session: Any = None) -> None:
        """Record a flow and publish its roots, or with a ``session`` do so in its transaction."""

    async def abegin(self, plan: Plan, session: Any = None) -> None: ...

    def expect(
        self, task: Any, task_id: str, *, decode: Callable[[bytes, str], Any] | None = None, queue: str = ""
    ) -> AsyncResult[Any]:
        """The result of a call; ``decode`` is for one that is not of the task's own type."""

    def flow(self, flow_id: str) -> Any:
        """A ``FlowHandle``."""


class Callee(Protocol):
    """What a workflow needs of a task."""

    name: str
    queue: str
    priority: int
    serializer: str
    store_results: bool
    result_ttl: float
    arguments: Arguments
    session: Any

    def application(self) -> Any:
        """The ``Sender`` it is bound to; raises ``ConfigError`` where it is to none."""


class Link(NamedTuple):
    """What runs when the end of a shape ends as ``when`` says."""

    when: When
    shape: "Shape"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """``chosen`` holds for every call in it that does not say otherwise; ``links`` for its end."""

    chosen: CallOptions = PLAIN
    links: tuple[Link, ...] = ()


@dataclass(frozen=True, slots=True)
class OneCall(Shape):
    """One call of a task. ``is_immutable``: it is given nothing, whatever runs before it.

    ``is_chunk``: its only argument is a list of argument lists, for each of which the task is called.
    """

    task: Callee
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    is_immutable: bool = False
    is_chunk: bool = False


@dataclass(frozen=True, slots=True)
class InTurn(Shape):
    """Each is given the value of the one before. There is at least one."""

    steps: tuple[Shape, ...] = ()


@dataclass(frozen=True, slots=True)
class AtOnce(Shape):
    """All are given the same; their value is the list of their values. There may be none."""

    members: tuple[Shape, ...] = ()
    policy: Policy = Policy.FAIL_FAST


def below(shape: Shape) -> Sequence[Shape]:
    """What a shape is made of, without its links."""
    if isinstance(shape, InTurn):
        return shape.steps
    return shape.members if isinstance(shape, AtOnce) else ()


def calls(shape: Shape) -> Iterator[OneCall]:
    """All calls in a shape, those of links too, in no particular order."""
    stack = [shape]
    while stack:
        found = stack.pop()
        if isinstance(found, OneCall):
            yield found
        stack.extend(below(found))
        stack.extend(link.shape for link in found.links)


def own_id(shape: Shape) -> str | None:
    """The id that a user gave its end."""
    while shape.chosen.task_id is None and isinstance(shape, InTurn):
        shape = shape.steps[-1]
    return shape.chosen.task_id
