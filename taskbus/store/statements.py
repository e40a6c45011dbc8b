"""The SQL of ``sql.py``, as text: rendering it anew for every batch would cost more than running it.

SQLite's dialect, close to PostgreSQL's. ``?`` marks stand in the order of the columns named.
"""

# ruff: noqa: S608 (the texts are put together from constants of this file; values only ever go through marks)

import json
from collections.abc import Sequence

from taskbus.store.base import Filter

TABLES = ("taskbus_results", "taskbus_attempts", "taskbus_dead_letters")

_FAILURE = "failure_type, failure_message, failure_traceback"
RESULT = f"task_id, task, state, value, content_type, attempt, started_at, finished_at, {_FAILURE}"
ATTEMPT = f"task_id, attempt, started_at, finished_at, worker, {_FAILURE}"
LETTER = f"task_id, task, queue, reason, {_FAILURE}, wire, content_type, priority, attempt, sent_at, dead_at"


def _marks(columns: str) -> str:
    return ", ".join("?" * len(columns.split(",")))


def _overwrite(columns: str, keys: Sequence[str]) -> str:
    names = [name.strip() for name in columns.split(",")]
    return ", ".join(f"{name} = excluded.{name}" for name in names if name not in keys)


def _save_result(columns: str, clear: str = "") -> str:
    # A final result stays, unless its time is over: then it is as good as gone. The last mark is the present instant.
    return (
        f"INSERT INTO taskbus_results ({columns}) VALUES ({_marks(columns)}) ON CONFLICT (task_id) DO UPDATE"
        f" SET {_overwrite(columns, ['task_id'])}{clear}"
        " WHERE taskbus_results.state NOT IN ('SUCCESS', 'FAILURE', 'REVOKED') OR taskbus_results.expires_at <= ?"
    )


_VALUE = "task_id, task, state, value, content_type, attempt, started_at, finished_at, expires_at"
SAVE_VALUE = _save_result(_VALUE, ", failure_type = NULL, failure_message = NULL, failure_traceback = NULL")
SAVE_FAILURE = _save_result(f"{_VALUE}, {_FAILURE}")
SAVE_ATTEMPT = (
    f"INSERT INTO taskbus_attempts ({ATTEMPT}) VALUES ({_marks(ATTEMPT)}) ON CONFLICT (task_id, attempt) DO UPDATE"
    f" SET {_overwrite(ATTEMPT, ['task_id', 'attempt'])}"
)
FORGET_ATTEMPTS = "DELETE FROM taskbus_attempts WHERE task_id = ?"
BURY = (
    f"INSERT INTO taskbus_dead_letters ({LETTER}) VALUES ({_marks(LETTER)}) ON CONFLICT (task_id) DO UPDATE"
    f" SET {_overwrite(LETTER, ['task_id'])}"
)
HAS_LETTER = "SELECT 1 FROM taskbus_dead_letters WHERE task_id = ?"
DELETE_LETTER = "DELETE FROM taskbus_dead_letters WHERE task_id = ?"
DELETE_RESULT = "DELETE FROM taskbus_results WHERE task_id = ?"
PURGE_ATTEMPTS = f"{FORGET_ATTEMPTS} AND EXISTS (SELECT 1 FROM taskbus_dead_letters WHERE task_id = ?)"

ONE_RESULT = f"SELECT {RESULT} FROM taskbus_results WHERE task_id = ? AND expires_at > ?"
MANY_RESULTS = (
    f"SELECT {RESULT} FROM taskbus_results WHERE task_id IN (SELECT value FROM json_each(?)) AND expires_at > ?"
)
ATTEMPTS_OF = (
    f"SELECT {ATTEMPT} FROM taskbus_attempts WHERE task_id IN (SELECT value FROM json_each(?))"
    " ORDER BY task_id, attempt"
)
IS_OVER = "SELECT 1 FROM taskbus_results WHERE expires_at <= ? LIMIT 1"
SWEEP = (
    "DELETE FROM taskbus_results WHERE task_id IN"
    " (SELECT task_id FROM taskbus_results WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)"
)

_GROUP = "PARTITION BY task, reason, failure_type"


def letters(where: Filter, limit: int, after: tuple[float, str] | None) -> tuple[str, list[object]]:
    """Select a page of dead letters, oldest first."""
    condition, values = _condition(where)
    if after is not None:
        condition += " AND (dead_at, task_id) > (?, ?)"
        values += after
    return (
        f"SELECT {LETTER} FROM taskbus_dead_letters WHERE {condition} ORDER BY dead_at, task_id LIMIT ?",
        [*values, limit],
    )


def count(where: Filter) -> tuple[str, list[object]]:
    """Count dead letters."""
    condition, values = _condition(where)
    return f"SELECT count(*) FROM taskbus_dead_letters WHERE {condition}", values


def groups(where: Filter) -> tuple[str, list[object]]:
    """Select one row for all letters alike, in the order of ``Group``'s fields; the newest one speaks for all."""
    condition, values = _condition(where)
    return (
        "SELECT task, reason, failure_type, failure_message, size, first_at, last_at, task_id FROM ("
        "SELECT task, reason, failure_type, failure_message, task_id,"
        f" count(*) OVER ({_GROUP}) AS size, min(dead_at) OVER ({_GROUP}) AS first_at,"
        f" max(dead_at) OVER ({_GROUP}) AS last_at,"
        f" row_number() OVER ({_GROUP} ORDER BY dead_at DESC, task_id DESC) AS place"
        f" FROM taskbus_dead_letters WHERE {condition}) AS ranked"
        " WHERE place = 1 ORDER BY size DESC, last_at DESC, task_id",
        values,
    )


def _condition(where: Filter) -> tuple[str, list[object]]:
    """A WHERE clause that is never empty, and its values."""
    terms, values = ["1 = 1"], list[object]()

    def add(term: str, *given: object) -> None:
        terms.append(term)
        values.extend(given)

    if where.task_ids:
        add("task_id IN (SELECT value FROM json_each(?))", json.dumps(list(where.task_ids)))
    if where.task is not None:
        add("task GLOB ?", _glob(where.task))
    if where.queue is not None:
        add("queue GLOB ?", _glob(where.queue))
    if where.reason is not None:
        add("reason = ?", str(where.reason))
    if where.error is not None:
        add("(failure_type = ? OR substr(failure_type, ?) = ?)", where.error, -len(where.error) - 1, f".{where.error}")
    if where.text is not None:
        add("instr(failure_message, ?) > 0", where.text)
    if where.older_than is not None:
        add("dead_at <= ?", where.older_than)
    if where.newer_than is not None:
        add("dead_at >= ?", where.newer_than)
    return " AND ".join(terms), values


def _glob(pattern: str) -> str:
    """A shell pattern as SQLite's GLOB has it: a set is negated by ``^``."""
    return pattern.replace("[!", "[^")
