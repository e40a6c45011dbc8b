"""What a task may ask about the attempt it runs in, and the ways it may end it itself."""

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from math import inf
from numbers import Real
from typing import Any, NamedTuple, NoReturn

from taskbus.errors import Reject, Replaced, RetryRequested
from taskbus.message import FLOW, NO_HEADERS, SCHEDULE, SCHEDULED_AT

LONGEST_NOTE = 200
"""Characters of a note on progress; what is longer is cut."""


class Progress(NamedTuple):
    """How far a task says it has come: ``done`` of ``total`` (0: it does not know), and what it is at.

    ``at``: when it said so (Unix seconds).
    """

    done: float
    total: float = 0.0
    note: str = ""
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Context:
    """One attempt, as its task sees it. Declare it as the first parameter and it is injected; callers do not pass it.

    ``attempt`` counts from 1. ``fencing_token`` grows with every delivery of this message: hand it to a store that
    refuses smaller ones, and a stale attempt cannot write there. ``idempotency_key`` is the same for every attempt.
    ``conceal`` is for middleware that tells others of an error: the text without secrets, those among the arguments of
    this call too. Outside of a worker it changes nothing.
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
    voice: Any = field(default=None, repr=False, compare=False)
    conceal: Callable[[str], str] = field(default=str, repr=False, compare=False)

    @property
    def idempotency_key(self) -> str:
        return self.task_id

    @property
    def flow_id(self) -> str:
        """The workflow that this task is part of; "" if it was sent alone."""
        return self.headers.get(FLOW, "")

    @property
    def schedule(self) -> str:
        """The schedule that this is a run of; "" if it was sent otherwise."""
        return self.headers.get(SCHEDULE, "")

    @property
    def scheduled_at(self) -> float | None:
        """The time of the schedule that this run is for (Unix seconds), however late it runs; None without one."""
        text = self.headers.get(SCHEDULED_AT)
        return None if text is None else float(text)

    @property
    def shutting_down(self) -> bool:
        """Whether the worker was asked to stop: a long task may finish early and ``retry(delay=0)``."""
        return self.is_stopping()

    def progress(self, done: float, total: float = 0, note: str = "") -> None:
        """Tell how far the task has come: ``done`` of ``total``, in any unit (0: not known), and what it is at.

        Shown by the page, by commands, and by ``AsyncResult.progress()`` within a second or so. Cheap enough for every
        step of a loop: only the latest is sent. Outside of a worker it does nothing. ``note`` is cut at 200 characters.

        Raises:
            ValueError: ``done`` or ``total`` is no finite number from 0 on.
            TypeError: one of them is no number, or ``note`` no text.
        """
        amounts = _amount("done", done), _amount("total", total)
        if not isinstance(note, str):
            raise TypeError(f"progress: note is {note!r}; give a text")
        if self.voice is not None:
            self.voice.progress(*amounts, note[:LONGEST_NOTE])

    def retry(self, message: str = "retry requested", *, delay: float | None = None) -> NoReturn:
        """End this attempt and try again after ``delay`` seconds (None: as the retry policy says).

        Counts as a failed attempt: after the policy's last one the message is buried.
        """
        raise RetryRequested(message, delay)

    def reject(self, reason: str) -> NoReturn:
        """End this attempt and bury the message as a dead letter, without another attempt."""
        raise Reject(reason)

    def replace(self, canvas: Any) -> NoReturn:
        """End this attempt and let ``canvas`` (a signature, ``chain``, ``chord`` or ``group``) take the task's place.

        What it ends with has this task's id and gives its result; what waits for this task, waits for that. Nothing of
        it runs before this attempt has ended. A ``group`` must be followed by a task that takes its list.
        """
        raise Replaced(canvas)


def _amount(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"progress: {name} is {value!r}; give a number")
    try:
        amount = float(value)
    except OverflowError:
        amount = inf
    if not 0 <= amount < inf:  # so that "not a number" is refused too
        raise ValueError(f"progress: {name} is {value!r}; give a finite number, 0 or more")
    return amount


current: ContextVar[Context | None] = ContextVar("taskbus_context", default=None)
"""The attempt running in this thread or coroutine, None outside of tasks."""
