"""What a runner of TaskBus calls for a task of Celery's: an attempt, and what is made of how it ended."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NoReturn

from tenacity import retry_if_exception_type, stop_never, wait_fixed

from taskbus import Context, FailedTask, RetryPolicy
from taskbus_celery import result, sending, states
from taskbus_celery.exceptions import Reject, Retry
from taskbus_celery.request import ERRBACK, OF_CAUSE, OWN, RETRIES, Request, request_of
from taskbus_celery.tracing import IGNORED_VALUE, Traced, trace

WHEN_ASKED = RetryPolicy(stop=stop_never, wait=wait_fixed(0), retry=retry_if_exception_type(()))
"""Tried again only when the task says so; how often is counted here."""
FLOW_FAILED = "taskbus.errors.FlowFailed"
_CAUSE = re.compile(r"task (\S+) \((\S+)\) failed: ", re.DOTALL)


def body_of(task: Any) -> Callable[..., Any]:
    """The function that TaskBus runs for a task."""

    def run(context: Context, /, *args: Any, **kwargs: Any) -> Any:
        return execute(task, context, args, kwargs)

    run.__doc__ = task.__doc__
    return run


def execute(task: Any, context: Context, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Make an attempt. Raises what the task does, and what tells TaskBus how it is to end."""
    if ERRBACK in context.headers and args and isinstance(args[0], FailedTask):
        told = _told_of(task, args[0], context.headers[ERRBACK], (args[1:], kwargs))
        if told is None:
            return None
        args = (*told, *args[1:])
    request = request_of(context, args, kwargs, (task.time_limit, task.soft_time_limit))
    traced = trace(task, request, args, kwargs)
    if traced.state == states.SUCCESS:
        return sending.plain(traced.value)
    if traced.state == states.RETRY:
        _try_again(task, context, request, traced.value)
    if traced.state == states.REJECTED:
        _reject(context, traced.value)
    if traced.state == states.IGNORED:
        return _ignored(task, context, traced)
    raise traced.value


def _try_again(task: Any, context: Context, request: Request, verdict: Retry) -> NoReturn:
    """The same message again; where something of it is to change, another one in its place that counts on."""
    delay = _seconds(task.app, verdict.when)
    if not getattr(verdict, "is_changed", False):
        context.retry(str(verdict), delay=delay)
    call = verdict.sig.clone()
    call["bus_headers"] = {RETRIES: str(request.retries + 1)}
    call.options.setdefault("headers", request.headers)
    _replace(task, context, call)


def _replace(task: Any, context: Context, call: Any) -> NoReturn:
    sending.frozen(task.app, call, context.task_id)
    request = task_place(context)
    context.replace(sending.woven(task.app, call, request, []))


def task_place(context: Context) -> sending.Place:
    """Where what takes a task's place stands: where the task did."""
    return sending.Place(context.headers.get("root_id"), context.headers.get("parent_id"))


def _reject(context: Context, verdict: Reject) -> NoReturn:
    if verdict.requeue:
        context.retry(f"rejected, to be run again: {verdict.reason}", delay=0)
    context.reject(str(verdict.reason))


def _ignored(task: Any, context: Context, traced: Traced) -> Any:
    """What follows in a workflow does not run after a task that is ignored, as in Celery."""
    if isinstance(traced.value, sending.Replacing):
        _replace(task, context, traced.value.signature)
    if context.flow_id:
        context.reject("the task raised Ignore, and what waits for it in its workflow never runs")
    return IGNORED_VALUE


def _seconds(app: Any, when: Any) -> float:
    if isinstance(when, datetime):
        return max(0.0, (sending.aware(app, when) - datetime.now(UTC)).total_seconds())
    return float(when or 0.0)


# --- calls that are made because a task failed -------------------------------------------------------------------


def _told_of(task: Any, failed: FailedTask, kind: str, given: tuple[Any, Any]) -> tuple[Any, ...] | None:
    """What an errback is given first: the failed task's id, or request, exception and traceback if it takes more.

    None where Celery would not call it: the task that it was linked to never ran.
    """
    is_hurt = failed.error == FLOW_FAILED
    if is_hurt and kind == OWN:
        return None
    task_id, name = (failed.task_id, failed.task)
    if is_hurt and kind == OF_CAUSE:
        cause = _CAUSE.match(failed.message)
        if cause is not None:
            name, task_id = cause[1], cause[2]
    if not _takes_more_than_an_id(task, *given):
        return (task_id,)
    ended = result.AsyncResult(task_id, app=task.app)
    request = Request(id=task_id, task=name, called_directly=False)
    return request, ended.result, ended.traceback


def _takes_more_than_an_id(task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether it has room for more than one argument, besides those that its signature has already."""
    if task.is_bound:
        return False
    parameters = inspect.signature(task.run).parameters.values()
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    left = [each for each in parameters if each.kind in positional and each.name not in kwargs]
    has_any = any(each.kind is inspect.Parameter.VAR_POSITIONAL for each in parameters)
    return has_any or len(left) - len(args) > 1
