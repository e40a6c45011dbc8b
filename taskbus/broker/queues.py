"""What a broker can tell about itself: how long its queues are, and who works on them."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class QueueSize:
    """How many messages a queue holds: ``ready`` to be fetched, ``delayed`` until later, ``running`` under a lease.

    ``oldest_at`` is when the longest waiting ready message became ready; None if none waits.
    """

    name: str
    ready: int
    delayed: int
    running: int
    oldest_at: float | None


@dataclass(frozen=True, slots=True)
class WorkerEntry:
    """One holder of a lease. ``lease_until`` in the past means that it is dead, and not yet reaped."""

    name: str
    incarnation: str
    pid: int
    queues: Sequence[str]
    started_at: float
    lease_until: float
    in_flight: int
