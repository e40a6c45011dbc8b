"""How much may be told a second: a token bucket."""

import time


class Bucket:
    """Holds ``rate`` tokens, and gets as many a second. ``fill`` before ``left`` is looked at; a taker subtracts one.

    Not locked: whoever shares it among threads locks. The field is public since it is asked for each task.
    """

    __slots__ = ("_filled_at", "_rate", "left")

    def __init__(self, rate: float) -> None:
        self._rate = self.left = float(rate)
        self._filled_at = time.monotonic()

    def fill(self) -> None:
        """Add what has come since it was filled last."""
        now = time.monotonic()
        self.left = min(self._rate, self.left + (now - self._filled_at) * self._rate)
        self._filled_at = now
