"""The tables of the history, as SQLAlchemy knows them. Loaded only where they must be created.

Names of tasks, queues, workers, errors and schedules are numbers in them: a million records stay small, a pattern is
compared with each name once, and no index holds a text that somebody else made up.
"""

from sqlalchemy import Column, Double, Index, Integer, MetaData, String, Table, Text, text

from taskbus.history.history import VERSION
from taskbus.monitor.report import COUNTED
from taskbus.store.schema import BYTES, LONG, NUMBER

KEY = String(255).with_variant(Text(collation="C"), "postgresql")


def metadata(dialect: str) -> MetaData:
    """All tables and indexes, and the one row of ``taskbus_history``."""
    tables = MetaData()
    _following(tables)
    _totals(tables)
    _records(tables)
    _acts(tables)
    one = f"INTO taskbus_history (id, version, next_number, rows_kept, bytes_kept) VALUES (1, {VERSION}, 1, 0, 0)"
    again = {"sqlite": f"INSERT OR IGNORE {one}", "mysql": f"INSERT IGNORE {one}"}
    tables.info[dialect] = [again.get(dialect, f"INSERT {one} ON CONFLICT DO NOTHING")]
    return tables


def _following(tables: MetaData) -> None:
    """The row that whoever merges locks; and how far each node was followed, with what may still be replaced of it."""
    Table(
        "taskbus_history",
        tables,
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("version", Integer, nullable=False),
        Column("next_number", NUMBER, nullable=False),
        Column("rows_kept", NUMBER, nullable=False),
        Column("bytes_kept", NUMBER, nullable=False),
    )
    Table(
        "taskbus_history_nodes",
        tables,
        Column("node", KEY, primary_key=True),
        Column("minutes_seen", NUMBER, nullable=False),
        Column("records_seen", NUMBER, nullable=False),
        Column("settled", NUMBER, nullable=False),
        Column("seen_at", Double, nullable=False),
        sqlite_with_rowid=False,
    )
    Table(
        "taskbus_history_node_minutes",
        tables,
        Column("node", KEY, primary_key=True),
        Column("minute", NUMBER, primary_key=True, autoincrement=False),
        Column("number", NUMBER, nullable=False),
        Column("totals", BYTES, nullable=False),
    )
    Table(
        "taskbus_history_names",
        tables,
        Column("number", NUMBER, primary_key=True),
        Column("kind", String(10), nullable=False),
        Column("name", KEY, nullable=False),
        Column("used_at", Double, nullable=False),
        Index("taskbus_history_names_name", "kind", "name", unique=True),
    )


def _totals(tables: MetaData) -> None:
    """What was counted in ``span`` seconds from ``since``: of a task from a queue; and, under the numbers 0, of all."""
    Table(
        "taskbus_history_totals",
        tables,
        Column("span", Integer, primary_key=True, autoincrement=False),
        Column("since", NUMBER, primary_key=True, autoincrement=False),
        Column("task", NUMBER, primary_key=True, autoincrement=False),
        Column("queue", NUMBER, primary_key=True, autoincrement=False),
        *(Column(name, NUMBER, nullable=False) for name in COUNTED),
        Column("detail", BYTES, nullable=False),
        sqlite_with_rowid=False,
    )
    Table(
        "taskbus_history_errors",
        tables,
        Column("task", NUMBER, primary_key=True, autoincrement=False),
        Column("error", NUMBER, primary_key=True, autoincrement=False),
        Column("last_at", Double, nullable=False),
        Column("task_id", KEY, nullable=False),
        Column("message", LONG, nullable=False),
        Index("taskbus_history_errors_age", "last_at"),
    )


def _records(tables: MetaData) -> None:
    """One row for each recorded end of an attempt; what only its own page shows is in a table of its own."""
    Table(
        "taskbus_history_records",
        tables,
        Column("number", NUMBER, primary_key=True, autoincrement=False),
        Column("task_id", KEY, nullable=False),
        *(Column(name, NUMBER, nullable=False) for name in ("task", "queue", "worker", "error", "schedule")),
        Column("state", String(10), nullable=False),
        *(Column(name, Integer, nullable=False) for name in ("attempt", "priority", "weight", "size")),
        *(
            Column(name, Double, nullable=False)
            for name in ("sent_at", "due_at", "started_at", "ended_at", "waited", "ran_for")
        ),
        Column("reason", String(40), nullable=False),
        Column("flow", KEY, nullable=False),
        Column("parent", KEY, nullable=False),
        *(Column(name, LONG, nullable=False) for name in ("message", "args", "kwargs")),
        *_indexes(),
    )
    Table(
        "taskbus_history_details",
        tables,
        Column("number", NUMBER, primary_key=True, autoincrement=False),
        Column("detail", BYTES, nullable=False),
    )


INDEXES = {
    "task_id": ("task_id",),
    "ended_at": ("ended_at",),
    "ran_for": ("ran_for",),
    "waited": ("waited",),
    "task": ("task", "ended_at"),
    "slowest": ("task", "ran_for"),
    "longest": ("task", "waited"),
    "queue": ("queue", "ended_at"),
    "worker": ("worker", "ended_at"),
    "state": ("state", "ended_at"),
    "error": ("error", "ended_at"),
    "schedule": ("schedule", "ended_at"),
    "flow": ("flow", "ended_at"),
    "parent": ("parent", "ended_at"),
}
"""Of the records: each name after ``taskbus_history_records_``, and its columns."""
_PARTIAL = {"error": "error <> 0", "schedule": "schedule <> 0", "flow": "flow <> ''", "parent": "parent <> ''"}


def _indexes() -> list[Index]:
    """Most records have no error, schedule, flow or parent: where a database can, only those that do are indexed."""
    made = []
    for name, columns in INDEXES.items():
        only = text(_PARTIAL[name]) if name in _PARTIAL else None
        made.append(
            Index(f"taskbus_history_records_{name}", *columns, sqlite_where=only, postgresql_where=only)
        )  # fmt: skip
    return made


def _acts(tables: MetaData) -> None:
    """Who changed what, and the long things that go on."""
    Table(
        "taskbus_history_audit",
        tables,
        Column("number", NUMBER, primary_key=True),
        Column("at", Double, nullable=False),
        *(Column(name, LONG, nullable=False) for name in ("who", "role", "action", "target", "detail")),
        Column("count", NUMBER, nullable=False),
        Index("taskbus_history_audit_age", "at"),
    )
    Table(
        "taskbus_history_jobs",
        tables,
        Column("id", KEY, primary_key=True),
        *(Column(name, LONG, nullable=False) for name in ("kind", "what", "who")),
        Column("started_at", Double, nullable=False),
        Column("state", String(20), nullable=False),
        *(Column(name, NUMBER, nullable=False) for name in ("total", "done", "failed")),
        Column("updated_at", Double, nullable=False),
        Column("error", LONG, nullable=False),
        Index("taskbus_history_jobs_age", "started_at"),
    )
