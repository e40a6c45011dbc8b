"""The tables of reports, as SQLAlchemy knows them. Loaded only where they must be created."""

from sqlalchemy import Column, Double, Index, Integer, MetaData, String, Table, Text

from taskbus.store.schema import BYTES, ID, NUMBER

QUEUE = String(255).with_variant(Text(collation="C"), "postgresql")
"""A queue's name, as a key: as long as brokers allow."""


def metadata(dialect: str) -> MetaData:
    """All tables and indexes, and the one row of ``taskbus_report_marks``."""
    tables = MetaData()
    _of_nodes(tables)
    _of_orders(tables)
    one = "INTO taskbus_report_marks (id, last_order, watched_until) VALUES (1, 0, 0)"
    again = {"sqlite": f"INSERT OR IGNORE {one}", "mysql": f"INSERT IGNORE {one}"}
    tables.info[dialect] = [again.get(dialect, f"INSERT {one} ON CONFLICT DO NOTHING")]
    return tables


def _of_nodes(tables: MetaData) -> None:
    # A node's row outlives the node: its number is kept for as long as what was counted by its reports.
    Table(
        "taskbus_report_nodes",
        tables,
        Column("node", ID, primary_key=True),
        Column("number", NUMBER, nullable=False),
        Column("at", Double, nullable=False),
        Column("is_listed", Integer, nullable=False),
        Column("state", BYTES, nullable=False),
        postgresql_with={"fillfactor": 50},  # each is changed once a second: there is room for it beside itself
    )
    Table(
        "taskbus_report_minutes",
        tables,
        Column("minute", NUMBER, primary_key=True, autoincrement=False),
        Column("node", ID, primary_key=True),
        Column("number", NUMBER, nullable=False),
        Column("totals", BYTES, nullable=False),
        Index("taskbus_report_minutes_changes", "node", "number"),
    )
    Table(
        "taskbus_report_records",
        tables,
        Column("node", ID, primary_key=True),
        Column("number", NUMBER, primary_key=True, autoincrement=False),
        Column("at", Double, nullable=False),
        Column("records", BYTES, nullable=False),
        Index("taskbus_report_records_age", "at", "node", "number"),
    )


def _of_orders(tables: MetaData) -> None:
    Table(
        "taskbus_orders",
        tables,
        Column("number", NUMBER, primary_key=True, autoincrement=False),
        Column("node", ID, nullable=False),
        Column("body", BYTES, nullable=False),
        Column("expires_at", Double, nullable=False),
        Index("taskbus_orders_expiry", "expires_at"),
    )
    Table(
        "taskbus_answers",
        tables,
        Column("number", NUMBER, primary_key=True, autoincrement=False),
        Column("node", ID, primary_key=True),
        Column("answer", BYTES, nullable=False),
        Column("at", Double, nullable=False),
        Index("taskbus_answers_age", "at"),
    )
    Table("taskbus_pauses", tables, Column("queue", QUEUE, primary_key=True))
    Table(
        "taskbus_report_marks",
        tables,
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("last_order", NUMBER, nullable=False),
        Column("watched_until", Double, nullable=False),
    )
