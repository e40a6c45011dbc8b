"""What must be asked for, rather than being reported: how full queues are, who holds leases, what has died.

It is asked once a second at most, and only when somebody wants to know; what costs more, less often. All who ask at
once share one answer. A broker that is away is not waited for again within that second: the last answer stands, and
``error`` says why there is no newer one. While one who asks waits for long, all others get the last answer, too.
"""

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from taskbus.app import TaskBus
from taskbus.broker.queues import WorkerEntry
from taskbus.errors import TaskBusError
from taskbus.steering.queues import QueueView, dead_by_queue, queue_views
from taskbus.store.base import Filter
from taskbus.store.reports import ReportStore

T = TypeVar("T")
EVERY = 1.0
SELDOM = 10.0
LATELY = 10.0
PATIENCE, PATIENCE_AT_FIRST = 0.5, 6.0
"""Seconds to wait for somebody else who asks: with a last answer, and without one."""
STALE = 10.0
"""Seconds for which a last answer is a good one."""
RECENT = 900.0
"""Seconds for which a dead letter counts as one that has just come."""


@dataclass(frozen=True, slots=True)
class Gauged:
    """What was found at ``at``. ``dead``: how many dead letters came in the last ``RECENT`` seconds.

    ``growth``: by how many messages a second each queue grew lately, those that workers hold included.
    ``has_schedules``: some schedule is not paused; ``leader``: the beat that sends them, "" if none does. ``error``:
    what could not be asked.
    """

    at: float
    queues: Sequence[QueueView] = ()
    growth: Mapping[str, float] = field(default_factory=dict)
    leases: Sequence[WorkerEntry] = ()
    dead: int = 0
    has_schedules: bool = False
    leader: str = ""
    error: str = ""


class Cached(Generic[T]):
    """A value that is made anew when it is asked for and older than ``every`` seconds; for one thread at a time."""

    def __init__(self, make: Callable[[], T], every: float) -> None:
        self._make, self._every = make, every
        self._made: tuple[float, T] | None = None

    def get(self, now: float) -> T:
        """The value. What making it raises passes through, and is tried again with the next call."""
        if self._made is None or not 0 <= now - self._made[0] < self._every:
            self._made = now, self._make()
        return self._made[1]


class Gauges:
    """For any thread."""

    def __init__(self, app: TaskBus, reports: ReportStore) -> None:
        self._app, self._reports = app, reports
        self._lock = threading.Lock()
        self._last = Gauged(0.0)
        self._names: Sequence[str] = ()
        self._sizes: deque[tuple[float, Mapping[str, int]]] = deque()
        self._dead: Cached[Mapping[str, int]] = Cached(lambda: dead_by_queue(app, self._names), SELDOM)
        self._died = Cached(self._count_died, SELDOM)
        self._schedules = Cached(self._look_at_schedules, SELDOM)

    def read(self) -> Gauged:
        """What there is now, at most a second old where the broker answers; never raises ``TaskBusError``."""
        if not self._lock.acquire(timeout=PATIENCE if self._last.at else PATIENCE_AT_FIRST):
            last = self._last
            is_stale = self._app.clock() - last.at > STALE
            return replace(last, error=last.error or "the broker has not answered yet") if is_stale else last
        try:
            now = self._app.clock()
            if not 0 <= now - self._last.at < EVERY:
                self._last = self._look(now)
            return self._last
        finally:
            self._lock.release()

    def _look(self, now: float) -> Gauged:
        try:
            uncounted = queue_views(self._app, self._reports, now, dead={})
            self._names = [queue.name for queue in uncounted]
            died = self._dead.get(now)
            queues = [replace(queue, dead=died.get(queue.name, 0)) for queue in uncounted]
            leases = self._app.broker.workers() if self._app.broker.features.lists else ()
            has_schedules, leader = self._schedules.get(now)
            return Gauged(now, queues, self._grown(now, queues), leases, self._died.get(now), has_schedules, leader)
        except TaskBusError as error:
            last = self._last
            return Gauged(
                self._app.clock(), last.queues, {}, (), last.dead, last.has_schedules, last.leader, str(error)
            )

    def _grown(self, now: float, queues: Sequence[QueueView]) -> Mapping[str, float]:
        self._sizes.append((now, {queue.name: queue.ready + queue.delayed + queue.held for queue in queues}))
        while self._sizes[0][0] < now - LATELY:
            self._sizes.popleft()
        since, before = self._sizes[0]
        after = self._sizes[-1][1]
        return (
            {name: (size - before.get(name, size)) / (now - since) for name, size in after.items()}
            if since < now
            else {}
        )

    def _count_died(self) -> int:
        return self._app.store.count_dead_letters(Filter(newer_than=self._app.clock() - RECENT))

    def _look_at_schedules(self) -> tuple[bool, str]:
        schedules = self._app.schedules
        is_any = any(not each.is_paused for each in schedules.list())
        return is_any, schedules.places().schedules.leader() if is_any else ""
