"""The tables of the SQL stores, as SQLAlchemy knows them. Loaded only where they must be created."""

from sqlalchemy import Column, Double, Index, Integer, LargeBinary, MetaData, String, Table, Text
from sqlalchemy.dialects.mysql import LONGBLOB, LONGTEXT

# Ids stand in the order of their characters' numbers: a collation of the system may change its mind with an update.
ID = String(200).with_variant(Text(collation="C"), "postgresql")
NAME = String(200).with_variant(Text(), "postgresql").with_variant(LONGTEXT(), "mysql")
LONG = Text().with_variant(LONGTEXT(), "mysql")
BYTES = LargeBinary().with_variant(LONGBLOB(), "mysql")


def metadata(dialect: str) -> MetaData:
    """All tables and indexes."""
    tables = MetaData()
    _results(tables, dialect)
    _attempts(tables)
    _dead_letters(tables)
    return tables


def _results(tables: MetaData, dialect: str) -> None:
    # Keyed by task ids, which are made in order: without a row id of its own a result costs one page write less.
    Table(
        "taskbus_results",
        tables,
        Column("task_id", ID, primary_key=True),
        Column("task", NAME, nullable=False),
        Column("state", String(10), nullable=False),
        Column("value", BYTES),
        Column("content_type", NAME, nullable=False),
        Column("attempt", Integer, nullable=False),
        Column("started_at", Double, nullable=False),
        Column("finished_at", Double, nullable=False),
        Column("expires_at", Double, nullable=False),
        Column("failure_type", LONG),
        Column("failure_message", LONG),
        Column("failure_traceback", LONG),
        # MySQL assigns the columns of an upsert one after the other: what they all ask must be one column, the last.
        *([Column("final_until", Double, nullable=False)] if dialect == "mysql" else []),
        Index("taskbus_results_expiry", "expires_at"),
        sqlite_with_rowid=False,
    )


def _attempts(tables: MetaData) -> None:
    Table(
        "taskbus_attempts",
        tables,
        Column("task_id", ID, primary_key=True),
        Column("attempt", Integer, primary_key=True),
        Column("started_at", Double, nullable=False),
        Column("finished_at", Double, nullable=False),
        Column("worker", LONG, nullable=False),
        Column("failure_type", LONG, nullable=False),
        Column("failure_message", LONG, nullable=False),
        Column("failure_traceback", LONG, nullable=False),
    )


def _dead_letters(tables: MetaData) -> None:
    Table(
        "taskbus_dead_letters",
        tables,
        Column("task_id", ID, primary_key=True),
        Column("task", LONG, nullable=False),
        Column("queue", LONG, nullable=False),
        Column("reason", String(40), nullable=False),
        Column("failure_type", LONG, nullable=False),
        Column("failure_message", LONG, nullable=False),
        Column("failure_traceback", LONG, nullable=False),
        Column("wire", BYTES, nullable=False),
        Column("content_type", NAME, nullable=False),
        Column("priority", Integer, nullable=False),
        Column("attempt", Integer, nullable=False),
        Column("sent_at", Double, nullable=False),
        Column("dead_at", Double, nullable=False),
        Index("taskbus_dead_letters_order", "dead_at", "task_id"),
    )
