"""Results, dead letters and flows in a SQL database. What is written joins the transaction that is handed in.

One code for SQLite, PostgreSQL, MySQL and MariaDB: the text of the statements is in ``.sql`` files each, how rows are
handed to them in ``sql_dialects.py``. SQLAlchemy only makes the tables.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from typing import Any

from taskbus.clock import Clock, wall_clock
from taskbus.database.opening import open_database
from taskbus.database.port import Database, OutcomeUnknown
from taskbus.database.remark import Remark
from taskbus.database.server_look import examine
from taskbus.errors import StoreError
from taskbus.message import Recorded
from taskbus.outcome import Reason
from taskbus.store import flow_starts, taking
from taskbus.store import sql_rows as rows
from taskbus.store.base import (
    AnyChange,
    Bury,
    Change,
    DeadLetter,
    Exhume,
    FailedAttempt,
    Filter,
    ForgetAttempts,
    ForgetFailure,
    Group,
    Purge,
    SaveAttempt,
    SaveResult,
    StoredResult,
)
from taskbus.store.flow_steps import KINDS, work_out
from taskbus.store.flows import Begun, FlowView, NodeView, Start
from taskbus.store.sql_dialects import dialect_of
from taskbus.store.sql_flow_rows import flow_of, storable_change, with_wire
from taskbus.store.sql_flows import SqlShelf, sweep_flows
from taskbus.store.sql_polling import Polling
from taskbus.store.statements import TABLES, Step, filtered, storable, storable_all

SWEEP_LIMIT = 1000
NOTHING = Recorded()
TOPIC = "taskbus_results"
"""What those who wait for results listen to."""

_DELETES: Mapping[type, Sequence[str]] = {
    ForgetAttempts: ("delete_attempts",),
    Exhume: ("delete_letters", "delete_attempts", "delete_results"),
    ForgetFailure: ("delete_failures",),
    Purge: ("delete_attempts_of_letters", "delete_letters"),
}


class SqlStore:
    """The store in ``database``; its tables are made if they are missing, on a server when it is first connected to.

    Where ``clock`` is ``wall_clock`` and the database is a server, its own clock says when a result's time is over.
    """

    def __init__(self, database: Database, clock: Clock = wall_clock) -> None:
        self._database = database
        self._dialect = dialect_of(database.dialect)
        self._clock = clock
        self._asks_clock = clock is not wall_clock or not self._dialect.has_clock
        self._single: Callable[[Step], object] | None = getattr(database, "single", None)
        self._polling = Polling() if database.dialect == "mysql" else None
        self.database = database.identity
        with self._errors():
            database.require(TABLES, lambda: import_module("taskbus.store.schema").metadata(database.dialect))

    # --- writing -------------------------------------------------------------------------------------------------

    def apply(self, changes: Sequence[AnyChange], transaction: Any = None) -> Recorded | None:
        if transaction is not None:
            return self._write(changes, transaction)
        kinds = set(map(type, changes))
        is_taking = Exhume in kinds
        is_plain = KINDS.isdisjoint(kinds) and taking.KINDS.isdisjoint(kinds)
        with self._errors():
            deadline = time.monotonic() + self._database.timeout / 2
            try:
                return self._apply(changes, is_plain)
            except OutcomeUnknown:
                # Done twice it is as good as done once; but a letter that is gone then may be the one we took out.
                if is_taking or time.monotonic() > deadline:
                    raise
                return self._apply(changes, is_plain)

    def _apply(self, changes: Sequence[AnyChange], is_plain: bool) -> Recorded | None:
        if not is_plain or self._single is None:
            return self._database.write(partial(self._write, changes))
        steps = self._steps(changes)  # type: ignore[arg-type]
        if len(steps) == 1:
            self._single(steps[0])
        elif steps:
            self._database.write(partial(_run, steps))
        return NOTHING

    def _write(self, changes: Sequence[Any], cursor: Any) -> Recorded | None:
        if not taking.KINDS.isdisjoint(map(type, changes)):
            possible = self._possible(changes, cursor)
            if possible is None:
                return None
            changes = possible
        if KINDS.isdisjoint(map(type, changes)):
            _run(self._steps(changes), cursor)
            return NOTHING
        flows = [storable_change(change) for change in changes if type(change) in KINDS]
        work = work_out(SqlShelf(self._dialect, cursor, self._now()), flows)
        if work is None:
            return None
        _run(self._steps([change for change in changes if type(change) not in KINDS]), cursor)
        return work.close()

    def _steps(self, changes: Sequence[Change]) -> list[Step]:
        now, steps = self._now(), list[Step]()
        for kind, run in rows.runs(changes):
            if kind is SaveResult:
                steps += self._dialect.steps(*rows.rows_of_results(run, self._base(now)), now)
            elif kind is SaveAttempt:
                steps += self._dialect.steps("save_attempts", rows.rows_of_attempts(run), now)
            elif kind is Bury:
                steps += self._dialect.steps("bury", rows.rows_of_letters(run), now)
            else:
                ids = {"ids": self._dialect.ids(storable_all([change.task_id for change in run]))}
                steps += [partial(_execute, self._sql(statement), ids) for statement in _DELETES[kind]]
        return steps

    def _possible(self, changes: Sequence[Any], cursor: Any) -> list[Any] | None:
        """See ``taking``; asked, with what is there locked, before anything is written."""
        wanted = [storable(change.task_id) for change in changes if taking.asks(change)]
        there: dict[str, float] = {}
        if wanted:
            cursor.execute(self._dialect.sql["lock_letters"], {"ids": self._dialect.ids(wanted)})
            there = {row[0]: row[1] for row in cursor.fetchall()}
        return taking.possible(changes, there, storable)

    def forget(self, task_ids: Sequence[str]) -> None:
        if not task_ids:
            return
        with self._errors():
            given = {"ids": self._dialect.ids(storable_all(task_ids))}
            self._database.write(partial(_execute, self._sql("delete_results"), given))

    def sweep(self, now: float) -> int:
        given = {"now": now if self._asks_clock else None, "limit": SWEEP_LIMIT}
        swept = 0
        with self._errors():  # without asking for a lock where there is nothing
            has_results, has_flows = self._read("is_over", given)[0]
            if has_results:
                swept += self._database.write(lambda cursor: int(cursor.execute(self._sql("sweep"), given).rowcount))
            if has_flows:
                swept += self._database.write(
                    lambda cursor: sweep_flows(self._dialect, cursor, given["now"], SWEEP_LIMIT)
                )
        return swept

    # --- flows ---------------------------------------------------------------------------------------------------

    def begin(self, starts: Sequence[Start]) -> Sequence[Begun]:
        if not starts:
            return []
        asked = [Start(storable(start.flow), storable(start.node), start.copy, start.at) for start in starts]

        def work(cursor: Any) -> Sequence[Begun]:
            return flow_starts.begin(SqlShelf(self._dialect, cursor, self._now()), asked)

        with self._errors():
            try:
                return self._database.write(work)
            except OutcomeUnknown:
                return self._database.write(work)  # the same copies are started as often as they are asked for

    def flow(self, flow_id: str) -> FlowView | None:
        found = self._read("one_flow", {"id": storable(flow_id), "now": self._now()})
        return flow_of(found[0]).view() if found else None

    def flows(self, *, limit: int, before: tuple[float, str] | None = None) -> Sequence[FlowView]:
        given: dict[str, Any] = {"limit": limit, "now": self._now()}
        if before is not None:
            given["before_at"], given["before_id"] = before[0], storable(before[1])
        found = self._read("newest_flows" if before is None else "older_flows", given)
        return [flow_of(row).view() for row in found]

    def nodes(self, flow_id: str, *, limit: int, after: str = "") -> Sequence[NodeView]:
        found = self._read("one_flow", {"id": storable(flow_id), "now": self._now()})
        if not found:
            return []
        given = {"flow": found[0][0], "after": storable(after), "limit": limit}
        return [with_wire(flow_id, row).view() for row in self._read("some_nodes", given)]

    # --- reading -------------------------------------------------------------------------------------------------

    def results(self, task_ids: Sequence[str]) -> Mapping[str, StoredResult]:
        if not task_ids:
            return {}
        asked = {storable(task_id): task_id for task_id in task_ids}
        given: dict[str, Any] = {"now": self._now()}
        if len(asked) == 1:
            (given["id"],) = asked
            found = self._read("one_result", given)
        else:
            given["ids"] = self._dialect.ids(list(asked))
            found = self._read("many_results", given)
        results = {asked[row[0]]: rows.result_of(row, asked[row[0]]) for row in found}
        if self._polling is not None:
            self._polling.looked(task_ids, results.values())
        return results

    def attempts(self, task_ids: Sequence[str]) -> Mapping[str, Sequence[FailedAttempt]]:
        if not task_ids:
            return {}
        asked = {storable(task_id): task_id for task_id in task_ids}
        found: dict[str, list[FailedAttempt]] = {}
        for row in self._read("attempts", {"ids": self._dialect.ids(list(asked))}):
            task_id = asked[row[0]]
            found.setdefault(task_id, []).append(rows.attempt_of(row, task_id))
        return found

    def dead_letters(
        self, where: Filter, *, limit: int, after: tuple[float, str] | None = None, is_newest_first: bool = False
    ) -> Sequence[DeadLetter]:
        found = self._choose("letters_newest" if is_newest_first else "letters", where, limit, after)
        attempts = self.attempts([row[0] for row in found])
        return [rows.letter_of(row, attempts.get(row[0], ())) for row in found]

    def count_dead_letters(self, where: Filter) -> int:
        return int(self._choose("count", where)[0][0])

    def dead_letter_groups(self, where: Filter) -> Sequence[Group]:
        return [Group(row[0], Reason(row[1]), *row[2:]) for row in self._choose("groups", where)]

    def _choose(
        self, statement: str, where: Filter, limit: int = 0, after: tuple[float, str] | None = None
    ) -> list[Any]:
        text, values = filtered(self._dialect, statement, where, after)
        given: Any = {**values, "limit": limit}
        with self._errors():
            self._dialect.prepare(self._database.cursor())
            return self._database.read(text, given)

    def _read(self, statement: str, given: Any) -> list[Any]:
        with self._errors():
            return self._database.read(self._sql(statement), given)

    def _sql(self, statement: str) -> str:
        return self._dialect.sql[statement]

    # --- the database --------------------------------------------------------------------------------------------

    def subscribe(self, notify: Callable[[], None]) -> Callable[[], None]:
        if self._polling is not None:
            return self._polling.subscribe(notify)
        with self._errors():
            return self._database.subscribe(TOPIC, notify)

    def examine(self) -> list[Remark]:
        if not self._dialect.has_clock:
            return []  # doctor looks at the file itself
        with self._errors():
            return examine(self._database)

    def close(self) -> None:
        self._database.close()

    def _now(self) -> float | None:
        """The present as statements are told of it; None: the server knows."""
        return self._clock() if self._asks_clock else None

    def _base(self, now: float | None) -> float:
        """What seconds to live are added to here rather than by the server."""
        return 0.0 if now is None or self._dialect.has_clock else now

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except self._database.errors as error:
            raise StoreError(self._database.explain(error)) from error
        except OutcomeUnknown as error:
            cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
            raise StoreError(
                f"{self._database.explain(cause)}; the connection was lost while committing, so it may have been done"
            ) from error


def _run(steps: Sequence[Step], cursor: Any) -> None:
    for step in steps:
        step(cursor)


def _execute(statement: str, given: Mapping[str, Any], cursor: Any) -> Any:
    return cursor.execute(statement, given)


def open_url(url: str, clock: Clock) -> SqlStore:
    """The store at ``url``."""
    return SqlStore(open_database(url), clock)
