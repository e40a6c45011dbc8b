"""The broker's time, told between round trips: by what it last said and a clock that never jumps.

A step of this host's wall clock changes nothing: neither a countdown nor an expiry is measured by it.
"""

import time
from collections.abc import Callable

from taskbus.clock import Clock, wall_clock
from taskbus.errors import BrokerError

GOOD_FOR = 5.0
"""Seconds after which the broker is asked again: for as long a retry may go by a clock that has been set since."""
SILENT_FOR = 5.0
"""Seconds for which a broker that could not tell is not asked again: each try may take its whole timeout."""
_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def _elapsed() -> float:
    """Seconds since some instant, those of a suspended machine included."""
    return time.clock_gettime(_BOOT)


class BrokerClock:
    """``now()`` is the broker's time within half a round trip. A clock of the caller's own (a test's) is obeyed.

    ``ask`` makes one round trip and returns what the broker's clock says at the instant at which it returns, or raises
    ``BrokerError``: it may have to connect first, so that only it knows how long the question took. While it cannot be
    asked, the broker's time is what it was last known to be; the local clock's, if it never was.
    """

    def __init__(self, clock: Clock, ask: Callable[[], float]) -> None:
        self._clock = clock
        self._ask = ask
        self._offset: float | None = None
        self._asked_at = 0.0
        self._silent_until = 0.0

    @property
    def is_passed(self) -> bool:
        """Whether the caller's clock is to be obeyed in place of the broker's."""
        return self._clock is not wall_clock

    def now(self) -> float:
        """The broker's time; never raises ``BrokerError``."""
        if self._clock is not wall_clock:
            return self._clock()
        elapsed = _elapsed()
        if self._offset is None or elapsed - self._asked_at > GOOD_FOR:
            elapsed = self._ask_at(elapsed)
        return wall_clock() if self._offset is None else elapsed + self._offset

    def _ask_at(self, elapsed: float) -> float:
        """Ask, unless it was in vain a moment ago; returns the instant after it."""
        if elapsed < self._silent_until:
            return elapsed
        try:
            told = self._ask()
        except BrokerError:
            self._silent_until = _elapsed() + SILENT_FOR
            return _elapsed()
        answered = _elapsed()
        self._offset, self._asked_at = told - answered, answered
        return answered

    def forget(self) -> None:
        """Ask again next time: the connection is a new one, maybe to another host."""
        self._offset = None
        self._silent_until = 0.0
