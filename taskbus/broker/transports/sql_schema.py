"""The tables of the SQL transport. They are made with SQLAlchemy, so that another database is another dialect."""

from typing import TYPE_CHECKING, Any

from taskbus.database.port import Dialect

if TYPE_CHECKING:
    from sqlalchemy import MetaData
    from sqlalchemy.types import TypeEngine

TABLES = (
    "taskbus_message",
    "taskbus_worker",
    "taskbus_counter",
    "taskbus_queue",
    "taskbus_exchange",
    "taskbus_binding",
)
SERVER_TABLES = (*TABLES, "taskbus_sent")
"""On SQLite no ids are remembered: the outcome of a local commit is known, and a row an id would cost a fifth of it."""
VACUUM = {"autovacuum_vacuum_scale_factor": 0.05, "autovacuum_vacuum_cost_delay": 0}
"""PostgreSQL: rows live for a second here; what they leave behind is cleared away before claims must step over it."""
LARGEST = (1 << 32) - 1
"""Bytes of the largest value; MySQL makes the type as large as is asked for."""


def metadata(dialect: Dialect) -> "MetaData":
    """All tables and indexes. SQLAlchemy is loaded here, by the one process that finds them missing.

    Ids of messages and workers are never used twice: a late settlement can hit nothing but its own.
    """
    import sqlalchemy as sa  # noqa: PLC0415 (0.1 s and 15 MiB, for tables that mostly exist already)

    tables = sa.MetaData()
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    large = sa.LargeBinary(None if dialect == "sqlite" else LARGEST)
    message = sa.Table(
        "taskbus_message",
        tables,
        sa.Column("id", number, primary_key=True, autoincrement=True),
        sa.Column("queue", sa.String(255), nullable=False),
        sa.Column("rank", sa.SmallInteger, nullable=False),
        sa.Column("due_at", sa.Double),
        sa.Column("owner", number, nullable=False),
        sa.Column("fence", number, nullable=False, server_default="0"),
        sa.Column("crashes", sa.Integer, nullable=False, server_default="0"),
        sa.Column("losses", sa.Integer, nullable=False, server_default="0"),
        sa.Column("sent_at", sa.Double, nullable=False),
        sa.Column("body", large, nullable=False),
        sa.Column("properties", large),
        sqlite_autoincrement=True,
        postgresql_with=VACUUM,
    )
    owner, queue = message.c.owner, message.c.queue
    ready: dict[str, Any] = {"sqlite_where": owner == 0, "postgresql_where": owner == 0}
    delayed: dict[str, Any] = {"sqlite_where": owner == -1, "postgresql_where": owner == -1}
    held: dict[str, Any] = {"sqlite_where": owner > 0, "postgresql_where": owner > 0}
    leads = () if dialect != "mysql" else (owner,)  # which has no partial indexes
    sa.Index("taskbus_message_ready", *leads, queue, message.c.rank, message.c.id, **ready)
    sa.Index("taskbus_message_delayed", *leads, queue, message.c.due_at, **delayed)
    if dialect != "mysql":
        sa.Index("taskbus_message_held", owner, **held)
    _worker(tables, number)
    _topology(tables, number)
    if dialect != "sqlite":
        _sent(tables, number, dialect)
    tables.info["postgresql"] = ("CREATE SEQUENCE IF NOT EXISTS taskbus_fence",)
    return tables


def _worker(tables: "MetaData", number: "TypeEngine[int]") -> None:
    import sqlalchemy as sa  # noqa: PLC0415

    sa.Table(
        "taskbus_worker",
        tables,
        sa.Column("id", number, primary_key=True, autoincrement=True),
        sa.Column("incarnation", sa.String(40), nullable=False, unique=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("queues", sa.Text, nullable=False),
        sa.Column("started_at", sa.Double, nullable=False),
        sa.Column("lease_until", sa.Double, nullable=False),
        sqlite_autoincrement=True,
    )


def _topology(tables: "MetaData", number: "TypeEngine[int]") -> None:
    import sqlalchemy as sa  # noqa: PLC0415

    sa.Table(
        "taskbus_counter",
        tables,
        sa.Column("name", sa.String(40), primary_key=True),
        sa.Column("value", number, nullable=False),
    )
    sa.Table(
        "taskbus_queue",
        tables,
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("expires", sa.Double),
        sa.Column("used_at", sa.Double, nullable=False),
    )
    sa.Table(
        "taskbus_exchange",
        tables,
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("type", sa.String(40), nullable=False),
    )
    sa.Table(
        "taskbus_binding",
        tables,
        sa.Column("exchange", sa.String(255), primary_key=True),
        sa.Column("queue", sa.String(255), primary_key=True),
        sa.Column("routing_key", sa.String(255), primary_key=True),
    )


def _sent(tables: "MetaData", number: "TypeEngine[int]", dialect: Dialect) -> None:
    """Ids of messages accepted a moment ago. ``token`` tells on MySQL which of two publishers was the first."""
    import sqlalchemy as sa  # noqa: PLC0415

    token = [sa.Column("token", number, nullable=False)] if dialect == "mysql" else []
    sent = sa.Table(
        "taskbus_sent",
        tables,
        sa.Column("id", sa.String(255), primary_key=True),
        sa.Column("at", sa.Double, nullable=False),
        *token,
        postgresql_with=VACUUM,
    )
    sa.Index("taskbus_sent_at", sent.c.at)
