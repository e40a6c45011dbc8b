"""What may be said about a task and about one call of it: the words, what they may hold, and what they come to."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from taskbus import codec
from taskbus.errors import ConfigError
from taskbus.message import MAX_PRIORITY, MIN_PRIORITY
from taskbus.retry import RetryPolicy
from taskbus.schedule.timetable import Timetable
from taskbus.wire import compact

MAX_OWN_HEADERS = compact.MAX_HEADERS - 8
"""Headers a caller may set; the rest is room for those that TaskBus adds on the way."""
QUEUE_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,200}")
_DEFAULT_RETRY = RetryPolicy()


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """What a decorator says about its task; None means: as the application's ``Config`` says.

    ``time_limit`` and ``soft_time_limit`` are seconds of one attempt. ``at_most_once`` acknowledges the message before
    the attempt: a crash loses it instead of running it again. ``result_ttl`` is in seconds. ``schedule``: when beats
    send it by themselves, without arguments; under the task's name, see ``TaskBus.schedule``.
    """

    name: str = ""
    queue: str | None = None
    retry: RetryPolicy | None = None
    time_limit: float | None = None
    soft_time_limit: float | None = None
    priority: int = 0
    at_most_once: bool = False
    store_results: bool | None = None
    result_ttl: float | None = None
    serializer: str | None = None
    schedule: Timetable | None = None


@dataclass(frozen=True, slots=True)
class CallOptions:
    """What one call says beyond its arguments. ``due_at`` and ``expires_at`` are instants.

    ``delay`` and ``expires_in`` are seconds that count from an instant not known yet: ``at`` makes instants of them.
    """

    queue: str | None = None
    priority: int | None = None
    due_at: float | None = None
    expires_at: float | None = None
    task_id: str | None = None
    headers: Mapping[str, str] | None = None
    delay: float | None = None
    expires_in: float | None = None

    def at(self, now: float) -> "CallOptions":
        """The same, counted from ``now``."""
        if self.delay is None and self.expires_in is None:
            return self
        due_at = self.due_at if self.delay is None else now + self.delay
        expires_at = self.expires_at if self.expires_in is None else now + self.expires_in
        return replace(self, due_at=due_at, expires_at=expires_at, delay=None, expires_in=None)

    def over(self, other: "CallOptions") -> "CallOptions":
        """What this says, and where it says nothing, what ``other`` does; of both their headers."""
        if other is PLAIN:
            return self
        if self is PLAIN:
            return other
        starts = self if self.delay is not None or self.due_at is not None else other
        ends = self if self.expires_in is not None or self.expires_at is not None else other
        return CallOptions(
            queue=other.queue if self.queue is None else self.queue,
            priority=other.priority if self.priority is None else self.priority,
            due_at=starts.due_at,
            expires_at=ends.expires_at,
            task_id=other.task_id if self.task_id is None else self.task_id,
            headers={**(other.headers or {}), **(self.headers or {})} or None,
            delay=starts.delay,
            expires_in=ends.expires_in,
        )


PLAIN = CallOptions()


def call_options(
    of: str,
    *,
    countdown: float | timedelta | None = None,
    eta: float | datetime | None = None,
    expires: float | datetime | timedelta | None = None,
    priority: int | None = None,
    queue: str | None = None,
    task_id: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> CallOptions:
    """The options of a call, from the words that users say. ``of``: the name of the task, for errors.

    Raises ``ConfigError`` for what makes no sense.
    """
    if countdown is not None and eta is not None:
        raise ConfigError(f"{of}: give countdown or eta, not both")
    made = CallOptions(
        queue=queue_option(queue, of),
        priority=None if priority is None else priority_option(priority),
        due_at=None if eta is None else _instant("eta", eta),
        expires_at=_instant("expires", expires) if isinstance(expires, datetime) else None,
        task_id=None if task_id is None else text_option("task_id", task_id, f"task {of!r}"),
        headers=None if headers is None else text_headers(headers),
        delay=None if countdown is None else _seconds(countdown),
        expires_in=None if expires is None or isinstance(expires, datetime) else _seconds(expires),
    )
    return PLAIN if made == PLAIN else made


def priority_option(value: int) -> int:
    if type(value) is not int or not MIN_PRIORITY <= value <= MAX_PRIORITY:
        raise ConfigError(
            f"priority {value!r} is not a whole number from {MIN_PRIORITY} to {MAX_PRIORITY} (higher is sooner)"
        )
    return value


def positive_option(name: str, value: float | None, task: str) -> float | None:
    if value is not None and (not isinstance(value, int | float) or not value > 0):
        raise ConfigError(f"task {task!r}: {name}={value!r} must be a positive number of seconds")
    return value


def must_be_ordered(soft: float | None, hard: float | None, task: str) -> None:
    if soft is not None and hard is not None and soft >= hard:
        raise ConfigError(
            f"task {task!r}: soft_time_limit={soft!r} would never be reached; it must be less than time_limit={hard!r}"
        )


def policy_option(value: RetryPolicy | None, task: str) -> RetryPolicy:
    if value is None:
        return _DEFAULT_RETRY
    if not isinstance(value, RetryPolicy):
        raise ConfigError(
            f"task {task!r}: retry={value!r} is no RetryPolicy; write retry=RetryPolicy(stop=stop_after_attempt(3)), "
            "with tenacity's stop_after_attempt, or retry=RetryPolicy.never()"
        )
    return value


def queue_option(value: str | None, task: str) -> str | None:
    if value is not None and not (isinstance(value, str) and QUEUE_NAME.fullmatch(value)):
        raise ConfigError(
            f"task {task!r}: queue={value!r} is no name of a queue; use 1 to 200 of the characters A-Z a-z 0-9 _ . : -"
        )
    return value


def serializer_option(value: str | None, task: str) -> None:
    if value is not None and value not in codec.CONTENT_TYPES:
        raise ConfigError(f"task {task!r}: serializer={value!r} is not one of {', '.join(codec.CONTENT_TYPES)}")


def text_option(name: str, value: str, of: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= compact.MAX_NAME:
        raise ConfigError(f"{of}: {name}={value!r} is not a text of 1 to {compact.MAX_NAME} characters")
    return value


def _seconds(value: float | timedelta) -> float:
    return value.total_seconds() if isinstance(value, timedelta) else float(value)


def _instant(name: str, value: float | datetime) -> float:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ConfigError(f"{name}={value!r} has no time zone; use datetime.now(UTC) or astimezone()")
        return value.timestamp()
    return float(value)


def text_headers(headers: Mapping[str, str]) -> Mapping[str, str]:
    fault = compact.header_fault(dict(headers))
    if not fault and len(headers) > MAX_OWN_HEADERS:
        fault = f"it has {len(headers)} headers, more than {MAX_OWN_HEADERS}"
    if fault:
        raise ConfigError(f"the message cannot be sent: {fault}")
    return headers
