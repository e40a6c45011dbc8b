"""Every error TaskBus raises, as one tree.

    TaskBusError
    ├── ConfigError               a setting, URL or option that cannot be used
    │   └── AppNotFound           ``-A module:app`` does not lead to a TaskBus
    ├── SendError                 the task was not accepted
    │   ├── BadArguments          (also a TypeError) the call does not fit the task's signature
    │   ├── PayloadTooLarge       the message is larger than ``max_message_bytes``
    │   └── PublishFailed         the broker could not be reached, or refused it; it will never run
    │       ├── PublishUnknown    the broker did not answer; it may or may not run
    │       └── SpoolFailed       and the spool could not take it either
    ├── CodecError                (also a ValueError) a value or bytes that cannot be coded
    │   ├── EncodeError
    │   └── DecodeError
    ├── BrokerError               the broker cannot be used
    │   ├── BrokerGone            its database was deleted or replaced while in use
    │   └── LeaseLost             this worker's lease was taken away
    ├── StoreError                the result store cannot be used
    ├── ResultError
    │   ├── ResultTimeout         (also a TimeoutError) no result within the timeout
    │   ├── FlowFailed            a task before it in its workflow failed, so that it did not run
    │   ├── TaskRevoked           the task was called off before it ran
    │   │   └── TaskExpired       it was not started before ``expires``
    │   └── RemoteError           the task raised, and its class may not be rebuilt here
    │       └── TaskTimedOut      its ``time_limit`` ended it
    ├── SoftTimeLimitExceeded     raised inside a task at ``soft_time_limit``
    └── Verdict                   raised inside a task to end its attempt on purpose
        ├── Reject                bury the message now, without another attempt
        ├── RetryRequested        try again later (raised by ``ctx.retry()``)
        └── Replaced              a workflow takes the task's place (raised by ``ctx.replace()``)

    TimeLimitExceeded             a BaseException: ``except Exception`` in a task does not stop it

A message says what happened, with the value, and what to do next.
"""

from collections.abc import Sequence
from typing import Any


class TaskBusError(Exception):
    """The root of TaskBus's own errors."""


class ConfigError(TaskBusError):
    """A setting, URL or option cannot be used; nothing was started."""


class AppNotFound(ConfigError):
    """The path given with ``-A`` does not lead to a ``TaskBus``."""


class SendError(TaskBusError):
    """The task was not accepted; nothing was put on a queue."""


class BadArguments(SendError, TypeError):
    """The arguments do not fit the task's signature, which the message shows."""


class PayloadTooLarge(SendError):
    """The encoded message is larger than ``max_message_bytes``."""


class PublishFailed(SendError):
    """The broker could not be reached, or refused the message; the task will never run.

    ``task_ids`` are those it is about: of a batch all that were on their way together. Sending again, under the same
    or another id, is safe.
    """

    def __init__(self, message: str, task_ids: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.task_ids = tuple(task_ids)


class PublishUnknown(PublishFailed):
    """The broker did not answer: the task may or may not run.

    To make sure, send it again with the same ``task_id`` (``task_ids`` holds it): a broker whose features say ``dedup``
    counts it once within ``dedup_window`` seconds. Others (RabbitMQ, SQLite) queue it once more, and it may run twice.
    """

    def __str__(self) -> str:
        said = super().__str__()
        if not self.task_ids:
            return said
        which = f"task {self.task_ids[0]}" if len(self.task_ids) == 1 else f"{len(self.task_ids)} tasks"
        return (
            f"{said}; {which} may run or not: sent again with the same task_id it is queued once, but on RabbitMQ and"
            " SQLite, which do not know it again, perhaps twice"
        )


class SpoolFailed(PublishFailed):
    """The broker could not be reached, and the spool is full or cannot be written; the task will never run."""


class CodecError(TaskBusError, ValueError):
    """A value cannot be encoded, or bytes cannot be decoded."""


class EncodeError(CodecError):
    """The value has no safe encoding."""


class DecodeError(CodecError):
    """The bytes are not what they claim to be, or exceed a limit."""


class BrokerError(TaskBusError):
    """The broker cannot be reached or used."""


class BrokerGone(BrokerError):
    """The broker's database was deleted or replaced while in use: what is sent now goes elsewhere. Start anew."""


class LeaseLost(BrokerError):
    """This worker's lease was taken away: its deliveries now belong to others."""


class StoreError(TaskBusError):
    """The result store cannot be reached or used."""


class ResultError(TaskBusError):
    """A result that is not a value, or that is not kept."""


class ResultTimeout(ResultError, TimeoutError):
    """No result arrived within the timeout; the task may still finish."""


class TaskRevoked(ResultError):
    """The task was called off and did not run to its end."""


class TaskExpired(TaskRevoked):
    """The task was not started before the time given by ``expires``."""


class FlowFailed(ResultError):
    """The task did not run: one that it waited for in its workflow failed, which the message names."""


class RemoteError(ResultError):
    """The task raised an error whose class is not rebuilt on this side.

    ``type`` is the dotted name of the remote class as text (it is never imported), ``message`` what it said,
    ``remote_traceback`` the text of the remote traceback.
    """

    def __init__(self, type: str, message: str, remote_traceback: str = "") -> None:
        super().__init__(f"{type}: {message}" if message else type)
        self.type = type
        self.message = message
        self.remote_traceback = remote_traceback

    def __reduce__(self) -> tuple[Any, ...]:
        # Python's own way would call the class with the finished text alone.
        return self.__class__, (self.type, self.message, self.remote_traceback), self.__dict__


class TaskTimedOut(RemoteError):
    """The task ran into its ``time_limit``, in its last attempt.

    Inside the task that is a ``TimeLimitExceeded``; out of ``get`` a ``BaseException`` would do harm.
    """


class SoftTimeLimitExceeded(TaskBusError):
    """Raised inside a task when its ``soft_time_limit`` has passed; catch it to clean up."""


class TimeLimitExceeded(BaseException):
    """Raised inside a task when its ``time_limit`` has passed.

    Not an ``Exception``, so that a task's ``except Exception`` cannot swallow it; a second later the runner is
    killed whatever the task does.
    """


class Verdict(TaskBusError):
    """Raised inside a task to decide itself how its attempt ends."""


class Reject(Verdict):
    """Bury the message as a dead letter now, without another attempt."""


class RetryRequested(Verdict):
    """Try again after ``delay`` seconds, or when the task's policy says if ``delay`` is None."""

    def __init__(self, message: str = "retry requested", delay: float | None = None) -> None:
        super().__init__(message)
        self.delay = delay


class Replaced(Verdict):
    """Let a workflow take the place of this task: ``canvas`` says which."""

    def __init__(self, canvas: Any) -> None:
        super().__init__(canvas)
        self.canvas = canvas
