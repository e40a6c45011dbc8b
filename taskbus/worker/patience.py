"""Patience with a broker or store in trouble: growing pauses, and nothing forgotten meanwhile."""

import contextlib
import logging
from collections.abc import Iterator

from taskbus.errors import BrokerError, BrokerGone, LeaseLost, StoreError
from taskbus.monitor.pulse import Contact

logger = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0


class Patience:
    """``not_before``: until when to leave broker and store alone, by the monotonic clock. ``contact``: how it goes."""

    def __init__(self) -> None:
        self.not_before = 0.0
        self.contact = Contact()
        self._pause = FIRST_PAUSE

    @contextlib.contextmanager
    def trying_to(self, act: str, now: float) -> Iterator[None]:
        """A block that talks to them. Their errors end it and begin a pause, but for those that no patience mends."""
        try:
            yield
        except (LeaseLost, BrokerGone):
            raise
        except (BrokerError, StoreError) as error:
            self.not_before = now + self._pause
            self.contact.failed(now, act, error)
            logger.warning("cannot %s, trying again in %.2f s: %s", act, self._pause, error)
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
        else:
            self._pause = FIRST_PAUSE
            self.contact.answered(now)
