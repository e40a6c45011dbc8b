"""The thread by which a process reports what it does, and hears what it is to do: workers, beats and pages alike.

It has a connection of its own, and whoever it reports for never waits for it. A store that is away is tried again; what
could not be said is said then. A report that may or may not have arrived is posted again as it was, under its number.
"""

import logging
import os
import resource
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from taskbus import __version__
from taskbus.clock import Clock, wall_clock
from taskbus.errors import ConfigError, StoreError
from taskbus.monitor.naming import node_name
from taskbus.monitor.report import NodeState, pack_state
from taskbus.monitor.resources import cpu_of, resident
from taskbus.store.reports import Answer, Inbox, Report, ReportStore

logger = logging.getLogger(__name__)

BUSY, IDLE = 1.0, 2.0
"""Seconds between two reports while there is something to tell, or somebody watches; and otherwise."""
LONGEST_PAUSE = 15.0
"""Seconds between two tries while the store is away, at most."""
FAREWELL = 1.0
"""Seconds that the goodbye of a process which stops may take."""
WARN_EVERY = 60.0
"""Seconds between two warnings that the store is away."""


class Source(Protocol):
    """Whoever is reported for. Every method is called in the reporting thread, and returns at once."""

    def state(self) -> NodeState:
        """What it is doing."""

    def is_busy(self) -> bool:
        """Whether it has something to tell that should not wait."""

    def minutes(self) -> Mapping[int, bytes]:
        """What was counted, of the minutes that have changed since they were ``posted``."""

    def records(self) -> bytes:
        """Records that were not given out yet, empty if none."""

    def answers(self) -> Sequence[Answer]:
        """What is to be said to orders; again and again, until it was posted."""

    def posted(self, report: Report, answers: Sequence[Answer]) -> None:
        """The store has these."""

    def heard(self, inbox: Inbox, *, is_first: bool) -> None:
        """What the store said to that. ``is_first``: the orders were given before this process was there."""

    def unheard(self, error: Exception) -> None:
        """The store did not answer."""


class Witness:
    """A ``Source`` that only says that a process is there: it counts nothing here, and takes no orders.

    ``kind``: "beat" or "web"; ``http``: where its metrics and probes are, "" if nowhere.
    """

    def __init__(self, kind: str, app: str, http: Callable[[], str], clock: Clock = wall_clock) -> None:
        self.name = node_name(f"{kind}-{os.getpid()}")
        self._kind, self._app, self._http = kind, app, http
        self._host, self._started_at = socket.gethostname(), clock()

    def state(self) -> NodeState:
        pid = os.getpid()
        return NodeState(
            kind=self._kind,
            name=self.name,
            host=self._host,
            pid=pid,
            version=__version__,
            app=self._app,
            started_at=self._started_at,
            rss=resident(pid) or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            cpu=cpu_of([pid]),
            load=os.getloadavg()[0],
            http=self._http(),
        )

    def is_busy(self) -> bool:
        return False

    def minutes(self) -> Mapping[int, bytes]:
        return {}

    def records(self) -> bytes:
        return b""

    def answers(self) -> Sequence[Answer]:
        return ()

    def posted(self, report: Report, answers: Sequence[Answer]) -> None:
        pass

    def heard(self, inbox: Inbox, *, is_first: bool) -> None:
        pass

    def unheard(self, error: Exception) -> None:
        pass


class Reporting:
    """From ``start`` to ``close``. ``node`` is the process's name among those that report, never used before."""

    def __init__(
        self, name: str, open_store: Callable[[], ReportStore], source: Source, clock: Clock = wall_clock
    ) -> None:
        self.node = f"{name}-{secrets.token_hex(4)}"
        self._open_store = open_store
        self._source = source
        self._clock = clock
        self._store: ReportStore | None = None
        self._number = 0
        self._unposted: tuple[Report, Sequence[Answer]] | None = None
        self._heard_up_to = 0
        self._watched_until = 0.0
        self._has_heard = False
        self._failures = 0
        self._warn_at = 0.0
        self._bell = threading.Event()
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="taskbus-reporting", daemon=True)

    def start(self) -> None:
        """Report from now on."""
        self._thread.start()

    def ring(self) -> None:
        """Report at once: there is an answer. For any thread."""
        self._bell.set()

    def close(self, timeout: float = FAREWELL) -> None:
        """Say goodbye, in so many seconds."""
        self._is_closing = True
        self._bell.set()
        if self._thread.ident is not None:
            self._thread.join(timeout)

    # --- in the thread -------------------------------------------------------------------------------------------

    def _run(self) -> None:
        self._ask_first()
        while not self._is_closing:
            self._bell.clear()
            try:
                self._report()
            except Exception:
                logger.exception("reports: a report could not be made; this is a fault of TaskBus")
                self._failures += 1
            self._bell.wait(self._pause())
        if not self._failures:  # a store that is away is not waited for by a process that stops
            self._report()
            self._report(is_last=True)
        if self._store is not None:
            self._store.close()

    def _ask_first(self) -> None:
        """Hear what there is before the first report, which writes: a worker waits for this before it takes a task."""
        try:
            self._store = self._open_store()
            self._hear(self._store.inbox(self.node))
        except (StoreError, ConfigError) as error:
            self._failed(error)
        except Exception:
            logger.exception("reports: the store could not be opened; this is a fault of TaskBus")

    def _pause(self) -> float:
        if self._failures:
            return min(LONGEST_PAUSE, BUSY * float(1 << min(self._failures - 1, 10)))
        return BUSY if self._source.is_busy() or self._clock() < self._watched_until else IDLE

    def _report(self, *, is_last: bool = False) -> None:
        """Post what there is; first what could not be posted before."""
        if self._unposted is not None and not self._post(*self._unposted):
            return
        self._number += 1
        source = self._source
        report = Report(
            self.node, self._number, self._clock(), pack_state(source.state()), source.minutes(), source.records(),
            is_last,
        )  # fmt: skip
        self._post(report, tuple(source.answers()))

    def _post(self, report: Report, answers: Sequence[Answer]) -> bool:
        self._unposted = report, answers
        try:
            if self._store is None:
                self._store = self._open_store()
            inbox = self._store.post(report, self._heard_up_to, answers)
        except (StoreError, ConfigError) as error:
            self._failed(error)
            return False
        self._unposted = None
        if self._failures and self._has_heard:
            logger.info("reports: the store answers again")
        self._failures = 0
        self._source.posted(report, answers)
        self._hear(inbox, is_heeded=not report.is_last)
        return True

    def _hear(self, inbox: Inbox, *, is_heeded: bool = True) -> None:
        self._heard_up_to = max((self._heard_up_to, *(order.number for order in inbox.orders)))
        self._watched_until = inbox.watched_until
        is_first, self._has_heard = not self._has_heard, True
        if is_heeded:
            self._source.heard(inbox, is_first=is_first)

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        now = time.monotonic()
        if now >= self._warn_at:
            self._warn_at = now + WARN_EVERY
            logger.warning("reports: %s; tried again, and counted meanwhile", error)
        self._source.unheard(error)
