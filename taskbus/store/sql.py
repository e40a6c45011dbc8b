"""Results and dead letters in a SQL database: SQLite. What is written joins the transaction that is handed in.

Hot statements are text, run in batches on the driver's own cursor; SQLAlchemy only makes the tables.
"""

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from itertools import groupby
from typing import Any

from taskbus.clock import Clock, wall_clock
from taskbus.database import watch
from taskbus.database.connection import explain
from taskbus.database.remark import Remark
from taskbus.database.sql import Database
from taskbus.errors import StoreError
from taskbus.outcome import Failure, Reason, State
from taskbus.store import statements as sql
from taskbus.store.base import (
    Bury,
    Change,
    DeadLetter,
    Exhume,
    FailedAttempt,
    Filter,
    ForgetAttempts,
    Group,
    Purge,
    SaveAttempt,
    SaveResult,
    StoredResult,
)

SWEEP_LIMIT = 1000

# Plain texts: sqlite3 looks for an adapter for each value of a subclass, which costs more than binding it.
_STATES: dict[State, str] = {state: state.value for state in State}


class SqlStore:
    """The store in ``database``; its tables are made if they are missing."""

    def __init__(self, database: Database, clock: Clock = wall_clock) -> None:
        self._database = database
        self._clock = clock
        self.database = database.identity
        with self._errors():
            if not database.has(sql.TABLES):
                database.create(import_module("taskbus.store.schema").metadata)

    # --- writing -------------------------------------------------------------------------------------------------

    def apply(self, changes: Sequence[Change], transaction: Any = None) -> bool:
        if transaction is not None:
            return self._write(changes, transaction)
        with self._errors(), self._database.transaction() as cursor:
            return self._write(changes, cursor)

    def _write(self, changes: Sequence[Change], cursor: sqlite3.Cursor) -> bool:
        if _refuses(changes, cursor):
            return False
        now = self._clock()
        for kind, run in groupby(changes, type):
            _WRITERS[kind](cursor, run, now)
        return True

    def forget(self, task_ids: Sequence[str]) -> None:
        with self._errors(), self._database.transaction() as cursor:
            cursor.executemany(sql.DELETE_RESULT, [(task_id,) for task_id in task_ids])

    def sweep(self, now: float) -> int:
        with self._errors():
            if self._database.connection().execute(sql.IS_OVER, (now,)).fetchone() is None:
                return 0  # without asking for the write lock
            with self._database.transaction() as cursor:
                return cursor.execute(sql.SWEEP, (now, SWEEP_LIMIT)).rowcount

    # --- reading -------------------------------------------------------------------------------------------------

    def results(self, task_ids: Sequence[str]) -> Mapping[str, StoredResult]:
        if len(task_ids) == 1:
            rows = self._fetch(sql.ONE_RESULT, (task_ids[0], self._clock()))
        else:
            rows = self._fetch(sql.MANY_RESULTS, (json.dumps(list(task_ids)), self._clock()))
        return {row[0]: _result(row) for row in rows}

    def attempts(self, task_ids: Sequence[str]) -> Mapping[str, Sequence[FailedAttempt]]:
        found: dict[str, list[FailedAttempt]] = {}
        for row in self._fetch(sql.ATTEMPTS_OF, (json.dumps(list(task_ids)),)):
            found.setdefault(row[0], []).append(_attempt(row))
        return found

    def dead_letters(
        self, where: Filter, *, limit: int, after: tuple[float, str] | None = None
    ) -> Sequence[DeadLetter]:
        rows = self._fetch(*sql.letters(where, limit, after))
        attempts = self.attempts([row[0] for row in rows]) if rows else {}
        return [_letter(row, attempts.get(row[0], ())) for row in rows]

    def count_dead_letters(self, where: Filter) -> int:
        return int(self._fetch(*sql.count(where))[0][0])

    def dead_letter_groups(self, where: Filter) -> Sequence[Group]:
        return [Group(row[0], Reason(row[1]), *row[2:]) for row in self._fetch(*sql.groups(where))]

    def _fetch(self, statement: str, values: Sequence[object]) -> list[Any]:
        with self._errors():
            return self._database.connection().execute(statement, values).fetchall()

    # --- the database --------------------------------------------------------------------------------------------

    def subscribe(self, notify: Callable[[], None]) -> Callable[[], None]:
        return watch.subscribe(self._database, notify)

    def examine(self) -> list[Remark]:
        return []

    def close(self) -> None:
        self._database.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(explain(error, self._database.path)) from error


def open_url(url: str, clock: Clock) -> SqlStore:
    """The store at ``url``."""
    return SqlStore(Database.open(url), clock)


def _refuses(changes: Sequence[Change], cursor: sqlite3.Cursor) -> bool:
    """Whether some ``Exhume`` would find nothing; asked before anything is written."""
    if not any(type(change) is Exhume for change in changes):
        return False
    there: dict[str, bool] = {}
    for change in changes:
        if isinstance(change, Bury):
            there[change.letter.task_id] = True
        elif isinstance(change, Exhume):
            task_id = change.task_id
            if task_id not in there:
                there[task_id] = cursor.execute(sql.HAS_LETTER, (task_id,)).fetchone() is not None
            if not there[task_id]:
                return True
            there[task_id] = False
    return False


