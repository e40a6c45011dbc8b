"""An error as Celery stores it, by class and arguments, and back to a ``Failure``; no stored name is imported.

Celery's own classes and TaskBus's stand for each other where they say the same, so that either side rebuilds its own.
"""

import ast
from collections.abc import Mapping
from typing import Any

from taskbus.outcome import Failure

_OURS = {
    "taskbus.errors.TaskRevoked": "celery.exceptions.TaskRevokedError",
    "taskbus.errors.TaskExpired": "celery.exceptions.TaskRevokedError",
    "taskbus.errors.TimeLimitExceeded": "billiard.exceptions.TimeLimitExceeded",
    "taskbus.errors.SoftTimeLimitExceeded": "billiard.exceptions.SoftTimeLimitExceeded",
    "taskbus.errors.UnknownTask": "celery.exceptions.NotRegistered",
    "taskbus.errors.Reject": "celery.exceptions.Reject",
    "taskbus.errors.RetryRequested": "celery.exceptions.MaxRetriesExceededError",
    "taskbus.errors.DecodeError": "celery.exceptions.InvalidTaskError",
    "taskbus.worker.RunnerDied": "billiard.exceptions.WorkerLostError",
    "taskbus.worker.WorkerDied": "billiard.exceptions.WorkerLostError",
}
_THEIRS = {
    "celery.exceptions.TaskRevokedError": "taskbus.errors.TaskRevoked",
    "billiard.exceptions.TimeLimitExceeded": "taskbus.errors.TimeLimitExceeded",
    "billiard.einfo.TimeLimitExceeded": "taskbus.errors.TimeLimitExceeded",
    "billiard.exceptions.SoftTimeLimitExceeded": "taskbus.errors.SoftTimeLimitExceeded",
}
_REASONS = {"taskbus.errors.TaskRevoked": "revoked", "taskbus.errors.TaskExpired": "expired"}
"""What Celery says in a ``TaskRevokedError``."""
CHORD_ERROR = "celery.exceptions.ChordError"

Stored = dict[str, Any]
"""``{"exc_type": "ValueError", "exc_message": ["arguments", ...], "exc_module": "builtins"}``"""


def stored_error(failure: Failure, *, is_retry: bool = False) -> Stored:
    """The failure as Celery stores it. ``is_retry``: the attempt failed, and there will be another."""
    name = _OURS.get(failure.type, failure.type)
    if is_retry and failure.type == "taskbus.errors.RetryRequested":
        name = "celery.exceptions.Retry"
    module, kind = split(name)
    return {"exc_type": kind, "exc_message": _arguments(failure), "exc_module": module}


def failure_of(error: Any, traceback: str | None = None) -> Failure:
    """What a stored error says, whatever is in it. Where Celery's class has one of TaskBus's beside it, it is that."""
    if not isinstance(error, Mapping):
        return Failure("taskbus.errors.TaskBusError", _text(error), traceback or "")
    module, kind = error.get("exc_module"), error.get("exc_type")
    name = f"{module}.{kind}" if module else _text(kind)
    arguments = error.get("exc_message")
    message = said(arguments)
    if name == "celery.exceptions.TaskRevokedError" and message == "expired":
        return Failure("taskbus.errors.TaskExpired", message, traceback or "")
    return Failure(_THEIRS.get(name, name), message, traceback or "")


def said(arguments: Any) -> str:
    """What ``str`` of an exception with these arguments says."""
    if isinstance(arguments, list | tuple):
        if len(arguments) == 1:
            return _text(arguments[0])
        return str(tuple(arguments)) if arguments else ""
    return "" if arguments is None else _text(arguments)


def shown(error: Stored) -> str:
    """The ``repr`` of the exception, as Celery puts it into a ``ChordError``."""
    arguments = error.get("exc_message")
    listed = arguments if isinstance(arguments, list | tuple) else [arguments]
    kind = str(error.get("exc_type", "")).rpartition(".")[2]
    return f"{kind}({', '.join(map(repr, listed))})"


def chord_error(task_id: str, error: Stored) -> Failure:
    """Why a chord's body does not run: one of its parts failed."""
    return Failure(CHORD_ERROR, f"Dependency {task_id} raised {shown(error)}")


def split(name: str) -> tuple[str, str]:
    """A dotted class name as module and qualified name: that begins at the first part that looks like a class.

    So a class inside another one is found; one made inside a function is not, which nobody could import anyway.
    """
    parts = name.split(".")
    first = next((place for place, part in enumerate(parts) if part[:1].isupper()), len(parts) - 1)
    if "<locals>" in parts:
        first = min(first, parts.index("<locals>") - 1)
    first = max(first, 0)
    return ".".join(parts[:first]) or "builtins", ".".join(parts[first:])


def _arguments(failure: Failure) -> list[Any]:
    """The exception's arguments, as far as its message tells them."""
    reason = _REASONS.get(failure.type)
    if reason is not None:
        return [reason]
    if failure.type == "builtins.KeyError":  # whose message is the repr of its argument
        try:
            return [ast.literal_eval(failure.message)]
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return [failure.message]
    return [failure.message] if failure.message else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)
