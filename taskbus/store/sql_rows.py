"""Between the records of ``base`` and the rows of the SQL stores; and changes in an order that needs few statements.

A row of a result holds seconds to live or the instant they end, as the database's dialect has it.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from taskbus.outcome import Failure, Reason, State
from taskbus.store.base import (
    Bury,
    Change,
    DeadLetter,
    FailedAttempt,
    ForgetAttempts,
    SaveAttempt,
    SaveResult,
    StoredResult,
)
from taskbus.store.statements import storable

# Plain texts: sqlite3 looks for an adapter for each value of a subclass, which costs more than binding it.
_STATES: dict[State, str] = {state: state.value for state in State}
_NO_FAILURE = (None, None, None)


def task_id_of(change: Change) -> str:
    """The task that a change is about; changes of different tasks do not depend on each other."""
    if type(change) is SaveResult:
        return change.result.task_id
    if type(change) is SaveAttempt:
        return change.attempt.task_id
    if type(change) is Bury:
        return change.letter.task_id
    return change.task_id  # type: ignore[union-attr]


def runs(changes: Sequence[Change]) -> Sequence[tuple[type, Sequence[Any]]]:
    """The changes by kind, in as few runs as leave those that depend on each other in their order.

    A batch of dead tasks is attempt, letter, result, attempt, letter, result, ...: three runs, not three a task. Where
    it can be, the tables come in one order, whoever writes, so that no two writers wait for each other.
    """
    kinds = set(map(type, changes))
    if len(kinds) < 2:
        return [(kind, changes) for kind in kinds]
    if not kinds <= _TABLES.keys():
        return _runs(changes)
    found: list[tuple[type, Sequence[Any]]] = []
    for table in dict.fromkeys(_TABLES.values()):
        found += _runs([change for change in changes if _TABLES[type(change)] == table])
    return found


_TABLES = {SaveAttempt: "attempts", ForgetAttempts: "attempts", Bury: "letters", SaveResult: "results"}
"""Kinds that touch one table only; changes in different tables do not depend on each other."""


def _runs(changes: Sequence[Change]) -> list[tuple[type, Sequence[Any]]]:
    """The changes by kind, those of each task in their order."""
    found: list[tuple[type, list[Change]]] = []
    reached: dict[str, int] = {}
    for change in changes:
        kind, task_id = type(change), task_id_of(change)
        at = reached.get(task_id, 0)
        while at < len(found) and found[at][0] is not kind:
            at += 1
        if at == len(found):
            found.append((kind, []))
        found[at][1].append(change)
        reached[task_id] = at
    return [(kind, run) for kind, run in found]


# --- records to rows ---------------------------------------------------------------------------------------------


def rows_of_results(run: Iterable[SaveResult], base: float) -> tuple[str, list[tuple[Any, ...]]]:
    """The statement for a run, and one row a task: its first final state, or else its last one."""
    latest: dict[str, SaveResult] = {}
    failed = False
    for change in run:
        result = change.result
        before = latest.get(result.task_id)
        if before is None or not before.result.state.is_final:
            latest[result.task_id] = change
            failed = failed or result.failure is not None
    if failed:
        return "save_results", [
            (*_value(each), *_failure(each.result.failure), base + each.ttl) for each in latest.values()
        ]
    return "save_values", [(*_value(each), base + each.ttl) for each in latest.values()]


def _value(change: SaveResult) -> tuple[Any, ...]:
    result = change.result
    return (
        storable(result.task_id),
        storable(result.task),
        _STATES[result.state],
        result.value,
        storable(result.content_type),
        result.attempt,
        result.started_at,
        result.finished_at,
    )


def rows_of_attempts(run: Iterable[SaveAttempt]) -> list[tuple[Any, ...]]:
    """One row an attempt, as it was last saved."""
    latest = {(change.attempt.task_id, change.attempt.attempt): change.attempt for change in run}
    return [
        (
            storable(each.task_id),
            each.attempt,
            each.started_at,
            each.finished_at,
            storable(each.worker),
            *_failure(each.failure),
        )
        for each in latest.values()
    ]


def rows_of_letters(run: Iterable[Bury]) -> list[tuple[Any, ...]]:
    """One row a task, as it was last buried."""
    latest = {change.letter.task_id: change.letter for change in run}
    return [
        (
            storable(each.task_id),
            storable(each.task),
            storable(each.queue),
            each.reason.value,
            *_failure(each.failure),
            each.wire,
            storable(each.content_type),
            each.priority,
            each.attempt,
            each.sent_at,
            each.dead_at,
        )
        for each in latest.values()
    ]


def _failure(failure: Failure | None) -> tuple[str, str, str] | tuple[None, None, None]:
    if failure is None:
        return _NO_FAILURE
    return storable(failure.type), storable(failure.message), storable(failure.traceback)


# --- rows to records ---------------------------------------------------------------------------------------------


def result_of(row: Sequence[Any], task_id: str) -> StoredResult:
    """``task_id``: as it was asked for; what no database takes is spelled out in the row."""
    _, task, state, value, content_type, attempt, started_at, finished_at, *failure = row
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


def attempt_of(row: Sequence[Any], task_id: str) -> FailedAttempt:
    """``task_id``: see ``result_of``."""
    _, attempt, started_at, finished_at, worker, *failure = row
    return FailedAttempt(task_id, attempt, started_at, finished_at, worker, Failure(*failure))


def letter_of(row: Sequence[Any], attempts: Sequence[FailedAttempt]) -> DeadLetter:
    """A dead letter, with its attempts, which are rows of their own."""
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
