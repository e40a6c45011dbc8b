"""Events of tasks, with the fields of Celery 5.7; what all events have in common is added where they are sent."""

import platform
from datetime import UTC, datetime
from typing import Any

from taskbus import __version__
from taskbus.message import FLOW, Message
from taskbus.monitor.wording import celery_headers, error_text, result_text, shortened, texts_of
from taskbus.outcome import Dead, Failure, Reason, Retrying, Revoked, Succeeded

Event = dict[str, Any]
KILLED = 9
"""The signal that ends an attempt which was called off while it ran, whichever was asked for."""


def software() -> dict[str, str]:
    """What a heartbeat says of the program."""
    return {"sw_ident": "py-taskbus", "sw_ver": __version__, "sw_sys": platform.system()}


def sent(message: Message, at: float) -> Event:
    """``at``: when it was accepted by the broker."""
    where = {"queue": message.queue, "exchange": "", "routing_key": message.queue}
    return {**_described("task-sent", message, at), **where}


def received(message: Message, at: float) -> Event:
    """With its ``queue``, which Celery's has not: monitors that label by it else know it only from ``task-sent``."""
    return {**_described("task-received", message, at), "queue": message.queue}


def _described(kind: str, message: Message, at: float) -> Event:
    args, kwargs = texts_of(message)
    headers = celery_headers(message)
    return {
        "type": kind,
        "uuid": message.id,
        "timestamp": at,
        "name": headers.get("shadow") or message.task,
        "args": args,
        "kwargs": kwargs,
        "root_id": headers.get("root_id") or message.headers.get(FLOW, message.id),
        "parent_id": headers.get("parent_id"),
        "retries": message.attempt - 1,
        "eta": iso(message.due_at),
        "expires": iso(message.expires_at),
    }


def started(task_id: str, at: float) -> Event:
    return {"type": "task-started", "uuid": task_id, "timestamp": at}


def ended(task_id: str, outcome: object, at: float, ran_for: float) -> list[Event]:
    """What is told of an attempt that has ended; nothing of one that will be made again as if it had not been.

    A refused task is told as rejected and as failed: Celery's monitors would show it as running for ever else.
    """
    about = {"uuid": task_id, "timestamp": at}
    match outcome:
        case Succeeded(result, content_type):
            said = {"result": result_text(result, content_type), "runtime": ran_for}
            return [{"type": "task-succeeded", **about, **said}]
        case Retrying(_, failure):
            return [{"type": "task-retried", **about, **_failure(failure)}]
        case Revoked():
            signum = KILLED if ran_for > 0 else None
            return [{"type": "task-revoked", **about, "terminated": ran_for > 0, "signum": signum, "expired": False}]
        case Dead(Reason.EXPIRED, _):
            return [{"type": "task-revoked", **about, "terminated": False, "signum": None, "expired": True}]
        case Dead(Reason.UNKNOWN_TASK, failure):
            exception = f"NotRegistered({failure.message!r})"
            return [{"type": "task-failed", **about, "exception": exception, "traceback": ""}]
        case Dead(reason, failure):
            failed = {"type": "task-failed", **about, **_failure(failure)}
            rejected = {"type": "task-rejected", **about, "requeue": False}
            return [rejected, failed] if reason is Reason.REJECTED else [failed]
    return []


def _failure(failure: Failure) -> Event:
    return {"exception": error_text(failure), "traceback": shortened(failure.traceback)}


def iso(at: float | None) -> str | None:
    """An instant as Celery writes it."""
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat()
