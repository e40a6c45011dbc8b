"""The tables of the SQL stores, as SQLAlchemy knows them. Loaded only where they must be created."""

from sqlalchemy import BigInteger, Column, Double, Index, Integer, LargeBinary, MetaData, String, Table, Text, text
from sqlalchemy.dialects.mysql import LONGBLOB, LONGTEXT

# Ids stand in the order of their characters' numbers: a collation of the system may change its mind with an update.
ID = String(200).with_variant(Text(collation="C"), "postgresql")
NAME = String(200).with_variant(Text(), "postgresql").with_variant(LONGTEXT(), "mysql")
LONG = Text().with_variant(LONGTEXT(), "mysql")
NUMBER = BigInteger().with_variant(Integer(), "sqlite")
BYTES = LargeBinary().with_variant(LONGBLOB(), "mysql")


def metadata(dialect: str) -> MetaData:
    """All tables and indexes."""
    tables = MetaData()
    _results(tables, dialect)
    _attempts(tables)
    _dead_letters(tables)
    _flows(tables)
    _flow_nodes(tables)
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


def _flows(tables: MetaData) -> None:
    counts = ("waiting", "ready", "started", "succeeded", "failed", "revoked", "skipped", "dead", "joins")
    Table(
        "taskbus_flows",
        tables,
        Column("number", NUMBER, primary_key=True),
        Column("id", ID, nullable=False),
        Column("name", NAME),
        Column("last_id", ID, nullable=False, server_default=""),
        _double("sent_at"),
        _double("ttl"),
        Column("state", String(10), nullable=False, server_default=""),  # empty within the step that begins it
        _int("is_cancelled"),
        _double("ended_at"),
        Column("expires_at", Double),
        *(_int(name) for name in counts),
        Index("taskbus_flows_id", "id", unique=True),
        Index("taskbus_flows_order", "sent_at", "id"),
        Index("taskbus_flows_expiry", "expires_at"),
    )


def _flow_nodes(tables: MetaData) -> None:
    """Whatever is not always given has a default: a node is saved by an INSERT that finds it there."""
    followers, members = text("after_id <> ''"), text("join_id <> ''")
    Table(
        "taskbus_flow_nodes",
        tables,
        Column("flow", NUMBER, primary_key=True, autoincrement=False),
        Column("id", ID, primary_key=True),
        Column("task", NAME),
        Column("after_id", ID, nullable=False, server_default=""),
        Column("run_when", String(10), nullable=False, server_default=""),
        Column("join_id", ID, nullable=False, server_default=""),
        _int("place"),
        Column("queue", NAME),
        _int("priority"),
        Column("wire", BYTES),
        _int("takes"),
        _int("keeps"),
        _double("result_ttl"),
        _int("size"),
        Column("policy", String(10), nullable=False, server_default=""),
        Column("path", LONG),
        _double("due_at"),
        _double("delay"),
        Column("state", String(10), nullable=False, server_default=""),
        _double("started_at"),
        Column("copy", LONG),
        _double("ended_at"),
        Column("value", BYTES),
        Column("content_type", NAME),
        Column("failure_type", LONG),
        Column("failure_message", LONG),
        Column("failure_traceback", LONG),
        Column("cause", ID, nullable=False, server_default=""),
        _int("waits_for"),
        _int("failed"),
        _int("is_sealed"),
        Index("taskbus_flow_nodes_after", "flow", "after_id", sqlite_where=followers, postgresql_where=followers),
        Index("taskbus_flow_nodes_members", "flow", "join_id", "place", sqlite_where=members, postgresql_where=members),
        sqlite_with_rowid=False,
        postgresql_with={"fillfactor": 50},  # each node is changed twice: there is room for it beside itself
    )


def _int(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False, server_default="0")


def _double(name: str) -> Column[float]:
    return Column(name, Double, nullable=False, server_default="0")
