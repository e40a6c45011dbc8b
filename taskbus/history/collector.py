"""Follows what processes report: once a second into the live picture, and into the history."""

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from taskbus.clock import Clock, wall_clock
from taskbus.errors import StoreError
from taskbus.history.history import History
from taskbus.history.live import Live
from taskbus.history.shapes import Cursor, LiveSnapshot, Quantiles, Rates, Series
from taskbus.store.reports import Minute, Records, ReportStore

logger = logging.getLogger(__name__)

EVERY = 1.0
"""Seconds from turn to turn."""
MINUTES_AT_ONCE, RECORDS_AT_ONCE = 500, 200
"""Rows, and bundles of records, that are merged in one transaction."""
LONGEST_TURN = 0.8
"""Seconds after which a turn leaves the rest to the next one: whoever was away for long catches up in many."""
SHARE = 0.1
"""How much of the time goes into merging, at most: where it takes long it is done less often."""
SWEEP_EVERY = 10.0
WARN_EVERY = 60.0
_NOTHING = LiveSnapshot(0.0, Rates(), Quantiles(), Quantiles(), [], [], [], [], 0, [], 0, 1, 0)


class Collector:
    """Reads ``reports`` and merges it into ``history``, whether a page is open or not, from ``start`` to ``stop``.

    It may be killed at any time, and several may run at once. A store that fails is tried again; why is in
    ``snapshot().error``.
    """

    def __init__(self, history: History, reports: ReportStore, clock: Clock = wall_clock) -> None:
        self._history = history
        self._reports = reports
        self._clock = clock
        self._live = Live()
        self._seen: dict[str, Cursor] = {}
        self._snapshot = _NOTHING
        self._changed = threading.Condition()
        self._watched_until = 0.0
        self._told_until = 0.0
        self._merge_at = self._sweep_at = self._warn_at = 0.0
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    # --- its thread ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Collect in a thread of its own from now on."""
        if self._thread is None:
            self._stopped.clear()
            self._thread = threading.Thread(target=self._run, name="taskbus-history", daemon=True)
            self._thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """End the thread, after what it is at; it may be started again."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(timeout)
            self._thread = None

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stopped.is_set():
            try:
                self.turn()
            except StoreError as error:
                self._failed(error)
            except Exception as error:
                logger.exception("history: what was reported could not be taken in; this is a fault of TaskBus")
                self._failed(error)
            due = max(due + EVERY, time.monotonic())
            self._stopped.wait(due - time.monotonic())

    def _failed(self, error: Exception) -> None:
        now = time.monotonic()
        if now >= self._warn_at:
            self._warn_at = now + WARN_EVERY
            logger.warning("history: %s; tried again, nothing of it is lost while reports are kept", error)
        with self._changed:
            self._snapshot = self._snapshot._replace(now=self._clock(), error=str(error))
            self._changed.notify_all()

    # --- a turn --------------------------------------------------------------------------------------------------

    def turn(self) -> None:
        """What the thread does once a second. Raises ``StoreError``; what is now is shown all the same, if it can."""
        now = self._clock()
        if self._watched_until > self._told_until:
            self._told_until = self._watched_until
            self._reports.watch(self._watched_until)
        failure: StoreError | None = None
        try:
            if time.monotonic() >= self._merge_at:
                self._follow(now)
            else:
                self._look(now)
            self._sweep(now)
        except StoreError as error:
            failure = error
            self._look(now)
        nodes = self._reports.nodes()
        with self._changed:
            self._snapshot = self._live.snapshot(now, nodes, str(failure or ""))
            self._changed.notify_all()
        if failure is not None:
            raise failure

    def _follow(self, now: float) -> None:
        """Merge what is new into the history."""
        began, spent = time.monotonic(), 0.0
        while True:
            seen = self._history.cursors()
            minutes, records = self._read(seen)
            self._take(now, minutes, records)
            merging = time.monotonic()
            self._history.merge(minutes, records, seen)
            spent += time.monotonic() - merging
            is_all = len(minutes) < MINUTES_AT_ONCE and len(records) < RECORDS_AT_ONCE
            if is_all or self._stopped.is_set() or time.monotonic() - began > LONGEST_TURN:
                break
        if is_all:
            self._merge_at = time.monotonic() + spent / SHARE - EVERY

    def _look(self, now: float) -> None:
        """Read what is new for the picture alone: the history cannot be written now, or has just been."""
        self._take(now, *self._read(self._seen))

    def _read(self, seen: Mapping[str, Cursor]) -> tuple[Sequence[Minute], Sequence[Records]]:
        minutes = self._reports.minutes({node: each.minutes for node, each in seen.items()}, MINUTES_AT_ONCE)
        records = self._reports.records({node: each.records for node, each in seen.items()}, RECORDS_AT_ONCE)
        return minutes, records

    def _take(self, now: float, minutes: Sequence[Minute], records: Sequence[Records]) -> None:
        fresh = [each for each in records if each.number > self._seen.get(each.node, Cursor()).records]
        with self._changed:
            self._live.take(now, minutes, fresh)
        for each in minutes:
            known = self._seen.get(each.node, Cursor())
            self._seen[each.node] = known._replace(minutes=max(known.minutes, each.number))
        for bundle in fresh:
            known = self._seen.get(bundle.node, Cursor())
            self._seen[bundle.node] = known._replace(records=max(known.records, bundle.number))

    def _sweep(self, now: float) -> None:
        if now >= self._sweep_at:
            gone = self._history.sweep()
            self._reports.sweep(now)
            self._sweep_at = now + (EVERY if gone else SWEEP_EVERY)

    # --- for pages -----------------------------------------------------------------------------------------------

    def watch(self, seconds: float = 10.0) -> None:
        """A page is open: have every process report each second for so long. Cheap to call again and again."""
        self._watched_until = max(self._watched_until, self._clock() + seconds)

    def snapshot(self) -> LiveSnapshot:
        """What is now: the same object until the next turn, made once a second however many look at it."""
        return self._snapshot

    def wait(self, known: LiveSnapshot | None, timeout: float) -> LiveSnapshot:
        """The next snapshot that is not ``known``; after ``timeout`` seconds the present one all the same."""
        with self._changed:
            self._changed.wait_for(lambda: self._snapshot is not known, timeout)
            return self._snapshot

    def series(self, range: str, *, task: str | None = None, queue: str | None = None) -> Series:
        """As ``History.series``; of all tasks over 15m in steps of ten seconds, from memory where that reaches."""
        series = self._history.series(range, task=task, queue=queue)
        if range != "15m" or task is not None or queue is not None:
            return series
        with self._changed:
            return _finer(series, self._live.tens(self._clock()), self._clock())

    def seconds(self, *, task: str | None = None, queue: str | None = None, last: int = 900) -> Series:
        """The newest seconds, 900 at most, from memory: rates alone, the quantiles being None."""
        with self._changed:
            return self._live.seconds(self._clock(), last, task, queue)


def _finer(minutes: Series, tens: Series, now: float) -> Series:
    """Steps of ten seconds: those that were seen, and before them the minutes, each in six parts."""
    begun = tens.t[0] if tens.t else now // 10 * 10
    places = [place for place, at in enumerate(minutes.t) for part in range(6) if at + 10 * part < begun]
    instants = [at + 10.0 * part for at in minutes.t for part in range(6) if at + 10 * part < begun]
    columns: list[list[Any]] = [
        [column[place] for place in places] + list(finer)
        for column, finer in zip(minutes[2:], tens[2:], strict=True)
    ]  # fmt: skip
    return Series(10.0, [*instants, *tens.t], *columns)
