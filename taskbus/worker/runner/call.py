"""What a message of a flow asks to be called: a task behind what the flow gives it, or many calls in turn."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from taskbus import codec
from taskbus.context import Context
from taskbus.message import Message
from taskbus.monitor.concealing import shown_call
from taskbus.monitor.redaction import Redactor
from taskbus.task import Task
from taskbus.wire import celery
from taskbus.workflow.failed import FailedTask

AnyTask = Task[..., Any]
Arguments = tuple[list[Any], dict[str, Any]]


def arguments_of(task: AnyTask, message: Message, inputs: Any) -> Arguments:
    """The arguments of the call, with what its flow gives it first. ``inputs``: as in a ``Job``.

    Raises as ``Task.unpack``.
    """
    return task.arguments.unpack(message.body, message.content_type, (value_of(inputs),))


def chunk_of(task: AnyTask, message: Message, inputs: Any) -> list[Arguments]:
    """The arguments of each call of a chunk; each is given what the flow gives. Raises as ``Task.unpack``."""
    before = () if inputs is None else (value_of(inputs),)
    return task.arguments.unpack_chunk(message.body, message.content_type, before)


def concealed(task: AnyTask, message: Message, has_inputs: bool, text: str) -> str:
    """The text without secrets, by the names that the application adds too, and without those of this call."""
    redactor = Redactor(task.sender.config.redact if task.sender is not None else ())
    parameters = list(task.arguments.signature.parameters)
    return redactor.ends(text, shown_call(redactor, message, parameters, has_inputs=has_inputs).secrets)


def as_called(task: AnyTask, message: Message) -> AnyTask:
    """The task with the limits that a call of Celery's brings, and without a result if the call wants none."""
    hard, soft = celery.limits_of(message)
    own: dict[str, Any] = {} if hard is None else {"time_limit": hard}
    if soft is not None:
        own["soft_time_limit"] = soft
    if celery.is_result_ignored(message):
        own["store_results"] = False
    return _like(task, own) if own else task


def _like(task: AnyTask, differences: dict[str, Any]) -> AnyTask:
    like = object.__new__(type(task))
    like.__dict__.update(task.__dict__, **differences)
    return like


def value_of(inputs: Any) -> Any:
    """What the inputs of a job stand for: values, lists of them, and ``FailedTask`` in the place of what failed."""
    if isinstance(inputs, bytes):
        return codec.decode(inputs)
    if len(inputs) == 1:
        return [value_of(each) for each in inputs[0]]
    if len(inputs) == 2:
        content_type, value = inputs
        return codec.decode(value, content_type)
    return FailedTask(*inputs)


def in_turn(task: AnyTask, calls: Sequence[Arguments], context: Context) -> AnyTask:
    """The task, with a function without arguments that makes these calls one after the other and returns the values."""
    function = partial(task.function, context) if task.takes_context else task.function

    def each() -> list[Any]:
        return [function(*args, **kwargs) for args, kwargs in calls]

    async def aeach() -> list[Any]:
        return [await function(*args, **kwargs) for args, kwargs in calls]

    return _like(task, {"function": aeach if task.is_async else each})
