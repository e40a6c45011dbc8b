"""One attempt as Celery makes it: signals and hooks in Celery's order around the body, and what follows from its end.

In a worker of TaskBus all of it happens before the outcome is recorded, and counts as part of the attempt: a process
that dies in ``on_success`` has not succeeded.
"""

import logging
import os
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any, NamedTuple

from taskbus_celery import signals, states
from taskbus_celery.exceptions import Ignore, Reject, Retry
from taskbus_celery.request import Request
from taskbus_celery.state import Frame, running

logger = logging.getLogger(__name__)

IGNORED_VALUE = {"taskbus-celery": "ignored"}
"""The result of a task that raised ``Ignore``: ``AsyncResult`` takes it for none."""
_NO_AFTER_RETURN = frozenset({states.IGNORED, states.RETRY, states.REJECTED})


class ExceptionInfo:
    """An exception as hooks and signals are told of it: the exception, and its traceback as text."""

    def __init__(self, exception: BaseException) -> None:
        self.exception = exception
        self.type = type(exception)
        self.tb = exception.__traceback__
        self.traceback = "".join(traceback.format_exception(exception))
        self.exc_info = (self.type, exception, self.tb)

    def __str__(self) -> str:
        return self.traceback


class Traced(NamedTuple):
    """How an attempt ended. ``value``: what it returned, or raised."""

    state: str
    value: Any
    info: ExceptionInfo | None = None


@contextmanager
def pushed(task: Any, request: Request) -> Iterator[None]:
    """Make them current."""
    token = running.set((*running.get(), Frame(task, request)))
    try:
        yield
    finally:
        running.reset(token)


def trace(task: Any, request: Request, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Traced:
    """Make an attempt; what the task raises is part of what is returned, whatever it is."""
    traced = Traced(states.PENDING, None)
    with pushed(task, request):
        about = {"task_id": request.id, "task": task, "args": args, "kwargs": kwargs}
        signals.task_prerun.send(sender=task, **about)
        try:
            traced = _run(task, request, args, kwargs)
            if traced.state not in _NO_AFTER_RETURN:
                ended = traced.state, traced.value, request.id, args, kwargs, None
                _hook(task, request, "after_return", *ended)
        finally:
            signals.task_postrun.send(sender=task, **about, retval=traced.value, state=traced.state)
    return traced


def _run(task: Any, request: Request, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Traced:
    begun = monotonic()
    try:
        if not request.is_eager and task.app.conf.task_track_started:
            task.update_state(state=states.STARTED, meta={"pid": os.getpid(), "hostname": request.hostname})
        task.before_start(request.id, args, kwargs)
        value = task.body(*args, **kwargs)
        put_off = request.get("retry_to_come")
        if put_off is not None:
            raise put_off
    except Reject as error:
        return Traced(states.REJECTED, error, ExceptionInfo(error))
    except Ignore as error:
        return Traced(states.IGNORED, error, ExceptionInfo(error))
    except Retry as error:
        return _retried(task, request, error)
    except BaseException as error:  # noqa: BLE001 - a time limit is no Exception, and a failure of the task
        return _failed(task, request, args, kwargs, error)
    _hook(task, request, "on_success", value, request.id, args, kwargs)
    signals.task_success.send(sender=task, result=value, runtime=monotonic() - begun)
    return Traced(states.SUCCESS, value)


def _retried(task: Any, request: Request, error: Retry) -> Traced:
    info = ExceptionInfo(error)
    _hook(task, request, "on_retry", error.exc, request.id, request.args, request.kwargs, info)
    signals.task_retry.send(sender=task, request=request, reason=error, einfo=info)
    return Traced(states.RETRY, error, info)


def _failed(
    task: Any, request: Request, args: Sequence[Any], kwargs: Mapping[str, Any], error: BaseException
) -> Traced:
    info = ExceptionInfo(error)
    _hook(task, request, "on_failure", error, request.id, request.args, request.kwargs, info)
    signals.task_failure.send(
        sender=task,
        task_id=request.id,
        exception=error,
        args=request.args,
        kwargs=request.kwargs,
        traceback=error.__traceback__,
        einfo=info,
    )
    return Traced(states.FAILURE, error, info)


def _hook(task: Any, request: Request, name: str, *args: Any) -> None:
    """Call a hook; what it raises is logged, since the body's own end is what counts. Eager callers see it."""
    try:
        getattr(task, name)(*args)
    except Exception as error:
        if request.is_eager:
            raise
        logger.exception("Task %s[%s] %s handler raised: %r", task.name, request.id, name, error)
