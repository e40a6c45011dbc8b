"""Schedules in this process, gone with it: for tests and for the memory broker."""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from taskbus.clock import Clock, wall_clock
from taskbus.message import Recorded, Sealed
from taskbus.store.named import Named
from taskbus.store.schedules import REMOVED_FOR, Advance, Lease, Row, Tick

Key = tuple[float, bool]


class MemorySchedules:
    """A ``ScheduleStore`` without a database."""

    database = ""
    rings = True

    def __init__(self, clock: Clock = wall_clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._rows: dict[str, Row] = {}
        self._removed_at: dict[str, float] = {}
        self._ticks: dict[str, dict[Key, Tick]] = {}
        self._revision = 0
        self._leader, self._led_until = "", 0.0
        self._subscribers: dict[object, Callable[[], None]] = {}

    def now(self) -> float:
        return self._clock()

    def read(self, names: Sequence[str]) -> Mapping[str, Row]:
        with self._lock:
            found = ((name, self._rows.get(name)) for name in names)
            return {name: row for name, row in found if row is not None and not row.is_removed}

    def page(self, *, after: str, limit: int) -> Sequence[Row]:
        with self._lock:
            names = sorted(name for name, row in self._rows.items() if name > after and not row.is_removed)
            return [self._rows[name] for name in names[:limit]]

    def changed(self, *, after: int, limit: int) -> Sequence[Row]:
        with self._lock:
            return sorted((row for row in self._rows.values() if row.revision > after), key=_revision)[:limit]

    def revision(self) -> int:
        with self._lock:
            return self._revision

    def save(self, row: Row) -> bool:
        with self._lock:
            name = row.schedule.name
            stored = self._rows.get(name)
            if row.version != (stored.version if stored and not stored.is_removed else 0):
                return False
            self._revision += 1
            version = (stored.version if stored else 0) + 1
            self._rows[name] = row._replace(version=version, revision=self._revision)
            if row.is_removed:
                self._removed_at[name] = self._clock()
        self._ring()
        return True

    def record(self, advances: Sequence[Advance], transaction: Any = None) -> Recorded | None:
        ready: list[Sealed] = []
        with self._lock:
            for advance in advances:
                name = advance.row.schedule.name
                stored = self._rows.get(name)
                if stored is None or stored.is_removed or (advance.is_move and stored.version != advance.row.version):
                    continue
                if advance.is_move:
                    self._rows[name] = advance.row._replace(version=stored.version + 1, revision=stored.revision)
                ready += self._note(advance.ticks)
        return Recorded(ready)

    def _note(self, ticks: Sequence[Tick]) -> list[Sealed]:
        ready = []
        for tick in ticks:
            known = self._ticks.setdefault(tick.schedule, {})
            if known.setdefault((tick.nominal, tick.is_manual), tick) is tick and not tick.is_pending and tick.sealed:
                ready.append(tick.sealed)
        return ready

    def ticks(self, name: str, *, since: float, until: float, limit: int) -> Sequence[Tick]:
        with self._lock:
            known = self._ticks.get(name, {})
            keys = sorted((key for key in known if since <= key[0] < until), reverse=True)[:limit]
            return [known[key]._replace(sealed=None) for key in keys]

    def pending(self, limit: int) -> Sequence[Tick]:
        with self._lock:
            found = [tick for ticks in self._ticks.values() for tick in ticks.values() if tick.is_pending]
            return sorted(found, key=lambda tick: (tick.sent_at, tick.task_id))[:limit]

    def confirm(self, ticks: Sequence[Tick]) -> None:
        with self._lock:
            for tick in ticks:
                known = self._ticks.get(tick.schedule, {})
                key = (tick.nominal, tick.is_manual)
                if key in known:
                    known[key] = known[key]._replace(is_pending=False, sealed=None)

    def lead(self, beat: str, term: float) -> Lease:
        with self._lock:
            now = self._clock()
            if self._leader not in ("", beat) and 0 < self._led_until - now <= 2 * term:
                return Lease(False, self._led_until - now)
            self._leader, self._led_until = beat, now + term
            return Lease(True, term)

    def leader(self) -> str:
        with self._lock:
            return self._leader if self._led_until > self._clock() else ""

    def resign(self, beat: str) -> None:
        with self._lock:
            if self._leader != beat:
                return
            self._leader = ""
        self._ring()

    def sweep(self) -> int:
        with self._lock:
            now, count = self._clock(), 0
            for ticks in self._ticks.values():
                for key in [key for key, tick in ticks.items() if tick.keep_until <= now and not tick.is_pending]:
                    del ticks[key]
                    count += 1
            for name in [name for name, at in self._removed_at.items() if at + REMOVED_FOR <= now]:
                del self._removed_at[name]
                if self._rows[name].is_removed:
                    del self._rows[name]
                    count += 1
            return count

    def subscribe(self, notify: Callable[[], None]) -> Callable[[], None]:
        token = object()
        with self._lock:
            self._subscribers[token] = notify

        def cancel() -> None:
            with self._lock:
                self._subscribers.pop(token, None)

        return cancel

    def _ring(self) -> None:
        with self._lock:
            subscribers = list(self._subscribers.values())
        for notify in subscribers:
            notify()

    def close(self) -> None:
        """Nothing to release."""


def _revision(row: Row) -> int:
    return row.revision


_named: Named[MemorySchedules] = Named()


def open_url(url: str, clock: Clock) -> MemorySchedules:
    """The schedules of that name in this process; they last as long as someone holds them."""
    return _named.get(url, lambda: MemorySchedules(clock))
