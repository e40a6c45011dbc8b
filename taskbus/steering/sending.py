"""Sending a task by its name."""

from collections.abc import Mapping, Sequence
from typing import Any

from taskbus.app import TaskBus
from taskbus.steering.refusal import NotThere, near


def send(
    app: TaskBus, task: str, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any
) -> str:
    """Send a call by name, with the options of ``apply_async``; the id under which the broker has accepted it.

    Where the application's code is known the name and the arguments are checked, by signature and type hints. Raises
    ``NotThere`` for a name that it does not know, ``BadArguments`` and the other errors of ``Task.delay``.
    """
    check_name(app, task)
    known = app.tasks.get(task)
    if known is not None:
        known.arguments.fitted(list(args), dict(kwargs or {}))
    given = {name: value for name, value in options.items() if value is not None}
    return app.send(task, args, kwargs, **given).id


def check_name(app: TaskBus, task: str) -> None:
    """Raise ``NotThere``, with a near name, where the application is known and has no such task."""
    if app.tasks and task not in app.tasks:
        raise NotThere(f"{app.name} has no task {task!r}", near(task, app.tasks))
