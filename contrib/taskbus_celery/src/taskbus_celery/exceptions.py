"""Celery's exceptions, by their names, and what says that something of Celery's is not here."""

import warnings
from typing import Any

from kombu.exceptions import OperationalError

from taskbus import SoftTimeLimitExceeded

__all__ = [
    "AlreadyRegistered", "CeleryError", "CeleryWarning", "ChordError", "Ignore", "ImproperlyConfigured",
    "MaxRetriesExceededError", "NotRegistered", "NotSupported", "OperationalError", "QueueNotFound", "Reject", "Retry",
    "SoftTimeLimitExceeded", "TaskError", "TaskPredicate", "TaskRevokedError", "TimeLimitExceeded", "TimeoutError",
    "WorkerLostError",
]  # fmt: skip


class CeleryWarning(UserWarning):
    """Something of Celery's does not mean here what it means there; the text says what to do. Each is told once."""


class CeleryError(Exception):
    """The root of Celery's errors."""


class TaskPredicate(CeleryError):
    """Raised in a task to decide how its attempt ends."""


class Retry(TaskPredicate):
    """The task is to be tried again: what ``self.retry`` raises. ``when``: seconds from now, or an instant."""

    def __init__(
        self, message: str | None = None, exc: Any = None, when: Any = None, is_eager: bool = False, sig: Any = None
    ) -> None:
        self.message = message
        self.exc = exc
        self.excs = None if exc is None else repr(exc)
        self.when = when
        self.is_eager = is_eager
        self.sig = sig
        super().__init__(message, exc, when)

    def __str__(self) -> str:
        if self.message:
            return self.message
        at = f"in {self.when}s" if isinstance(self.when, int | float) else f"at {self.when}"
        return f"Retry {at}: {self.excs}" if self.excs else f"Retry {at}"


class Ignore(TaskPredicate):
    """Keep neither a result nor a failure of this task."""


class Reject(TaskPredicate):
    """Bury the message as a dead letter, or with ``requeue`` run it again."""

    def __init__(self, reason: Any = None, requeue: bool = False) -> None:
        self.reason = reason
        self.requeue = requeue
        super().__init__(reason, requeue)


class ImproperlyConfigured(CeleryError):
    """A setting or an argument cannot be used."""


class TaskError(CeleryError):
    """Something is wrong with a task."""


class QueueNotFound(KeyError, TaskError):
    """The task is routed to a queue that ``task_queues`` does not have."""


class NotRegistered(KeyError, TaskError):
    """No task has this name."""

    def __repr__(self) -> str:
        return super().__repr__()


class AlreadyRegistered(TaskError):
    """A task has this name already."""


class TimeoutError(TaskError):
    """No result within the time given."""


class MaxRetriesExceededError(TaskError):
    """No attempt is left."""

    def __init__(self, *args: Any, task_args: Any = (), task_kwargs: Any = None, **kwargs: Any) -> None:
        self.task_args = task_args
        self.task_kwargs = {} if task_kwargs is None else task_kwargs
        super().__init__(*args, **kwargs)


class TaskRevokedError(TaskError):
    """The task was revoked or has expired."""


class ChordError(TaskError):
    """The body of a chord did not run, as a member failed."""


class TimeLimitExceeded(Exception):
    """The result of a task that ran into its ``time_limit``."""


class WorkerLostError(Exception):
    """The result of a task whose runners died of it."""


class NotSupported(ImproperlyConfigured, NotImplementedError):
    """There is nothing like it in TaskBus; the text says what to do instead."""


_told: set[str] = set()


def warn_once(text: str) -> None:
    """Say that something means something else here, the first time it is met in this process."""
    if text not in _told:
        _told.add(text)
        warnings.warn(text, CeleryWarning, stacklevel=3)
