"""The tasks that Celery's producers take for granted: a worker on a queue that Celery shares answers to their names.

``celery.chord_unlock`` is not here: it belongs to results.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from taskbus import Context, RetryPolicy, TaskBus
from taskbus.worker.runner.call import AnyTask

Calls = Sequence[Sequence[Any]]


def answer_to(app: TaskBus) -> None:
    """Have the application know them, where it shares a queue with Celery and has none of that name itself."""
    if not app.config.celery_queues:
        return

    def map(ctx: Context, task: dict[str, Any], it: list[Any]) -> list[Any]:
        return _in_turn(app.tasks, task, [(item,) for item in it], ctx)

    def starmap(ctx: Context, task: dict[str, Any], it: list[Any]) -> list[Any]:
        return _in_turn(app.tasks, task, it, ctx)

    def chunks(ctx: Context, task: dict[str, Any], it: list[Any], n: int) -> list[Any]:
        """All of them here; producers of Celery's send each chunk as a ``celery.starmap`` of its own."""
        parts = [it[start : start + n] for start in range(0, len(it), max(1, n))]
        return [_in_turn(app.tasks, task, part, ctx) for part in parts]

    def accumulate(*args: Any, index: int | None = None) -> Any:
        return list(args) if index is None else args[index]

    def backend_cleanup() -> None:
        """Nothing is left to do: every worker deletes what has expired as it goes."""

    for function in (map, starmap, chunks, accumulate, backend_cleanup):
        name = f"celery.{function.__name__}"
        if name not in app.tasks:
            app.task(name=name, retry=RetryPolicy.never())(function)


def _in_turn(tasks: Mapping[str, AnyTask], signature: Mapping[str, Any], calls: Calls, context: Context) -> list[Any]:
    """Call the task of a signature of Celery's once for each list of arguments."""
    name = signature.get("task")
    task = tasks.get(name) if isinstance(name, str) else None
    if task is None:
        raise LookupError(f"no task is named {name!r} here; known: {', '.join(sorted(tasks)[:20])}")
    values = []
    for each in calls:
        args, kwargs = task.arguments.fitted([*each], {})
        value = task.function(*([context, *args] if task.takes_context else args), **kwargs)
        values.append(asyncio.run(value) if task.is_async else value)
    return values
