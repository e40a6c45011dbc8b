"""Between task records, as workers tell them, and the rows that hold them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgpack

from taskbus.history.fitting import (
    MOST_OF_A_TEXT,
    fitted_int,
    fitted_name,
    fitted_seconds,
    fitted_text,
)
from taskbus.history.shapes import TaskRow
from taskbus.history.tally import expanded, squeezed
from taskbus.monitor.report import TaskRecord, unpack_records

NAMES = ("task", "queue", "worker", "error", "schedule")
"""The fields that are numbers of names in a row."""
COLUMNS = (
    "number", "task_id", *NAMES, "state", "attempt", "priority", "weight", "size", "sent_at", "due_at", "started_at",
    "ended_at", "waited", "ran_for", "reason", "flow", "parent", "message", "args", "kwargs",
)  # fmt: skip
_DETAIL = ("pid", "result", "traceback", "retry_in", "trace", "logs", "progress")
_TEXTS = ("message", "args", "kwargs")
_ROOM = 400
"""Bytes that a row takes beside its texts, indexes included; about."""


class Prepared(NamedTuple):
    """A record that fits the tables: ``names`` by field, the other columns, and the bytes of what is apart, or none."""

    names: Mapping[str, str]
    row: dict[str, Any]
    detail: bytes


def read_records(packed: bytes) -> list[Prepared]:
    """The records in what a node said.

    Raises:
        ValueError: they cannot be read.
    """
    try:
        return [_prepared(record) for record in unpack_records(packed)]
    except Exception as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _prepared(record: TaskRecord) -> Prepared:
    started_at, ended_at = fitted_seconds(record.started_at), fitted_seconds(record.ended_at)
    sent_at, due_at = fitted_seconds(record.sent_at), fitted_seconds(record.due_at)
    row: dict[str, Any] = {
        "task_id": fitted_name(record.id),
        "state": fitted_text(record.state, 10),
        "attempt": fitted_int(record.attempt),
        "priority": fitted_int(record.priority),
        "weight": max(1, fitted_int(record.weight)),
        "sent_at": sent_at,
        "due_at": due_at,
        "started_at": started_at,
        "ended_at": ended_at,
        "waited": max(0.0, started_at - max(sent_at, due_at)) if started_at and sent_at else 0.0,
        "ran_for": fitted_seconds(record.ran_for),
        "reason": fitted_text(record.reason, 40),
        "flow": fitted_name(record.flow),
        "parent": fitted_name(record.parent),
        **{name: fitted_text(getattr(record, name)) for name in _TEXTS},
    }
    detail = _detail(record)
    texts = sum(len(value) for value in row.values() if isinstance(value, str))
    row["size"] = _ROOM + texts + len(detail)
    return Prepared({name: fitted_name(getattr(record, name)) for name in NAMES}, row, detail)


def _detail(record: TaskRecord) -> bytes:
    """What says something and is not in the row."""
    usual = TaskRecord._field_defaults
    apart = {name: getattr(record, name) for name in _DETAIL if getattr(record, name) != usual[name]}
    apart |= {name: text for name in _TEXTS if len(text := getattr(record, name)) > MOST_OF_A_TEXT}
    if not apart:
        return b""
    packed: bytes = msgpack.packb(apart, unicode_errors="surrogatepass")
    return squeezed(packed)


def read_rows(packed: bytes) -> list[TaskRow]:
    """As lists show them, without having been stored; none where they cannot be read."""
    try:
        prepared = read_records(packed)
    except ValueError:
        return []
    fields = TaskRow._fields
    found = [{**each.row, **each.names, "id": each.row["task_id"], "number": 0} for each in prepared]
    return [TaskRow(**{name: row[name] for name in fields}) for row in found]


def record_of(row: TaskRow, detail: bytes | None) -> TaskRecord:
    """The whole record."""
    told = {name: value for name, value in row._asdict().items() if name in TaskRecord._fields}
    if detail:
        told |= msgpack.unpackb(expanded(detail), strict_map_key=False, unicode_errors="surrogatepass")
    return TaskRecord(**{name: value for name, value in told.items() if name in TaskRecord._fields})
