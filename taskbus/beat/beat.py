"""One beat: leads or stands by, knows what is due, decides, sends. Any number of them may run.

``turn`` does what is to be done by now and says for how long there is nothing; it reads no clock but the one of the
places it is given. What is due is kept in a heap, so that a turn costs what it sends, however many schedules there are.
"""

import heapq
import logging
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice

from taskbus.beat.planning import Decision, decide
from taskbus.beat.publishing import Places, relay, send
from taskbus.beat.reconciling import all_rows, reconcile
from taskbus.beat.ticks import tick_of
from taskbus.errors import BrokerError, ConfigError, DecodeError, EncodeError, PublishFailed, StoreError
from taskbus.message import new_id
from taskbus.monitor.pulse import Contact, Pulse
from taskbus.monitor.wording import counted
from taskbus.schedule.spec import from_text
from taskbus.schedule.timetable import Timetable
from taskbus.store.schedules import Advance, Overlap, Row, Schedule

logger = logging.getLogger(__name__)

AT_ONCE = 500
"""Schedules that are advanced in one step."""
TICKS_AT_ONCE = 2000
PAGE = 1000
NET, NET_WITHOUT_BELL = 5.0, 1.0
"""Seconds after which it is looked for changes that nobody told of."""
SWEEP_EVERY, SWEEP_SOON = 30.0, 0.25
SWEEP_FULL = 1000
"""How many ticks one sweep forgets at most: then there is more to forget."""
RELAY_EVERY = 5.0
"""Seconds between two looks for ticks that somebody recorded and died before they were published."""
PAUSE = 1.0
"""Seconds until it is tried again what failed."""
LEAST_PAUSE = 0.001
NAP = 0.01
"""Seconds to rest after sending, so that what is due within them goes together."""
WOKEN_EVERY = 0.05
"""Seconds between two wake-ups by the bell at least: some databases ring for everything that is written."""


