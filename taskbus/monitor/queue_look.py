"""How long the queues are, for metrics: asked on connections of its own, so that nobody who works waits for it."""

import logging
import time
from collections.abc import Callable, Set
from glob import escape

from taskbus.broker.broker import Broker
from taskbus.broker.queues import QueueSize
from taskbus.clock import wall_clock
from taskbus.errors import BrokerError, StoreError
from taskbus.monitor.figures import QueueFigures, Sight
from taskbus.store.base import Filter, Store
from taskbus.store.opening import open_store

logger = logging.getLogger(__name__)

DEAD_EVERY = 30.0
"""Seconds between two counts of dead letters."""
MOST_BY_QUEUE = 10_000
"""Dead letters above which they are no longer counted by queue: some stores read them all for that."""


class QueueLook:
    """A look at all queues of a broker, and at the dead letters of a store. ``paused``: the queues that rest now, None
    if that is not known. One thread at a time may look; nothing is opened before."""

    def __init__(
        self, broker_url: str, results_url: str, celery_queues: tuple[str, ...], paused: Callable[[], Set[str] | None]
    ) -> None:
        self._broker_url, self._results_url = broker_url, results_url
        self._celery_queues = celery_queues
        self._paused = paused
        self._parts: tuple[Broker, Store] | None = None
        self._dead: tuple[int | None, dict[str, int]] = (None, {})
        self._dead_at = float("-inf")

    def __call__(self) -> Sight | None:
        """What is to be seen; None if the broker does not answer."""
        try:
            if self._parts is None:
                broker = Broker(self._broker_url, celery_queues=self._celery_queues)
                self._parts = broker, open_store(self._results_url, wall_clock)
            broker, store = self._parts
            sizes = broker.queues()
        except (BrokerError, StoreError) as error:
            logger.debug("metrics: the queues cannot be looked at: %s", error)
            return None
        total, by_queue = self._letters(store, sizes)
        paused = self._paused()
        return Sight([_figures(size, by_queue, paused) for size in sizes], total)

    def close(self) -> None:
        """Close its connections."""
        if self._parts is not None:
            broker, store = self._parts
            broker.close()
            store.close()

    def _letters(self, store: Store, sizes: list[QueueSize]) -> tuple[int | None, dict[str, int]]:
        now = time.monotonic()
        if now - self._dead_at >= DEAD_EVERY:
            self._dead_at = now
            try:
                total = store.count_dead_letters(Filter())
                counts = {size.name: 0 for size in sizes}
                if 0 < total <= MOST_BY_QUEUE:
                    counts = {name: store.count_dead_letters(Filter(queue=escape(name))) for name in counts}
                self._dead = total, counts if total <= MOST_BY_QUEUE else {}
            except StoreError as error:
                logger.debug("metrics: dead letters cannot be counted: %s", error)
                self._dead = None, {}
        return self._dead


def _figures(size: QueueSize, dead: dict[str, int], paused: Set[str] | None) -> QueueFigures:
    is_paused = None if paused is None else size.name in paused
    return QueueFigures(
        size.name, size.ready, size.delayed, size.running, size.oldest_at, is_paused, dead.get(size.name)
    )