# --- changes to rows: each writes a run of changes of one kind -------------------------------------------------------


def _save_results(cursor: sqlite3.Cursor, run: Iterable[SaveResult], now: float) -> None:
    for failed, part in groupby(run, lambda change: change.result.failure is not None):
        if failed:
            cursor.executemany(
                sql.SAVE_FAILURE,
                [(*_value(change, now), *_failure(change.result.failure), now) for change in part],
            )
        else:
            cursor.executemany(sql.SAVE_VALUE, [(*_value(change, now), now) for change in part])


def _value(change: SaveResult, now: float) -> tuple[object, ...]:
    result = change.result
    return (
        result.task_id,
        result.task,
        _STATES[result.state],
        result.value,
        result.content_type,
        result.attempt,
        result.started_at,
        result.finished_at,
        now + change.ttl,
    )


def _failure(failure: Failure | None) -> tuple[str, str, str] | tuple[None, None, None]:
    if failure is None:
        return None, None, None
    return _text(failure.type), _text(failure.message), _text(failure.traceback)


def _text(text: str) -> str:
    """``text`` as a database takes it: half of a surrogate pair (from a file name that is not UTF-8) is spelled out."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def _save_attempts(cursor: sqlite3.Cursor, run: Iterable[SaveAttempt], _: float) -> None:
    attempts = [change.attempt for change in run]
    rows = [(each.task_id, each.attempt, each.started_at, each.finished_at, _text(each.worker)) for each in attempts]
    failures = [_failure(each.failure) for each in attempts]
    cursor.executemany(sql.SAVE_ATTEMPT, [(*row, *failure) for row, failure in zip(rows, failures, strict=True)])


def _forget_attempts(cursor: sqlite3.Cursor, run: Iterable[ForgetAttempts], _: float) -> None:
    cursor.executemany(sql.FORGET_ATTEMPTS, [(change.task_id,) for change in run])


def _bury(cursor: sqlite3.Cursor, run: Iterable[Bury], _: float) -> None:
    letters = [change.letter for change in run]
    cursor.executemany(
        sql.BURY,
        [
            (
                each.task_id,
                _text(each.task),
                _text(each.queue),
                each.reason.value,
                *_failure(each.failure),
                each.wire,
                _text(each.content_type),
                each.priority,
                each.attempt,
                each.sent_at,
                each.dead_at,
            )
            for each in letters
        ],
    )


def _exhume(cursor: sqlite3.Cursor, run: Iterable[Exhume], _: float) -> None:
    ids = [(change.task_id,) for change in run]
    for statement in (sql.DELETE_LETTER, sql.FORGET_ATTEMPTS, sql.DELETE_RESULT):
        cursor.executemany(statement, ids)


def _purge(cursor: sqlite3.Cursor, run: Iterable[Purge], _: float) -> None:
    ids = [(change.task_id,) for change in run]
    cursor.executemany(sql.PURGE_ATTEMPTS, [ids_ * 2 for ids_ in ids])
    cursor.executemany(sql.DELETE_LETTER, ids)


_WRITERS: dict[type, Callable[[sqlite3.Cursor, Any, float], None]] = {
    SaveResult: _save_results,
    SaveAttempt: _save_attempts,
    ForgetAttempts: _forget_attempts,
    Bury: _bury,
    Exhume: _exhume,
    Purge: _purge,
}


# --- rows to records ---------------------------------------------------------------------------------------------


def _result(row: Sequence[Any]) -> StoredResult:
    task_id, task, state, value, content_type, attempt, started_at, finished_at, *failure = row
    return StoredResult(
        task_id=task_id,
        task=task,
        state=State(state),
        value=value,
        content_type=content_type,
        failure=None if failure[0] is None else Failure(*failure),
        attempt=attempt,
        started_at=started_at,
        finished_at=finished_at,
    )


def _attempt(row: Sequence[Any]) -> FailedAttempt:
    task_id, attempt, started_at, finished_at, worker, *failure = row
    return FailedAttempt(task_id, attempt, started_at, finished_at, worker, Failure(*failure))


def _letter(row: Sequence[Any], attempts: Sequence[FailedAttempt]) -> DeadLetter:
    task_id, task, queue, reason, kind, message, traceback, wire, content_type, priority, attempt, sent_at, dead_at = (
        row
    )
    return DeadLetter(
        task_id=task_id,
        task=task,
        queue=queue,
        reason=Reason(reason),
        failure=Failure(kind, message, traceback),
        wire=wire,
        content_type=content_type,
        priority=priority,
        attempt=attempt,
        sent_at=sent_at,
        dead_at=dead_at,
        attempts=tuple(attempts),
    )
