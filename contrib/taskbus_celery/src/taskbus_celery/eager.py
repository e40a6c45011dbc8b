"""Running here and now: ``apply``, and all calls where ``task_always_eager`` is set. No broker, no worker."""

import socket
from collections.abc import Mapping, Sequence
from typing import Any

# mypy: allow-untyped-calls
from kombu.serialization import dumps, loads

from taskbus_celery import canvas, states, tracing
from taskbus_celery.exceptions import NotRegistered, Retry, TimeoutError
from taskbus_celery.request import Request
from taskbus_celery.result import AsyncResult, GroupResult, allow_join_result
from taskbus_celery.state import get_current_task
from taskbus_celery.utils.ids import uuid


class EagerResult(AsyncResult):
    """The result of a call that has been made."""

    def __init__(self, id: str, ret_value: Any, state: str, traceback: Any = None, name: str | None = None) -> None:
        self.id = self.task_id = id
        self.parent = None
        self.task_name = name
        self._value, self._state, self._traceback = ret_value, state, traceback

    def get(self, timeout: float | None = None, propagate: bool = True, *_: Any, **__: Any) -> Any:
        """The value; the task's exception is raised, or with ``propagate=False`` returned."""
        if self._state == states.PENDING:
            raise TimeoutError("The operation timed out.")
        if self._state in states.PROPAGATE_STATES and propagate:
            raise self._value if isinstance(self._value, BaseException) else Exception(self._value)
        return self._value

    wait = get

    @property
    def state(self) -> str:
        return self._state

    status = state

    @property
    def result(self) -> Any:
        return self._value

    info = result

    @property
    def traceback(self) -> Any:
        return self._traceback

    @property
    def name(self) -> str | None:
        return self.task_name

    @property
    def ignored(self) -> bool:
        return False

    def ready(self) -> bool:
        """It has ended."""
        return True

    def forget(self) -> None:
        """There is nothing to delete."""

    def revoke(self, *args: Any, **kwargs: Any) -> None:
        """It has ended."""
        self._state = states.REVOKED

    def __reduce__(self) -> Any:
        return EagerResult, (self.id, self._value, self._state, self._traceback, self.task_name)

    def __repr__(self) -> str:
        return f"<EagerResult: {self.id}>"


def apply(
    task: Any,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    link: Any = None,
    link_error: Any = None,
    task_id: str | None = None,
    retries: int = 0,
    throw: bool | None = None,
    headers: Mapping[str, Any] | None = None,
    **options: Any,
) -> EagerResult:
    """Make a call, with its retries; what is linked to it is called as well.

    Raises what the task does where ``throw``, or if that is None ``task_eager_propagates``, says so.
    """
    task = task.app.tasks[task.name]
    task.prepare()
    task_id = task_id or uuid()
    above = get_current_task()
    request = Request(
        id=task_id,
        task=task.name,
        args=tuple(args),
        kwargs=dict(kwargs),
        retries=retries,
        is_eager=True,
        called_directly=False,
        hostname=socket.gethostname(),
        callbacks=canvas.listed(link) or None,
        errbacks=canvas.listed(link_error) or None,
        parent_id=above.request.id if above is not None else None,
        root_id=(above.request.root_id or task_id) if above is not None else task_id,
        headers=dict(headers) if headers else None,
        timelimit=None
        if task.time_limit is None and task.soft_time_limit is None
        else [task.time_limit, task.soft_time_limit],
        children=[],
        delivery_info={
            "is_eager": True,
            "exchange": options.get("exchange"),
            "routing_key": options.get("routing_key"),
            "priority": options.get("priority"),
        },
    )
    traced = tracing.trace(task, request, tuple(args), dict(kwargs))
    if isinstance(traced.value, Retry) and traced.value.sig is not None:
        again = traced.value.sig
        return apply(task, again.args, again.kwargs, link=link, link_error=link_error, task_id=task_id,
                     retries=retries + 1, throw=throw, headers=headers, **options)  # fmt: skip
    must_raise = task.app.conf.task_eager_propagates if throw is None else throw
    if traced.state == states.FAILURE and must_raise:
        raise traced.value
    _call_back(task.app, traced, task_id, link, link_error)
    text = None if traced.info is None else traced.info.traceback
    return EagerResult(task_id, traced.value, traced.state, text, task.name)


def _call_back(app: Any, traced: tracing.Traced, task_id: str, link: Any, link_error: Any) -> None:
    """What is linked is sent, which where ``task_always_eager`` is set runs it here."""
    if traced.state == states.SUCCESS:
        for callback in canvas.listed(link):
            canvas.maybe_signature(callback, app).apply_async((traced.value,))
    elif traced.state == states.FAILURE:
        for errback in canvas.listed(link_error):
            canvas.maybe_signature(errback, app).apply_async((task_id,))


def as_if_sent(app: Any, call: Any) -> Any:
    """Run a signature that would have been sent: its arguments go through the serializer, as they would have."""
    if type(call) is canvas.Signature:
        serializer = app.conf.task_serializer
        content_type, encoding, data = dumps((call.args, call.kwargs), serializer)
        call["args"], call["kwargs"] = loads(data, content_type, encoding, accept=[content_type])
    return run(app, call)


def run(app: Any, call: Any) -> Any:
    """Run a signature; a chain, group or chord task by task."""
    if isinstance(call, canvas.chain):
        return _run_chain(app, call)
    if isinstance(call, canvas.group):
        given, named = call.get("args", ()), call.get("given", {})
        ended = [run(app, task.clone(given, named)) for task in call.tasks]
        return GroupResult(call.options.get("task_id") or uuid(), ended, app=app)
    if isinstance(call, canvas.chord):
        header = run(app, call.tasks.clone(call.get("args", ()), call.get("given", {})))
        return run(app, call.body.clone((_value(header),), **_inherited(call)))
    task = app.tasks.get(call.task)
    if task is None:
        raise NotRegistered(call.task)
    options = {key: value for key, value in call.options.items() if key not in ("countdown", "eta", "expires")}
    ended_one = task.apply(call.args, call.kwargs, **options)
    return ended_one


def _run_chain(app: Any, call: Any) -> Any:
    last: Any = None
    for number, step in enumerate(call.tasks):
        is_last = number == len(call.tasks) - 1
        step = step.clone(**(_inherited(call) if is_last else {}))
        fed = (call.get("args", ()), call.get("given", {})) if last is None else ((_value(last),), {})
        ended = run(app, step.clone(*fed))
        ended.parent, last = last, ended
    return last


def _inherited(call: Any) -> dict[str, Any]:
    return {key: call.options[key] for key in ("task_id", "link", "link_error") if key in call.options}


def _value(ended: Any) -> Any:
    with allow_join_result():
        return ended.get()
