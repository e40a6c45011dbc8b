"""What a task may ask about the attempt it runs in, and the ways it may end it itself."""

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import NoReturn

from taskbus.errors import Reject, RetryRequested
from taskbus.message import NO_HEADERS


@dataclass(frozen=True, slots=True)
class Context:
    """One attempt, as its task sees it. Declare it as the first parameter and it is injected; callers do not pass it.

    ``attempt`` counts from 1. ``fencing_token`` grows with every delivery of this message: hand it to a store that
    refuses smaller ones, and a stale attempt cannot write there. ``idempotency_key`` is the same for every attempt.
    """

    task_id: str
    task: str
    attempt: int = 1
    queue: str = "default"
    priority: int = 0
    sent_at: float = 0.0
    fencing_token: int = 0
    headers: Mapping[str, str] = field(default_factory=lambda: NO_HEADERS)
    is_stopping: Callable[[], bool] = bool

    @property
    def idempotency_key(self) -> str:
        return self.task_id

    @property
    def shutting_down(self) -> bool:
        """Whether the worker was asked to stop: a long task may finish early and ``retry(delay=0)``."""
        return self.is_stopping()

    def retry(self, message: str = "retry requested", *, delay: float | None = None) -> NoReturn:
        """End this attempt and try again after ``delay`` seconds (None: as the retry policy says).

        Counts as a failed attempt: after the policy's last one the message is buried.
        """
        raise RetryRequested(message, delay)

    def reject(self, reason: str) -> NoReturn:
        """End this attempt and bury the message as a dead letter, without another attempt."""
        raise Reject(reason)


current: ContextVar[Context | None] = ContextVar("taskbus_context", default=None)
"""The attempt running in this thread or coroutine, None outside of tasks."""
