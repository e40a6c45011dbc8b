"""The two clocks of a worker: renew one's own lease, and give back what dead workers held."""

import logging
import random
import time

from taskbus.broker.consumer import Consumer
from taskbus.errors import BrokerError, LeaseLost

logger = logging.getLogger(__name__)


class Leases:
    """Renews every third of the lease and sweeps every ``sweep`` seconds, with some jitter so that workers take turns.

    Measures by the monotonic clock: a step of the wall clock neither hurries nor delays it.
    """

    def __init__(self, consumer: Consumer, lease: float, sweep: float) -> None:
        self._consumer = consumer
        self._lease = lease
        self._sweep = sweep
        now = time.monotonic()
        self._renew_at = now + lease / 3
        self._sweep_at = now + _jittered(sweep)

    @property
    def next_at(self) -> float:
        """When ``tick`` has something to do next, by the monotonic clock."""
        return min(self._renew_at, self._sweep_at)

    def tick(self, now: float) -> bool:
        """Do what is due. Returns whether a sweep was done. Raises ``LeaseLost`` if this worker was taken for dead.

        A broker that does not answer is tried again soon; the lease is lost only when the broker says so.
        """
        if now >= self._renew_at:
            self._renew(now)
        if now < self._sweep_at:
            return False
        self._sweep_at = now + _jittered(self._sweep)
        try:
            recovered = self._consumer.reap()
        except BrokerError as error:
            logger.warning("cannot look for dead workers: %s", error)
            return False
        if recovered:
            logger.warning("messages of dead workers given back to their queues: %d", recovered)
        return True

    def _renew(self, now: float) -> None:
        try:
            self._consumer.renew()
        except LeaseLost:
            self._renew_at = now
            raise
        except BrokerError as error:
            logger.warning("cannot renew the lease, trying again: %s", error)
            self._renew_at = now + min(1.0, self._lease / 10)
        else:
            self._renew_at = now + self._lease / 3


def _jittered(seconds: float) -> float:
    return seconds * random.uniform(0.8, 1.0)  # noqa: S311 (spreads load, guards nothing)
