"""A call of a task that is not sent yet."""

from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from taskbus.store.results import AsyncResult
from taskbus.workflow.canvas import Canvas
from taskbus.workflow.shape import OneCall

In = TypeVar("In", contravariant=True)
Out = TypeVar("Out", covariant=True)


@dataclass(frozen=True, slots=True, repr=False)
class Signature(Canvas[In, Out, AsyncResult[Out]], OneCall, Generic[In, Out]):
    """A call of a task, to be sent, or to be part of a workflow: what ``task.s(...)`` and ``task.si(...)`` make.

    ``In``: what it is given by what runs before it; ``object`` if nothing is missing. ``Out``: its value.
    """

    def clone(self, *more: Any, **named: Any) -> "Signature[Any, Out]":
        """The same with more arguments, which come before its own; ``named`` ones replace those it has."""
        return replace(self, args=(*more, *self.args), kwargs={**self.kwargs, **named})
