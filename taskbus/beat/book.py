"""What an application says of schedules: those in its code, and what it does to those in the store while it runs."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, Protocol

from taskbus.beat.definition import define
from taskbus.beat.planning import first_standing, from_now_on, look_at
from taskbus.beat.publishing import Places, send
from taskbus.beat.reconciling import all_rows, put, until_saved, written
from taskbus.beat.ticks import tick_of
from taskbus.broker.broker import Broker
from taskbus.clock import Clock
from taskbus.config import Config
from taskbus.errors import ConfigError
from taskbus.schedule.spec import from_text, shown_from
from taskbus.schedule.timetable import Timetable, instant_of
from taskbus.store.base import Store
from taskbus.store.results import AsyncResult
from taskbus.store.schedule_bytes import pack_schedule
from taskbus.store.schedule_opening import open_schedules
from taskbus.store.schedules import Advance, CatchUp, Origin, Overlap, Row, Schedule, ScheduleStore, Tick
from taskbus.task import Task

MOST_FILLED = 10_000
"""Runs of one backfill: more is rather a mistake, or a batch of its own."""
FILLED_AT_ONCE = 500
PAGE = 1000


class NoSchedule(ConfigError):
    """There is no schedule of that name, or what was asked for cannot be done to it."""


class Home(Protocol):
    """What is needed of an application."""

    config: Config
    clock: Clock
    tasks: dict[str, Task[..., Any]]
    name: str
    results_url: str

    @property
    def broker(self) -> Broker: ...
    @property
    def store(self) -> Store: ...
    def result(self, task_id: str) -> AsyncResult[Any]: ...


@dataclass(frozen=True, slots=True)
class ScheduleInfo:
    """A schedule, and how it stands. Instants are Unix seconds, None where there is none.

    ``origin``: "code" or "store". ``next_at``: the nominal time that comes next, ``due_at`` when it will be sent, with
    its jitter. ``last_at``: the nominal time of the last run, which was sent at ``last_sent_at`` as ``last_task_id``.
    ``missed`` runs came too late to be made up for, ``skipped`` ones met the one before still under way; ``waiting_at``
    is the nominal time of one that waits for it. ``lateness`` of the last run, and the ``worst``, in seconds.
    ``is_known``: a beat has taken it up; what is in code alone is taken up when the next beat starts.
    """

    name: str
    task: str
    queue: str
    timetable: Timetable
    origin: str
    owner: str
    catch_up: str
    overlap: str
    is_paused: bool
    is_known: bool
    next_at: float | None
    due_at: float | None
    waiting_at: float | None
    last_at: float | None
    last_sent_at: float | None
    last_task_id: str
    sent: int
    missed: int
    skipped: int
    lateness: float
    worst: float


class Schedules:
    """The schedules of one application: ``app.schedules``. What needs the store opens it."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._opening = threading.Lock()
        self._store: ScheduleStore | None = None
        self.declared: dict[str, Schedule] = {}

    # --- in code ---

    def declare(
        self,
        name: str,
        call: Any,
        timetable: Timetable,
        *,
        catch_up: str = CatchUp.LATEST,
        max_catch_up: int = 100,
        overlap: str = Overlap.ALLOW,
    ) -> None:
        """See ``TaskBus.schedule``."""
        made = define(
            name, call, timetable, now=self._home.clock(), catch_up=catch_up, max_catch_up=max_catch_up,
            overlap=overlap, origin=Origin.CODE, owner=self._home.name,
        )  # fmt: skip
        self._must_be_known(made)
        known = self.declared.get(name)
        if known is not None and known.task != made.task:
            raise ConfigError(f"schedule {name!r} is declared twice, for {known.task!r} and for {made.task!r}")
        self.declared[name] = made

    def packed(self) -> Sequence[bytes]:
        """Those in code, as bytes for another process."""
        return [pack_schedule(each) for each in self.declared.values()]

    # --- while it runs ---

    def add(
        self,
        name: str,
        call: Any,
        timetable: Timetable,
        *,
        catch_up: str = CatchUp.LATEST,
        max_catch_up: int = 100,
        overlap: str = Overlap.ALLOW,
        replace: bool = False,
    ) -> ScheduleInfo:
        """Add a schedule to the store; any beat takes it up at once. For the arguments see ``TaskBus.schedule``.

        ``replace``: change the one of that name, if there is one; its counts and a pause stay. Raises ``ConfigError``
        for what cannot be, if there is one and ``replace`` is not given, and if it is in code.
        """
        now = self._now()
        made = define(
            name, call, timetable, now=now, catch_up=catch_up, max_catch_up=max_catch_up, overlap=overlap
        )  # fmt: skip
        self._must_be_known(made)
        if timetable.next_after(now, now) is None:
            raise ConfigError(f"schedule {name!r}: its timetable, {timetable}, has no time after now")

        def change(row: Row | None) -> Row:
            if name in self.declared or (row is not None and row.schedule.origin is Origin.CODE):
                raise ConfigError(f"schedule {name!r} is in the code: change it there, or choose another name")
            if row is not None and not replace:
                raise ConfigError(f"there is a schedule {name!r} already; replace=True (--replace) changes it")
            return written(row, made, now)

        until_saved(self._open(), name, change)
        return self.get(name)

    def pause(self, name: str) -> None:
        """Send nothing of it from now on, until ``resume``; also of one that is in code."""
        self._change(name, lambda row: row._replace(standing=row.standing._replace(is_paused=True), due_at=None))

    def resume(self, name: str) -> None:
        """Go on with the first time that comes; what was left out during the pause is not made up for."""

        def change(row: Row) -> Row:
            timetable = from_text(row.schedule.timetable)
            standing = from_now_on(row.standing, timetable, now, is_new=False)._replace(is_paused=False)
            return row._replace(standing=standing, due_at=look_at(row, timetable, standing, now))

        now = self._now()
        if self._row(name).standing.is_paused:
            self._change(name, change)

    def remove(self, name: str, *, owner_is_gone: bool = False) -> None:
        """Remove one that was added at run time. One that is in code is removed there, or paused.

        ``owner_is_gone``: also one of the code of another application, which starts no beat any more.
        """
        schedule = self._row(name).schedule
        if name in self.declared or (schedule.origin is Origin.CODE and not owner_is_gone):
            raise NoSchedule(
                f"schedule {name!r} is in the code ({schedule.owner}): remove it there, or pause it; if there is no"
                " such application any more: --owner-is-gone"
            )
        self._change(name, lambda row: row._replace(is_removed=True, due_at=None))

    def run(self, name: str) -> AsyncResult[Any]:
        """Send it now, besides the times of its timetable; also while it is paused. Raises as ``Task.delay``."""
        now = self._now()
        row = self._row(name)
        places = self.places()
        tick = tick_of(row, now, now, is_manual=True, is_pending=places.relays(row.schedule.queue))
        send(places, [Advance(row, [tick], is_move=False)])
        return self._home.result(tick.task_id)

    def backfill(
        self,
        name: str,
        start: float | datetime,
        end: float | datetime,
        *,
        limit: int = MOST_FILLED,
        dry_run: bool = False,
    ) -> Sequence[float]:
        """Send its runs with ``start <= nominal time < end`` that never ran; their nominal times, the earliest first.

        Only what lies in the past: the rest is still to come by itself. Each run is sent once, also if two do this at
        the same time, or it is done again. Raises ``ConfigError`` for more than ``limit`` times, and for a span of
        which it is not known any more what ran. ``dry_run``: nothing is sent.
        """
        row, places = self._row(name), self.places()
        store, known = places.schedules, set[float]()
        now, first, last = places.now(), instant_of("start", start), instant_of("end", end)
        assert first is not None and last is not None
        if first >= last:
            raise ConfigError(f"schedule {name!r}: end={end!r} is not after start={start!r}")
        last = min(last, row.standing.cursor_at + 1e-6)
        times = self._times(row, first, last, now, limit)
        until = last
        while ticks := store.ticks(name, since=first, until=until, limit=PAGE):
            known |= {tick.nominal for tick in ticks if not tick.is_manual}
            until = ticks[-1].nominal
        times = [each for each in times if each not in known]
        for at in range(0, 0 if dry_run else len(times), FILLED_AT_ONCE):
            some = times[at : at + FILLED_AT_ONCE]
            ticks = [tick_of(row, each, now, is_pending=places.relays(row.schedule.queue)) for each in some]
            send(places, [Advance(row, ticks, is_move=False)])
        return times

    def _times(self, row: Row, first: float, last: float, now: float, limit: int) -> Sequence[float]:
        name, standing = row.schedule.name, row.standing
        known_from = now - row.schedule.keep_for
        if first < known_from and last > standing.since < known_from:
            raise ConfigError(
                f"schedule {name!r}: start={first!r} cannot be filled: which runs were before {known_from!r} is no"
                " longer known; start there, or end before the schedule was made"
            )
        timetable = from_text(row.schedule.timetable)
        found = timetable.instants(first - 1e-6, last, standing.base_at)
        times = [each for each in islice(found, limit + 1) if first <= each < last]
        if len(times) > limit:
            raise ConfigError(f"schedule {name!r} has more than {limit} times from start to end; fill them in parts")
        return times

    # --- views ---

    def list(self) -> Sequence[ScheduleInfo]:
        """All schedules in the store, and those in code that no beat has taken up yet, by name."""
        found = {row.schedule.name: _info(row) for row in all_rows(self._open())}
        for name, schedule in self.declared.items():
            if name not in found:
                found[name] = _info(self._not_yet(schedule))
        return [found[name] for name in sorted(found)]

    def get(self, name: str) -> ScheduleInfo:
        """One schedule. Raises ``NoSchedule``."""
        row = self._open().read([name]).get(name)
        if row is None and name in self.declared:
            row = self._not_yet(self.declared[name])
        if row is None:
            raise NoSchedule(f"there is no schedule {name!r}")
        return _info(row)

    def next(self, name: str, count: int = 5) -> Sequence[tuple[float, float]]:
        """Its next times, as the beats find them: each nominal time, and when it will be sent with its jitter."""
        row = self._open().read([name]).get(name)
        row = row or (self._not_yet(self.declared[name]) if name in self.declared else self._row(name))
        timetable, standing = from_text(row.schedule.timetable), row.standing
        after = max(standing.cursor_at, self._now() - timetable.jitter)
        times = islice(timetable.instants(after, 1e11, standing.base_at), count)
        return [(each, timetable.due_at(name, each)) for each in times]

    def ticks(self, name: str, limit: int = 20) -> Sequence[Tick]:
        """Its last runs, the latest first, as far as their records are kept."""
        return self._open().ticks(name, since=0.0, until=1e11, limit=limit)

    def _not_yet(self, schedule: Schedule) -> Row:
        timetable = from_text(schedule.timetable)
        standing = first_standing(timetable, self._home.clock())
        return Row(schedule, standing, due_at=None)

    # --- the store ---

    def _must_be_known(self, made: Schedule) -> None:
        if made.task not in self._home.tasks:
            raise ConfigError(f"schedule {made.name!r}: task {made.task!r} is none of this application's")

    def _row(self, name: str) -> Row:
        """The row of a schedule; one that is in code is taken up now, if no beat has."""
        store = self._open()
        row = store.read([name]).get(name)
        if row is None and name in self.declared:
            put(store, self.declared[name], self._now())
            row = store.read([name]).get(name)
        if row is None:
            raise NoSchedule(f"there is no schedule {name!r}; taskbus schedule list shows those there are")
        return row

    def _change(self, name: str, change: Callable[[Row], Row]) -> None:
        self._row(name)

        def changed(row: Row | None) -> Row:
            if row is None:
                raise NoSchedule(f"there is no schedule {name!r} any more")
            return change(row)

        until_saved(self._open(), name, changed)

    def places(self) -> Places:
        """Where ticks are recorded and sent: what a ``Beat`` works with."""
        schedules, broker = self._open(), self._home.broker
        is_one = bool(broker.database) and broker.database == schedules.database
        return Places(broker, self._home.store, schedules, self._home.config, is_one)

    def _open(self) -> ScheduleStore:
        with self._opening:
            if self._store is None:
                self._store = open_schedules(self._home.results_url, self._home.clock)
            return self._store

    def close(self) -> None:
        """Release the store's connections; using it again opens new ones."""
        with self._opening:
            store, self._store = self._store, None
        if store is not None:
            store.close()

    def _now(self) -> float:
        return self.places().now()


def _info(row: Row) -> ScheduleInfo:
    schedule, standing = row.schedule, row.standing
    return ScheduleInfo(
        name=schedule.name,
        task=schedule.task,
        queue=schedule.queue,
        timetable=shown_from(schedule.timetable),
        origin=str(schedule.origin),
        owner=schedule.owner,
        catch_up=str(schedule.catch_up),
        overlap=str(schedule.overlap),
        is_paused=standing.is_paused,
        is_known=row.version > 0,
        next_at=None if standing.is_paused else standing.next_at,
        due_at=row.due_at,
        waiting_at=standing.waiting_at,
        last_at=standing.last_at,
        last_sent_at=standing.last_sent_at,
        last_task_id=standing.last_task_id,
        sent=standing.sent,
        missed=standing.missed,
        skipped=standing.skipped,
        lateness=standing.lateness,
        worst=standing.worst,
    )
