"""The broker's time, told between round trips: by what it last said and a clock that never jumps.

A step of this host's wall clock changes nothing: neither a countdown nor an expiry is measured by it.
"""

import time
from collections.abc import Callable

from taskbus.clock import Clock, wall_clock

GOOD_FOR = 60.0
"""Seconds after which the broker is asked again: two clocks drift apart by milliseconds a minute at most."""
_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def _elapsed() -> float:
    """Seconds since some instant, those of a suspended machine included."""
    return time.clock_gettime(_BOOT)


class BrokerClock:
    """``now()`` is the broker's time within half a round trip. A clock of the caller's own (a test's) is obeyed.

    ``ask`` makes one round trip and returns what the broker's clock says.
    """

    def __init__(self, clock: Clock, ask: Callable[[], float]) -> None:
        self._clock = clock
        self._ask = ask
        self._offset: float | None = None
        self._asked_at = 0.0

    @property
    def is_passed(self) -> bool:
        """Whether the caller's clock is to be obeyed in place of the broker's."""
        return self._clock is not wall_clock

    def now(self) -> float:
        """The broker's time; raises whatever ``ask`` raises, when it has to ask."""
        if self._clock is not wall_clock:
            return self._clock()
        elapsed = _elapsed()
        if self._offset is None or elapsed - self._asked_at > GOOD_FOR:
            told = self._ask()
            answered = _elapsed()
            self._offset, self._asked_at = told - (elapsed + answered) / 2, answered
            elapsed = answered
        return elapsed + self._offset

    def forget(self) -> None:
        """Ask again next time: the connection is a new one, maybe to another host."""
        self._offset = None
