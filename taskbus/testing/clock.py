"""A clock that stands still until a test moves it."""

import threading
import time

START = 1_800_000_000.0
"""An instant in January 2027: far from zero, so that a forgotten clock shows."""


class MovableClock:
    """A ``Clock`` that says what it was told; may be moved from any thread."""

    def __init__(self, now: float = START) -> None:
        self._now = now
        self._lock = threading.Lock()

    def __call__(self) -> float:
        return self._now

    def __str__(self) -> str:
        return repr(self())

    def advance(self, seconds: float) -> float:
        """Move by ``seconds`` (back, if negative) and return the new instant."""
        with self._lock:
            self._now += seconds
            return self._now

    def set(self, instant: float) -> None:
        """Move to ``instant``."""
        with self._lock:
            self._now = instant


class RunningClock(MovableClock):
    """The wall clock, for brokers whose time cannot be moved: it is moved by waiting."""

    LATE = 0.05
    """Seconds that such a broker may be late."""

    def __call__(self) -> float:
        return time.time()

    def __str__(self) -> str:
        return "running"

    def advance(self, seconds: float) -> float:
        """Wait."""
        assert seconds < 30, f"{seconds} s are too long to wait for"
        threading.Event().wait(seconds + self.LATE)
        return time.time()

    def set(self, instant: float) -> None:
        raise AssertionError("this clock runs by itself")


def clock_like(text: str) -> MovableClock:
    """In another process: the clock that said ``text`` of itself."""
    return RunningClock() if text == "running" else MovableClock(float(text))
