"""What a page of metrics is made of: plain values, read when somebody asks. The page is made in ``metrics``."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from taskbus.monitor.report import NodeState, Total, unpack_state
from taskbus.store.reports import Node

GENERIC = "generic"
"""The ``hostname`` of what is counted over all workers, as celery-exporter says it."""
SILENT_AFTER = 15.0
"""Seconds after its last report from which a node is taken for down: several that did not come."""


class QueueFigures(NamedTuple):
    """A queue as it is now. ``oldest_at``: an instant, since when the first ready message waits.

    ``is_paused`` and ``dead`` (dead letters) are None where they are not known.
    """

    name: str
    ready: int = 0
    delayed: int = 0
    unacked: int = 0
    oldest_at: float | None = None
    is_paused: bool | None = None
    dead: int | None = None


class Sight(NamedTuple):
    """All queues as they are now, and how many dead letters there are, None if that is not known."""

    queues: Sequence[QueueFigures]
    dead: int | None


class ScheduleFigures(NamedTuple):
    """A schedule of a beat that leads. ``last_sent_at``: an instant, None if it never was."""

    name: str
    last_sent_at: float | None
    sent: int
    missed: int
    skipped: int
    lateness: float


class Figures(NamedTuple):
    """All that is told at one instant, ``at``.

    ``totals`` grow from the start of whatever counts them; ``hostname`` is whose they are. ``nodes`` are workers and
    beats that live, ``down`` the names of those that fell silent. ``queues`` None: they could not be looked at, or were
    not to be. ``departures``: runners that left, by why. ``is_broker_up``, ``broker_errors`` None: not known here.
    """

    at: float
    totals: Sequence[Total] = ()
    hostname: str = GENERIC
    nodes: Sequence[NodeState] = ()
    down: Sequence[str] = ()
    queues: Sight | None = None
    schedules: Sequence[ScheduleFigures] = ()
    departures: Mapping[str, int] = {}
    is_broker_up: bool | None = None
    broker_errors: int | None = None


class Lookout:
    """Looks at something slow in a thread of its own: when asked, if the last look is older than ``fresh_for``.

    Whoever asks waits ``patience`` seconds at most, and gets what was last seen, unless that is older than
    ``stale_for``. Its thread starts with the first question. Looks that fail are none: ``look`` says so by None.
    """

    def __init__(
        self,
        look: Callable[[], Sight | None],
        *,
        fresh_for: float = 5.0,
        patience: float = 2.0,
        stale_for: float = 60.0,
    ) -> None:
        self._look = look
        self._fresh_for, self._patience, self._stale_for = fresh_for, patience, stale_for
        self._seen: tuple[float, Sight] | None = None
        self._looked_at = float("-inf")
        self._condition = threading.Condition()
        self._is_asked = self._is_closed = False
        self._thread: threading.Thread | None = None

    def seen(self) -> Sight | None:
        """What there is to be seen; None if that is not known."""
        with self._condition:
            if time.monotonic() - self._looked_at > self._fresh_for and not self._is_closed:
                looked_at, self._is_asked = self._looked_at, True
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="taskbus-lookout", daemon=True)
                    self._thread.start()
                self._condition.notify_all()
                self._condition.wait_for(lambda: self._looked_at > looked_at, self._patience)
            is_known = self._seen is not None and time.monotonic() - self._seen[0] < self._stale_for
            return self._seen[1] if self._seen is not None and is_known else None

    def close(self) -> None:
        """Look no more. A look that hangs is not waited for."""
        with self._condition:
            self._is_closed = True
            self._condition.notify_all()
        if self._thread is not None:
            self._thread.join(self._patience)

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._is_asked or self._is_closed)
                if self._is_closed:
                    return
                self._is_asked = False
            found = self._look()
            with self._condition:
                self._looked_at = time.monotonic()
                if found is not None:
                    self._seen = (self._looked_at, found)
                self._condition.notify_all()


def figures_of_all(
    at: float,
    totals: Sequence[Total],
    nodes: Iterable[Node],
    queues: Sight | None,
    schedules: Sequence[ScheduleFigures] = (),
) -> Figures:
    """What a page tells of all workers and beats, from their reports.

    ``totals``: of all workers by task and queue, growing for ever. A node that has not reported for ``SILENT_AFTER``
    seconds, by its own clock and ``at``, is down until it is forgotten.
    """
    living, down = [], []
    for node in nodes:
        state = unpack_state(node.state)
        if at - node.at < SILENT_AFTER:
            living.append(state)
        elif state.kind == "worker":
            down.append(state.name)
    return Figures(
        at, totals, nodes=living, down=down, queues=queues, schedules=schedules, is_broker_up=queues is not None
    )
