"""Schedules in Redis or Valkey: each act is one script. What it does is in ``redis_schedules.lua``."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgpack

from taskbus.clock import Clock, wall_clock
from taskbus.database.redis import RedisDatabase, RedisTransaction, load
from taskbus.message import Recorded, Sealed
from taskbus.store.redis_bell import Bell
from taskbus.store.redis_ground import store_errors
from taskbus.store.redis_records import pack_raw
from taskbus.store.schedule_bytes import pack_schedule, pack_standing, row_of
from taskbus.store.schedules import REMOVED_FOR, Advance, Lease, Row, Tick

CALL = load(__package__, "redis_schedules.lua", "redis_schedules_call.lua")
FRAGMENT = load(__package__, "redis_schedules.lua", "redis_schedules_record.lua").text
SWEEP_LIMIT = 1000


class RedisSchedules:
    """The schedules in ``database``. Nothing is connected to before it is used."""

    rings = True

    def __init__(self, database: RedisDatabase, clock: Clock = wall_clock) -> None:
        self._database = database
        self._clock = clock
        self._base = f"{database.prefix}:schedules:{{all}}:"
        self._bell = Bell(database, f"{self._base}changed".encode())
        self.database = database.identity

    def now(self) -> float:
        if self._clock is not wall_clock:
            return self._clock()
        return float(self._call("now"))

    # --- reading -------------------------------------------------------------------------------------------------

    def read(self, names: Sequence[str]) -> Mapping[str, Row]:
        if not names:
            return {}
        rows = [row for row in _rows(self._call("read", pack_raw(list(names)))) if not row.is_removed]
        return {row.schedule.name: row for row in rows}

    def page(self, *, after: str, limit: int) -> Sequence[Row]:
        return _rows(self._call("page", after, limit))

    def changed(self, *, after: int, limit: int) -> Sequence[Row]:
        return _rows(self._call("changed", after, limit))

    def revision(self) -> int:
        with store_errors():
            return int(self._database.link().call("HGET", f"{self._base}meta", "revision", repeatable=True) or 0)

    def ticks(self, name: str, *, since: float, until: float, limit: int) -> Sequence[Tick]:
        answer = self._call("ticks", name, repr(since), repr(until), limit)
        return [
            _tick(name, key, rest)._replace(is_pending=bool(is_pending))
            for key, rest, is_pending in zip(*[iter(answer)] * 3, strict=True)
        ]

    def pending(self, limit: int) -> Sequence[Tick]:
        found = []
        for name, key, rest, wire in zip(*[iter(self._call("pending", limit))] * 4, strict=True):
            queue, priority, bytes_ = msgpack.unpackb(wire, raw=True)
            sealed = Sealed(queue.decode(), priority, bytes_)
            found.append(_tick(name.decode(), key, rest)._replace(is_pending=True, sealed=sealed))
        return found

    # --- writing -------------------------------------------------------------------------------------------------

    def save(self, row: Row) -> bool:
        """See ``ScheduleStore.save``. Where a reply was lost it may say False of what was done."""
        removed_at = repr(self._clock()) if row.is_removed else ""
        return bool(self._call("save", row.schedule.name, row.version, _packed(row), removed_at))

    def record(self, advances: Sequence[Advance], transaction: RedisTransaction | None = None) -> Recorded | None:
        payload = pack_raw([self._base, list(map(_advance, advances))])
        if transaction is not None:
            transaction.add(FRAGMENT, payload)
            return Recorded()
        answer = self._call("record", payload)
        return Recorded(
            [Sealed(queue.decode(), int(rank), wire) for queue, rank, wire in zip(*[iter(answer)] * 3, strict=True)]
        )

    def confirm(self, ticks: Sequence[Tick]) -> None:
        if ticks:
            self._call("confirm", pack_raw([f"{tick.schedule}\0{_key(tick)}" for tick in ticks]))

    def sweep(self) -> int:
        return int(self._call("sweep", self._given(), REMOVED_FOR, SWEEP_LIMIT))

    # --- the lease -----------------------------------------------------------------------------------------------

    def lead(self, beat: str, term: float) -> Lease:
        is_held, lasts = self._call("lead", beat, term, self._given())
        return Lease(bool(is_held), float(lasts))

    def leader(self) -> str:
        leader: bytes = self._call("leader", self._given())
        return leader.decode()

    def resign(self, beat: str) -> None:
        self._call("resign", beat)

    # --- the database --------------------------------------------------------------------------------------------

    def subscribe(self, notify: Callable[[], None]) -> Callable[[], None]:
        return self._bell.subscribe(notify)

    def close(self) -> None:
        self._bell.close()
        self._database.close()

    def _call(self, *args: Any) -> Any:
        """All may be done again when a reply was lost: what was done then changes nothing the second time."""
        with store_errors():
            return self._database.link().script(CALL, (self._base,), args, repeatable=True)

    def _given(self) -> str:
        """The instant by a clock that was passed in; "": Redis looks at its own."""
        return "" if self._clock is wall_clock else repr(self._clock())


def _packed(row: Row) -> bytes:
    packed: bytes = msgpack.packb([pack_schedule(row.schedule), pack_standing(row.standing), row.due_at])
    return packed


def _rows(answer: Sequence[Any]) -> list[Row]:
    rows = []
    for _, version, packed, revision, is_removed in zip(*[iter(answer)] * 5, strict=True):
        definition, standing, due_at = msgpack.unpackb(packed)
        rows.append(row_of(definition, standing, int(version), due_at, int(float(revision)), bool(is_removed)))
    return rows


def _advance(advance: Advance) -> list[Any]:
    row = advance.row
    seen = str(row.version) if advance.is_move else ""
    return [row.schedule.name, seen, _packed(row) if advance.is_move else b"", list(map(_tick_values, advance.ticks))]


def _tick_values(tick: Tick) -> list[Any]:
    rest = pack_raw([tick.task_id, tick.sent_at, tick.keep_until])
    sealed = tick.sealed or Sealed("", 0, b"")
    return [
        _key(tick), repr(tick.nominal), repr(tick.keep_until), repr(tick.sent_at), rest, int(tick.is_pending),
        sealed.queue, sealed.priority, sealed.wire,
    ]  # fmt: skip


def _key(tick: Tick) -> str:
    return f"{int(tick.is_manual)}{tick.nominal!r}"


def _tick(name: str, key: bytes, rest: bytes) -> Tick:
    task_id, sent_at, keep_until = msgpack.unpackb(rest, raw=True)
    is_manual, nominal = key[:1] == b"1", float(key[1:])
    return Tick(name, nominal, task_id.decode(), sent_at, keep_until, is_manual)


def open_url(url: str, clock: Clock) -> RedisSchedules:
    """The schedules at ``url``."""
    return RedisSchedules(RedisDatabase.open(url), clock)