class Beat:
    """A beat of these ``places``. ``declared``: the schedules in the code of the application ``owner``.

    For any thread: ``pulse``, how it gets on; ``sent``, what it has sent, by task and queue; ``rows``.
    """

    def __init__(self, places: Places, declared: Sequence[Schedule] = (), owner: str = "", name: str = "") -> None:
        self.name = name or new_id()
        self._places = places
        self._schedules = places.schedules
        self._declared = declared
        self._owner = owner
        self._term = places.config.beat_lease
        self.is_leading = False
        self.sent: Counter[tuple[str, str]] = Counter()
        self._contact = Contact()
        self.pulse = Pulse([self._contact])
        self._has_reconciled = False
        self._renew_at = 0.0
        self._sweep_at = 0.0
        self._relay_at = 0.0
        self._not_before = 0.0
        self._rest_until = 0.0
        self._seen_at = 0.0
        self._revision = 0
        self._rows: dict[str, Row] = {}
        self._timetables: dict[str, tuple[str, Timetable]] = {}
        self._due: list[tuple[float, str, int]] = []
        self._may_be_pending = True
        self._unusable: dict[str, int] = {}
        self._bell = threading.Event()

    # --- running -------------------------------------------------------------------------------------------------

    def run(self, stop: threading.Event) -> None:
        """Turn until ``stop`` is set and ``wake`` was called, or the next turn comes; then make room for others."""
        cancel = None
        try:
            while not stop.is_set():
                self.pulse.turned_at = time.monotonic()
                failures = self._contact.failures
                try:
                    cancel = cancel or self._schedules.subscribe(self._bell.set)
                    pause = self.turn()
                except (BrokerError, StoreError) as error:
                    logger.warning("beat: %s; trying again in %g s", error, PAUSE)
                    self._contact.failed(time.monotonic(), "look for what is due", error)
                    pause = PAUSE
                if self._contact.failures == failures:
                    self._contact.answered(time.monotonic())
                    self.pulse.is_up = True
                if self._bell.wait(pause) and not stop.is_set():
                    self._bell.clear()
                    stop.wait(min(WOKEN_EVERY, pause))
        finally:
            self.pulse.is_stopping = True
            if cancel is not None:
                cancel()
            self.resign()

    def wake(self) -> None:
        """End the pause between two turns."""
        self._bell.set()

    def rows(self) -> list[Row]:
        """The schedules, as far as it knows them: it does while it leads. For any thread."""
        return list(self._rows.values()) if self.is_leading else []

    def resign(self) -> None:
        """Let another beat lead at once."""
        if self.is_leading:
            self.is_leading = False
            try:
                self._schedules.resign(self.name)
            except StoreError as error:
                logger.warning("beat: %s; another one leads when the lease is over", error)

    def turn(self) -> float:
        """Do what is to be done by now; returns after how many seconds there is more, unless the bell rings before.

        Raises ``StoreError`` where the database cannot be used. Nothing is lost by that, nor by dying anywhere in it.
        """
        now = self._places.now()
        if not self._has_reconciled:
            reconcile(self._schedules, self._declared, self._owner, now)
            self._has_reconciled = True
        if not self.is_leading or not self._seen_at <= now < self._renew_at:
            wait = self._lead(now)
            if not self.is_leading:
                return wait
        self._seen_at = now
        self._hear()
        self._send_due(now)
        if now >= self._sweep_at or now < self._sweep_at - SWEEP_EVERY:
            self._sweep_at = now + (SWEEP_EVERY if self._schedules.sweep() < SWEEP_FULL else SWEEP_SOON)
        return self._pause(self._places.now())

    def _pause(self, now: float) -> float:
        net = NET if self._schedules.rings else NET_WITHOUT_BELL
        instants = [self._renew_at, now + net]
        if self._due:
            instants.append(max(self._due[0][0], self._not_before, self._rest_until, now + LEAST_PAUSE))
        return max(0.0, min(instants) - now)

    # --- leading -------------------------------------------------------------------------------------------------

    def _lead(self, now: float) -> float:
        """Ask for the lease; seconds until it is worth asking again."""
        lease = self._schedules.lead(self.name, self._term)
        if not lease.is_held:
            if self.is_leading:
                logger.warning("beat %s leads no longer: another one does (was this process stopped?)", self.name)
            self.is_leading = False
            return min(lease.lasts, NET) + NAP
        self._renew_at = now + self._term / 3
        if not self.is_leading:
            self._take_over()
        return 0.0

    def _take_over(self) -> None:
        self._revision = self._schedules.revision()
        self._rows, self._due, self._timetables = {}, [], {}
        self._know(all_rows(self._schedules))
        self._may_be_pending = True
        self.is_leading = True
        logger.info("beat %s leads, with %s", self.name, counted(len(self._rows), "schedule"))

    def _hear(self) -> None:
        """Take in what was changed by others."""
        while changed := self._schedules.changed(after=self._revision, limit=PAGE):
            self._revision = changed[-1].revision
            self._know(changed)

    def _know(self, rows: Iterable[Row]) -> None:
        for row in rows:
            name = row.schedule.name
            if row.is_removed:
                self._rows.pop(name, None)
                continue
            self._rows[name] = row
            if row.due_at is not None and self._unusable.get(name) != row.version:
                heapq.heappush(self._due, (row.due_at, name, row.version))
        if len(self._due) > 64 + 4 * len(self._rows):  # what is out of date is left in place until there is much of it
            self._due = [each for each in self._due if self._is_current(each)]
            heapq.heapify(self._due)

    def _is_current(self, entry: tuple[float, str, int]) -> bool:
        row = self._rows.get(entry[1])
        return row is not None and row.version == entry[2]

    # --- sending -------------------------------------------------------------------------------------------------

    def _send_due(self, now: float) -> None:
        if now < self._not_before and self._not_before - now <= PAUSE:
            return
        rows: list[Row] = []
        try:
            if not self._places.is_one or self._places.config.celery_queues:
                self._relay(now)
            while rows := list(islice(self._take_due(now), AT_ONCE)):
                self._send(rows, now)
                now = self._places.now()
                self._rest_until = now + NAP
                if now >= self._renew_at:
                    break
        except (PublishFailed, StoreError) as error:
            logger.warning("beat: cannot send %s: %s", counted(len(rows), "schedule"), error)
            self._contact.failed(self.pulse.turned_at, "send what is due", error)
            self._may_be_pending = True
            self._not_before = now + PAUSE
            self._know(rows)

    def _relay(self, now: float) -> None:
        is_time = not self._relay_at - RELAY_EVERY <= now < self._relay_at
        if self._may_be_pending or is_time:
            relay(self._places)
            self._may_be_pending = False
            self._relay_at = now + RELAY_EVERY

    def _take_due(self, now: float) -> Iterable[Row]:
        while self._due and self._due[0][0] <= now:
            entry = heapq.heappop(self._due)
            if self._is_current(entry):
                yield self._rows[entry[1]]

    def _send(self, rows: Sequence[Row], now: float) -> None:
        """Decide about rows, send what follows, and read how they stand then: others may have been faster."""
        advances: list[Advance] = []
        count = 0
        for decision in self._decided(rows, now):
            advance = self._advance(decision, now)
            if advance is not None:
                if count + len(advance.ticks) > TICKS_AT_ONCE and advances:
                    send(self._places, advances)
                    advances, count = [], 0
                advances.append(advance)
                count += len(advance.ticks)
        if advances:
            send(self._places, advances)
        names = [row.schedule.name for row in rows]
        found = self._schedules.read(names)
        self._know(found.values())
        for row in rows:
            name = row.schedule.name
            if name not in found:
                self._rows.pop(name, None)
            elif (more := found[name].standing.sent - row.standing.sent) > 0:
                self.sent[row.schedule.task, row.schedule.queue] += more

    def _decided(self, rows: Sequence[Row], now: float) -> Iterable[Decision]:
        running = self._running(rows, now)
        for row in rows:
            timetable = self._timetable(row)
            if timetable is not None:
                yield decide(row, timetable, now, is_running=row.schedule.name in running)

    def _advance(self, decision: Decision, now: float) -> Advance | None:
        row = decision.row
        try:
            is_pending = self._places.relays(row.schedule.queue)
            ticks = [tick_of(row, nominal, now, is_pending=is_pending) for nominal in decision.send]
        except (DecodeError, EncodeError) as error:
            self._leave_out(row, error)
            return None
        if ticks:
            last = ticks[-1]
            standing = row.standing._replace(
                last_at=last.nominal, last_sent_at=last.sent_at, last_task_id=last.task_id
            )  # fmt: skip
            row = row._replace(standing=standing)
        return Advance(row, ticks)

    def _running(self, rows: Sequence[Row], now: float) -> set[str]:
        """Of those that must not overlap, the names whose last run has not ended, as far as its result is known."""
        asked = {
            row.standing.last_task_id: row
            for row in rows
            if row.schedule.overlap is not Overlap.ALLOW and row.standing.last_task_id
        }
        if not asked:
            return set()
        results = self._places.store.results(list(asked))
        running = set()
        for task_id, row in asked.items():
            result = results.get(task_id)
            sent_at = row.standing.last_sent_at or 0.0
            if not result.state.is_final if result else now - sent_at < row.schedule.result_ttl:
                running.add(row.schedule.name)
        return running

    def _timetable(self, row: Row) -> Timetable | None:
        schedule = row.schedule
        text, known = self._timetables.get(schedule.name, ("", None))
        if text == schedule.timetable:
            return known
        try:
            made = from_text(schedule.timetable)
        except ConfigError as error:
            self._leave_out(row, error)
            return None
        self._timetables[schedule.name] = (schedule.timetable, made)
        return made

    def _leave_out(self, row: Row, error: Exception) -> None:
        """Look at it no more until it was changed: a later version of TaskBus may have made it."""
        logger.error("schedule %r cannot be sent, and is left out until it is changed: %s", row.schedule.name, error)
        self._unusable[row.schedule.name] = row.version
