"""The tables of schedules, as SQLAlchemy knows them. Loaded only where they must be created."""

from sqlalchemy import Column, Double, Index, Integer, MetaData, Table, text

from taskbus.store.schema import BYTES, ID, NAME, NUMBER


def metadata(dialect: str) -> MetaData:
    """All tables and indexes, and the one row of ``taskbus_beats``."""
    tables = MetaData()
    Table(
        "taskbus_schedules",
        tables,
        Column("name", ID, primary_key=True),
        Column("definition", BYTES, nullable=False),
        Column("standing", BYTES, nullable=False),
        Column("version", NUMBER, nullable=False),
        Column("due_at", Double),
        Column("revision", NUMBER, nullable=False),
        Column("is_removed", Integer, nullable=False),
        Column("removed_at", Double),
        Index("taskbus_schedules_changes", "revision"),
    )
    is_pending = text("is_pending = 1")
    Table(
        "taskbus_ticks",
        tables,
        Column("schedule", ID, primary_key=True),
        Column("nominal", Double, primary_key=True),
        Column("is_manual", Integer, primary_key=True, autoincrement=False),
        Column("task_id", ID, nullable=False),
        Column("sent_at", Double, nullable=False),
        Column("keep_until", Double, nullable=False),
        Column("is_pending", Integer, nullable=False),
        Column("queue", NAME),
        Column("priority", Integer),
        Column("wire", BYTES),
        Index("taskbus_ticks_expiry", "keep_until"),
        Index(
            "taskbus_ticks_pending", "is_pending", "sent_at", sqlite_where=is_pending, postgresql_where=is_pending
        ),
        sqlite_with_rowid=False,
    )  # fmt: skip
    Table(
        "taskbus_beats",
        tables,
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("revision", NUMBER, nullable=False),
        Column("leader", ID, nullable=False),
        Column("led_until", Double, nullable=False),
    )
    one = "INTO taskbus_beats (id, revision, leader, led_until) VALUES (1, 0, '', 0)"
    again = {"sqlite": f"INSERT OR IGNORE {one}", "mysql": f"INSERT IGNORE {one}"}
    tables.info[dialect] = [again.get(dialect, f"INSERT {one} ON CONFLICT DO NOTHING")]
    return tables
