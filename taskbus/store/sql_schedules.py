"""Schedules in a SQL database, one code for all of them: the few words that differ are filled into ``schedules.sql``.

Whoever changes a row locks it first, and whoever locks several does so in the order of their names; ticks of a schedule
are only recorded with its row locked. So what was read in a transaction holds until its end.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from taskbus.clock import Clock, wall_clock
from taskbus.database.opening import open_database
from taskbus.database.port import Database
from taskbus.message import Recorded, Sealed
from taskbus.store.schedule_bytes import pack_schedule, pack_standing, row_of
from taskbus.store.schedules import REMOVED_FOR, Advance, Lease, Row, Tick
from taskbus.store.sql_ground import Ground, statements

TABLES = ("taskbus_schedules", "taskbus_ticks", "taskbus_beats")
TOPIC = "taskbus_schedules"
"""What beats listen to."""
SWEEP_LIMIT = 1000


class SqlSchedules:
    """The schedules in ``database``; the tables are made if they are missing, as those of ``SqlStore``."""

    def __init__(self, database: Database, clock: Clock = wall_clock) -> None:
        sql = statements(database.dialect, "schedules.sql")
        self._ground = ground = Ground(database, TABLES, "taskbus.store.schedule_tables", sql, clock)
        self._database, self._dialect, self._sql, self._clock = ground.database, ground.dialect, sql, clock
        self._read, self._write = ground.read, ground.write
        self.database = database.identity
        self.rings = database.dialect != "mysql"

    def now(self) -> float:
        if not self._ground.asks_server:
            return self._clock()
        with self._ground.errors():
            return self._database.server_now()

    # --- reading -------------------------------------------------------------------------------------------------

    def read(self, names: Sequence[str]) -> Mapping[str, Row]:
        if not names:
            return {}
        rows = [_row(found) for found in self._read("read", {"names": self._dialect.ids(names)})]
        return {row.schedule.name: row for row in rows}

    def page(self, *, after: str, limit: int) -> Sequence[Row]:
        return list(map(_row, self._read("page", {"after": after, "limit": limit})))

    def changed(self, *, after: int, limit: int) -> Sequence[Row]:
        return list(map(_row, self._read("changed", {"after": after, "limit": limit})))

    def revision(self) -> int:
        return int(self._read("revision", {})[0][0])

    def ticks(self, name: str, *, since: float, until: float, limit: int) -> Sequence[Tick]:
        given = {"name": name, "since": since, "until": until, "limit": limit}
        return [_tick(found) for found in self._read("ticks", given)]

    def pending(self, limit: int) -> Sequence[Tick]:
        return [_tick(found) for found in self._read("pending", {"limit": limit})]

    # --- writing -------------------------------------------------------------------------------------------------

    def save(self, row: Row) -> bool:
        """See ``ScheduleStore.save``. Where the commit's answer was lost it may say False of what was done."""
        now = self._clock()

        def work(cursor: Any) -> bool:
            cursor.execute(self._sql["next_revision"], {})  # first, so that revisions are seen in their order
            (revision,) = cursor.execute(self._sql["revision"], {}).fetchone()
            stored = cursor.execute(self._sql["lock_one"], {"name": row.schedule.name}).fetchone()
            version, is_removed = stored or (0, 1)
            if row.version != (0 if is_removed else version):
                return False
            given = {
                **_values(row, version + 1),
                "revision": revision,
                "definition": pack_schedule(row.schedule),
                "is_removed": int(row.is_removed),
                "removed_at": now if row.is_removed else None,
            }
            cursor.execute(self._sql["insert" if stored is None else "update"], given)
            self._database.notify(cursor, [TOPIC])
            return True

        return self._write(work)

    def record(self, advances: Sequence[Advance], transaction: Any = None) -> Recorded | None:
        if transaction is not None:
            return self._record(advances, transaction)
        return self._write(partial(self._record, advances))

    def _record(self, advances: Sequence[Advance], cursor: Any) -> Recorded:
        names = sorted({advance.row.schedule.name for advance in advances})
        cursor.execute(self._sql["lock_many"], {"names": self._dialect.ids(names)})
        versions = dict(cursor.fetchall())
        kept = [each for each in advances if _holds(each, versions.get(each.row.schedule.name))]
        moves = [_values(each.row, each.row.version + 1) for each in kept if each.is_move]
        if moves:
            cursor.executemany(self._sql["advance"], moves)
        ticks = self._unknown([tick for each in kept for tick in each.ticks], cursor)
        if ticks:
            cursor.executemany(self._sql["insert_ticks"], list(map(_tick_values, ticks)))
        return Recorded([tick.sealed for tick in ticks if tick.sealed is not None and not tick.is_pending])

    def _unknown(self, ticks: Sequence[Tick], cursor: Any) -> list[Tick]:
        """Those that are not recorded yet, each once."""
        if not ticks:
            return []
        given = {
            "names": self._dialect.ids(sorted({tick.schedule for tick in ticks})),
            "first": min(tick.nominal for tick in ticks),
            "last": max(tick.nominal for tick in ticks),
        }
        cursor.execute(self._sql["known_ticks"], given)
        known = {(name, nominal, bool(is_manual)) for name, nominal, is_manual in cursor.fetchall()}
        found = {(tick.schedule, tick.nominal, tick.is_manual): tick for tick in reversed(ticks)}
        return [tick for key, tick in reversed(found.items()) if key not in known]

    def confirm(self, ticks: Sequence[Tick]) -> None:
        keys = list(map(_key_values, ticks))
        if keys:
            self._write(lambda cursor: cursor.executemany(self._sql["confirm"], keys))

    def sweep(self) -> int:
        given = {"now": self.now(), "limit": SWEEP_LIMIT}
        over = self._read("over", given)  # without asking for a lock where there is nothing

        def work(cursor: Any) -> int:
            if over:
                keys = [dict(zip(("schedule", "nominal", "is_manual"), key, strict=True)) for key in over]
                cursor.executemany(self._sql["forget"], keys)
            return int(
                cursor.execute(self._sql["forget_removed"], {"removed_until": given["now"] - REMOVED_FOR}).rowcount
            )

        return len(over) + self._write(work)

    # --- the lease -----------------------------------------------------------------------------------------------

    def lead(self, beat: str, term: float) -> Lease:
        def work(cursor: Any) -> Lease:
            given = {"now": self._ground.now()}
            leader, until, now = cursor.execute(self._sql["leader"], given).fetchone()
            if leader not in ("", beat) and 0 < until - now <= 2 * term:
                return Lease(False, until - now)
            cursor.execute(self._sql["lead"], {"beat": beat, "until": now + term})
            return Lease(True, term)

        return self._write(work)

    def leader(self) -> str:
        leader, until, now = self._read("led", {"now": self._ground.now()})[0]
        return str(leader) if until > now else ""

    def resign(self, beat: str) -> None:
        def work(cursor: Any) -> None:
            cursor.execute(self._sql["resign"], {"beat": beat})
            self._database.notify(cursor, [TOPIC])

        self._write(work)

    # --- the database --------------------------------------------------------------------------------------------

    def subscribe(self, notify: Callable[[], None]) -> Callable[[], None]:
        with self._ground.errors():
            return self._database.subscribe(TOPIC, notify)

    def close(self) -> None:
        self._database.close()


