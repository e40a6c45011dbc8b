"""A clock that stands still until a test moves it."""

import threading

START = 1_800_000_000.0
"""An instant in January 2027: far from zero, so that a forgotten clock shows."""


class MovableClock:
    """A ``Clock`` that says what it was told; may be moved from any thread."""

    def __init__(self, now: float = START) -> None:
        self._now = now
        self._lock = threading.Lock()

    def __call__(self) -> float:
        return self._now

    def advance(self, seconds: float) -> float:
        """Move by ``seconds`` (back, if negative) and return the new instant."""
        with self._lock:
            self._now += seconds
            return self._now

    def set(self, instant: float) -> None:
        """Move to ``instant``."""
        with self._lock:
            self._now = instant
