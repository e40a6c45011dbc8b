"""The tasks that every app has: what ``map``, ``starmap`` and a replacement by a group are made of."""

from collections.abc import Sequence
from typing import Any

from taskbus_celery import canvas


def register(app: Any) -> None:
    """Give an app its own."""
    for name, function in (("celery.map", xmap), ("celery.starmap", xstarmap), ("celery.accumulate", accumulate)):
        app.task_of(function, name=name, bind=name != "celery.accumulate", typing=False)


def xmap(self: Any, task: Any, it: Sequence[Any]) -> list[Any]:
    """A call for each item."""
    found = canvas.maybe_signature(task, self.app).type
    return [found(item) for item in it]


def xstarmap(self: Any, task: Any, it: Sequence[Sequence[Any]]) -> list[Any]:
    """A call for each list of arguments."""
    found = canvas.maybe_signature(task, self.app).type
    return [found(*items) for items in it]


def accumulate(*args: Any, **kwargs: Any) -> Any:
    """Its arguments, or one of them."""
    index = kwargs.get("index")
    return args[index] if index is not None else args