def _holds(advance: Advance, version: int | None) -> bool:
    return version is not None and (not advance.is_move or version == advance.row.version)


def _row(found: Sequence[Any]) -> Row:
    definition, standing, version, due_at, revision, is_removed = found
    return row_of(definition, standing, version, due_at, revision, bool(is_removed))


def _values(row: Row, version: int) -> dict[str, Any]:
    return {
        "name": row.schedule.name,
        "standing": pack_standing(row.standing),
        "version": version,
        "due_at": row.due_at,
    }


def _key_values(tick: Tick) -> dict[str, Any]:
    return {"schedule": tick.schedule, "nominal": tick.nominal, "is_manual": int(tick.is_manual)}


def _tick_values(tick: Tick) -> dict[str, Any]:
    sealed = tick.sealed if tick.is_pending else None
    return {
        **_key_values(tick),
        "task_id": tick.task_id,
        "sent_at": tick.sent_at,
        "keep_until": tick.keep_until,
        "is_pending": int(tick.is_pending),
        "queue": sealed and sealed.queue,
        "priority": sealed and sealed.priority,
        "wire": sealed and sealed.wire,
    }


def _tick(found: Sequence[Any]) -> Tick:
    name, nominal, task_id, sent_at, keep_until, is_manual, is_pending, *rest = found
    sealed = Sealed(*rest) if rest and rest[2] is not None else None
    return Tick(name, nominal, task_id, sent_at, keep_until, bool(is_manual), bool(is_pending), sealed)


def open_url(url: str, clock: Clock) -> SqlSchedules:
    """The schedules at ``url``."""
    return SqlSchedules(open_database(url), clock)
