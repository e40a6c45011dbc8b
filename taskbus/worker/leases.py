"""The two clocks of a worker: renew one's own lease, and give back what dead workers held."""

import logging
import math
import random
import time

from taskbus.broker.consumer import Consumer
from taskbus.clock import Clock
from taskbus.errors import BrokerError, LeaseLost
from taskbus.monitor.pulse import Contact

logger = logging.getLogger(__name__)


class Leases:
    """Renews every third of the lease and sweeps ``sweep`` seconds after the last sweep, with some jitter.

    Measures by the monotonic clock: a step of the wall clock neither hurries nor delays it. On a slow line a sweep may
    take longer than the time between two: counted from its end, it leaves room for the tasks. ``contact``: how renewals
    go.
    """

    def __init__(self, consumer: Consumer, lease: float, sweep: float, clock: Clock = time.monotonic) -> None:
        self._consumer = consumer
        self._lease = lease
        self._sweep = sweep
        self._clock = clock
        self.contact = Contact()
        self._renew_at = clock() + lease / 3
        self.rest()

    @property
    def next_at(self) -> float:
        """When ``tick`` has something to do next, by the monotonic clock."""
        return min(self._renew_at, self._sweep_at)

    def tick(self, now: float) -> bool:
        """Do what is due. Raises ``LeaseLost`` if this worker was taken for dead.

        Returns whether a sweep has begun: let the store sweep too, then call ``rest``. A broker that does not answer
        is tried again soon; the lease is lost only when the broker says so.
        """
        if now >= self._renew_at:
            self._renew(now)
        if now < self._sweep_at:
            return False
        try:
            recovered = self._consumer.reap()
        except BrokerError as error:
            logger.warning("cannot look for dead workers: %s", error)
            self.rest()
            return False
        if recovered:
            logger.warning("messages of dead workers given back to their queues: %d", recovered)
        return True

    def rest(self) -> None:
        """Let the time to the next sweep begin."""
        self._sweep_at = self._clock() + self._sweep * random.uniform(0.8, 1.0)  # noqa: S311 (guards nothing)

    def stop_sweeping(self) -> None:
        """Leave sweeps to others, who stay: from now on only renew."""
        self._sweep_at = math.inf

    def _renew(self, now: float) -> None:
        try:
            self._consumer.renew()
        except LeaseLost:
            self._renew_at = now
            raise
        except BrokerError as error:
            logger.warning("cannot renew the lease, trying again: %s", error)
            self.contact.failed(now, "renew the lease", error)
            self._renew_at = now + min(1.0, self._lease / 10)
        else:
            self._renew_at = now + self._lease / 3
            self.contact.answered(now)
