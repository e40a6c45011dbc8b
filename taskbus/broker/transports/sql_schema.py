"""The tables of the SQL transport. They are made with SQLAlchemy, so that another database is another dialect."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import MetaData

TABLES = (
    "taskbus_message",
    "taskbus_worker",
    "taskbus_counter",
    "taskbus_queue",
    "taskbus_exchange",
    "taskbus_binding",
)


def metadata() -> "MetaData":
    """All tables and indexes. SQLAlchemy is loaded here, by the one process that finds them missing.

    Ids of messages and workers are never used twice (AUTOINCREMENT): a late settlement can hit nothing but its own.
    """
    import sqlalchemy as sa  # noqa: PLC0415 (0.1 s and 15 MiB, for tables that mostly exist already)

    tables = sa.MetaData()
    message = sa.Table(
        "taskbus_message",
        tables,
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("queue", sa.Text, nullable=False),
        sa.Column("rank", sa.Integer, nullable=False),
        sa.Column("due_at", sa.Float),
        sa.Column("owner", sa.Integer, nullable=False),
        sa.Column("fence", sa.Integer, nullable=False, server_default="0"),
        sa.Column("crashes", sa.Integer, nullable=False, server_default="0"),
        sa.Column("losses", sa.Integer, nullable=False, server_default="0"),
        sa.Column("sent_at", sa.Float, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("properties", sa.LargeBinary),
        sqlite_autoincrement=True,
    )
    owner, queue = message.c.owner, message.c.queue
    sa.Index("taskbus_message_ready", queue, message.c.rank, message.c.id, sqlite_where=owner == 0)
    sa.Index("taskbus_message_delayed", queue, message.c.due_at, sqlite_where=owner == -1)
    sa.Index("taskbus_message_held", owner, sqlite_where=owner > 0)
    sa.Table(
        "taskbus_worker",
        tables,
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("incarnation", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("queues", sa.Text, nullable=False),
        sa.Column("started_at", sa.Float, nullable=False),
        sa.Column("lease_until", sa.Float, nullable=False),
        sqlite_autoincrement=True,
    )
    sa.Table(
        "taskbus_counter",
        tables,
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.Integer, nullable=False),
    )
    sa.Table(
        "taskbus_queue",
        tables,
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("expires", sa.Float),
        sa.Column("used_at", sa.Float, nullable=False),
    )
    sa.Table(
        "taskbus_exchange",
        tables,
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("type", sa.Text, nullable=False),
    )
    sa.Table(
        "taskbus_binding",
        tables,
        sa.Column("exchange", sa.Text, primary_key=True),
        sa.Column("queue", sa.Text, primary_key=True),
        sa.Column("routing_key", sa.Text, primary_key=True),
    )
    return tables
