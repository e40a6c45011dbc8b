"""What spans, attributes and metrics are called.

Source: OpenTelemetry's semantic conventions 1.44, "Messaging spans" and "Messaging client metrics" (in development),
and for ``Style.CELERY`` opentelemetry-instrumentation-celery 0.66.
"""

from collections.abc import Mapping
from enum import StrEnum

from taskbus import Context
from taskbus.message import Message

Attributes = dict[str, str | int | float | bool]

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""The bounds, in seconds, that the conventions want of their duration histograms."""


class Style(StrEnum):
    """How spans are named: by the conventions, or as Celery's instrumentation does, for dashboards made for that."""

    SEMCONV = "semconv"
    CELERY = "celery"


def name_of_send(style: Style, message: Message) -> str:
    """The name of the span of a send."""
    return f"apply_async/{message.task}" if style is Style.CELERY else f"send {message.queue}"


def name_of_attempt(style: Style, context: Context) -> str:
    """The name of the span of an attempt."""
    return f"run/{context.task}" if style is Style.CELERY else f"process {context.queue}"


def of_send(style: Style, system: str, message: Message) -> Attributes:
    """The attributes of a send; ``system`` is what carries it."""
    said = _common(system, "send", message.id, message.task, message.queue, message.headers)
    said["messaging.message.body.size"] = len(message.body)
    if message.due_at is not None:
        said["taskbus.task.eta"] = message.due_at
    if style is Style.CELERY:
        said |= {"celery.action": "apply_async", "celery.task_name": message.task}
    return said


def of_attempt(style: Style, system: str, client: str, context: Context) -> Attributes:
    """The attributes of an attempt; ``client`` names the process that makes it."""
    said = _common(system, "process", context.task_id, context.task, context.queue, context.headers)
    said["messaging.client.id"] = client
    said["taskbus.task.retries"] = context.attempt - 1
    if style is Style.CELERY:
        said |= {"celery.action": "run", "celery.task_name": context.task}
    return said


def of_metrics(system: str, operation: str, task: str, queue: str) -> Attributes:
    """The attributes of a measurement: few, since each set of values is a series."""
    return {
        "messaging.system": system,
        "messaging.operation.name": operation,
        "messaging.destination.name": queue,
        "taskbus.task.name": task,
    }


def _common(system: str, operation: str, task_id: str, task: str, queue: str, headers: Mapping[str, str]) -> Attributes:
    said: Attributes = {
        "messaging.system": system,
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": queue,
        "messaging.message.id": task_id,
        "taskbus.task.name": task,
    }
    if flow := headers.get("taskbus-flow"):
        said["messaging.message.conversation_id"] = flow
    if schedule := headers.get("taskbus-schedule"):
        said["taskbus.schedule.name"] = schedule
    return said
