"""What observes a worker, behind the few calls that its loop makes: Celery's tools, reports, metrics and probes."""

import contextlib
import logging
import math
import time
from collections.abc import Callable, Collection, Sequence, Set
from concurrent.futures import Future
from typing import Any

import msgpack

from taskbus.beat.beat import Beat
from taskbus.broker.delivery import Settlement
from taskbus.clock import wall_clock
from taskbus.errors import BrokerError
from taskbus.monitor.pulse import Contact
from taskbus.monitor.queue_look import QueueLook
from taskbus.monitor.redaction import Redactor
from taskbus.monitor.reporting import Reporting
from taskbus.monitor.tallies import Tallies
from taskbus.store.opening import open_store
from taskbus.store.report_opening import open_reports
from taskbus.store.reports import Order
from taskbus.worker.admission import Admitted
from taskbus.worker.exposing import Exposure
from taskbus.worker.monitoring import Monitoring
from taskbus.worker.progressing import ProgressKeeper
from taskbus.worker.realm import Realm
from taskbus.worker.recording import Recorder
from taskbus.worker.reporting import WorkerSource
from taskbus.worker.settlement import Ended
from taskbus.worker.tallying import Tally

logger = logging.getLogger(__name__)

BRIEFING = 5.0
"""Seconds that a worker waits at its start to hear which queues are paused, and what was ordered before it came."""
LASTING = ("revoke", "revoke_by_stamped_headers", "terminate", "rate_limit", "time_limit")
"""Orders that a worker follows too which starts after they were given. The others were for those that ran then."""


class Observers:
    """Belongs to the loop. ``tallies``: what it has counted; any thread may read that.

    ``contacts``: how its dealings with the broker go. ``beat``: one that runs beside.
    """

    def __init__(
        self, realm: Realm, broker_url: str, results_url: str, contacts: Sequence[Contact], beat: Beat | None = None
    ) -> None:
        config = realm.config
        self._realm = realm
        self._monitoring = Monitoring(realm, broker_url)
        self._keeper = ProgressKeeper(realm.crew.progressed, lambda: open_store(results_url, wall_clock))
        self.tallies = Tallies()
        self._tally = Tally(self.tallies, config.reports_rate, keeps_records=config.reports)
        self._counts = config.reports or bool(config.http)
        self._reporting: Reporting | None = None
        self._brief_by: float | None = None
        self._paused = self._resting = frozenset[str]()
        self._is_briefed = not config.reports
        recorder = Recorder(realm.node, realm.specs, Redactor(config.redact))
        source = WorkerSource(realm, self._tally, recorder, self._obey, self._brief)
        look = QueueLook(broker_url, results_url, config.celery_queues, self._known_paused)
        self._exposure = Exposure(realm, contacts, self.tallies.totals, source.state, look, beat)
        source.http = self._exposure.url
        if config.reports:
            self._reporting = Reporting(realm.node, lambda: open_reports(results_url, wall_clock), source)
            source.node, source.ring = self._reporting.node, self._reporting.ring

    # --- in the loop ---------------------------------------------------------------------------------------------

    def fileno(self) -> int:
        """Readable when ``serve`` has something to do."""
        return self._monitoring.fileno()

    def serve(self, _: int = 0) -> None:
        """Carry out what was asked for."""
        self._monitoring.serve()

    def begin(self) -> None:
        """Report from now on, and learn what must be known before the first fetch."""
        if self._reporting is not None:
            self._brief_by = time.monotonic() + BRIEFING
            self._reporting.start()

    def start(self) -> None:
        """The worker is ready."""
        self._exposure.pulse.is_up = True
        self._monitoring.start()

    def may_fetch(self, now: float) -> bool:
        """Whether it is known by now which queues are paused, or was waited for long enough."""
        if not self._is_briefed and self._brief_by is not None and now >= self._brief_by:
            self._is_briefed = True
            logger.warning("reports: whether queues are paused is not known after %g s; working without", BRIEFING)
        return self._is_briefed

    def admitted(self, admitted: Admitted, now: float) -> Admitted:
        """This is what the broker gave; the same without what may not be run now: that has ended, or is kept here."""
        realm = self._realm
        realm.fetched_at = time.time()
        if self._counts and (admitted.to_run or admitted.ended):
            self._tally.received(admitted.to_run, admitted.ended)
        if realm.telemetry.is_on:
            realm.telemetry.received(admitted.to_run)
        return realm.standing.screen(admitted, now) if realm.standing.is_any else admitted

    def settled(self, ended: Sequence[Ended], settlements: Sequence[Settlement], stale: Collection[int]) -> None:
        """These have ended, and were settled so."""
        if self._counts:
            self._tally.settled(ended, settlements, stale)
        self._monitoring.settled(ended, settlements, stale)

    def tick(self, now: float, is_idle: Callable[[], bool]) -> None:
        """Do what is due; ``is_idle``: whether the worker has nothing to do."""
        self._exposure.pulse.turned_at = now
        self._tally.tick(now)
        self._monitoring.tick(now, is_idle)
        if self._realm.crew.progressed:
            self._keeper.ring()

    def next_at(self, now: float) -> float | None:
        """When ``tick`` has something to do."""
        briefing = None if self._is_briefed else self._brief_by
        return min(filter(None, (self._monitoring.next_at(now), self._tally.next_at(), briefing)), default=None)

    def close(self) -> None:
        """Tell the rest, and say goodbye."""
        self._tally.tick(math.inf)
        if self._reporting is not None:
            self._reporting.close()
        self._keeper.close()
        self._monitoring.close()
        self._exposure.close()

    # --- in other threads ----------------------------------------------------------------------------------------

    def _known_paused(self) -> Set[str] | None:
        """Which queues are paused; None if nobody tells."""
        return self._paused if self._reporting is not None else None

    # --- in the reporting thread ---------------------------------------------------------------------------------

    def _brief(self, paused: frozenset[str] | None) -> None:
        """What the store says of paused queues; None if it cannot be reached."""
        if self._is_briefed and (paused is None or paused == self._paused):
            return
        if paused is None:
            logger.warning("reports: whether queues are paused cannot be known now; working without")
        self._paused = self._paused if paused is None else paused
        self._monitoring.ask(_set_paused, {"observers": self, "paused": self._paused})

    def brief(self, paused: frozenset[str]) -> None:
        """In the loop: fetch from all but these from now on."""
        self._is_briefed = True
        if paused != self._resting:
            logger.info("paused queues: %s", ", ".join(sorted(paused)) or "none")
            self._resting = paused
        with contextlib.suppress(BrokerError):  # it is heeded by the next fetch, which is when it matters
            self._realm.consumer.rest(paused)
        self._realm.refetch()

    def _obey(self, order: Order, is_first: bool) -> "Future[Any] | None":
        """See ``worker.reporting.Obey``."""
        try:
            given = msgpack.unpackb(order.order, strict_map_key=False)
            name = given.pop("do")
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            refused: Future[Any] = Future()
            refused.set_exception(ValueError(f"order {order.number} cannot be read: {error!r}"))
            return refused
        if is_first and not order.node and name not in LASTING:
            return None
        return self._monitoring.carry_out(name, given)


def _set_paused(realm: Realm, observers: Observers, paused: frozenset[str]) -> None:
    observers.brief(paused)
