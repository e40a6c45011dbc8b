"""When a failed attempt is tried again: tenacity's stop, wait and retry objects as one value.

tenacity is used as an algebra, not as a loop: no process sleeps here. The policy is asked once after a failed
attempt, and its answer travels to the broker as a delay.
"""

from dataclasses import dataclass, field
from inspect import iscoroutinefunction
from typing import Any, NoReturn

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    stop_never,
    wait_random_exponential,
)
from tenacity.retry import retry_base
from tenacity.stop import stop_base
from tenacity.wait import wait_base

from taskbus.errors import ConfigError, TimeLimitExceeded

MAX_DELAY = 600.0
"""The default cap of a retry's delay, in seconds."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Which errors are tried again (``retry``), after how long (``wait``), and until when (``stop``).

    The default: any ``Exception`` and a ``time_limit`` that has passed, three retries, with full jitter below 1, 2, 4,
    8 seconds, never above ten minutes. Every tenacity object fits, alone or combined: ``stop_after_attempt(5) |
    stop_after_delay(3600)``. ``stop_after_delay`` counts from the moment the task was sent. A function of tenacity's
    ``RetryCallState`` fits too. Raises ``ConfigError`` for anything else.
    """

    stop: stop_base = field(default_factory=lambda: stop_after_attempt(4))
    wait: wait_base = field(default_factory=lambda: wait_random_exponential(multiplier=1, max=MAX_DELAY))
    retry: retry_base = field(default_factory=lambda: retry_if_exception_type((Exception, TimeLimitExceeded)))

    def __post_init__(self) -> None:
        for name, (kind, example) in _FITTING.items():
            fault = _fault(getattr(self, name), kind)
            if fault:
                raise ConfigError(f"RetryPolicy({name}={getattr(self, name)!r}): {fault}; write {name}={example}")

    @classmethod
    def never(cls) -> "RetryPolicy":
        """A policy that makes the first failure the last."""
        return cls(stop=stop_after_attempt(1))

    @classmethod
    def forever(cls) -> "RetryPolicy":
        """A policy that never gives up, with the default's waiting times."""
        return cls(stop=stop_never)

    def is_retryable(self, error: BaseException, attempt: int, age: float) -> bool:
        """Whether ``retry`` accepts this error. ``age``: seconds since the task was sent."""
        return bool(self.retry(_state(error, attempt, age)))

    def is_exhausted(self, error: BaseException, attempt: int, age: float) -> bool:
        """Whether ``stop`` refuses another attempt after this one."""
        return bool(self.stop(_state(error, attempt, age)))

    def delay(self, error: BaseException, attempt: int, age: float) -> float:
        """Seconds to wait before the next attempt, never negative."""
        return max(0.0, float(self.wait(_state(error, attempt, age))))


_KINDS = (stop_base, wait_base, retry_base)
_FITTING: dict[str, tuple[type, str]] = {
    "stop": (stop_base, "stop_after_attempt(5), with tenacity's class of that name"),
    "wait": (wait_base, "wait_fixed(30), with tenacity's class of that name"),
    "retry": (retry_base, "retry_if_exception_type(OSError), with tenacity's class of that name"),
}


def _fault(value: Any, kind: type) -> str:
    """Why ``value`` cannot be asked what an object of ``kind`` is asked; "" if it can."""
    if isinstance(value, kind):
        return ""
    if isinstance(value, type):
        return "that is a class, not an object of it" if issubclass(value, kind) else "that is a class"
    if isinstance(value, _KINDS):
        return "that object is for another field"
    if not callable(value):
        return "that cannot be called"
    return "that is a coroutine function" if iscoroutinefunction(value) else ""


def _state(error: BaseException, attempt: int, age: float) -> RetryCallState:
    """What tenacity's objects look at, filled in as its own loop would have it after this attempt."""
    state = RetryCallState(retry_object=_UNUSED, fn=None, args=(), kwargs={})
    state.attempt_number = attempt
    state.set_exception((type(error), error, error.__traceback__))
    state.start_time = 0.0  # a sum with a clock's time would be off by its last digits, just where a limit is met
    state.outcome_timestamp = max(0.0, age)
    return state


def _never_called() -> NoReturn:
    raise AssertionError("tenacity's loop is not used")


_UNUSED = Retrying(sleep=lambda _: _never_called())
