"""The tables of the SQL stores, as SQLAlchemy knows them. Loaded only where they must be created."""

from sqlalchemy import Column, Double, Index, Integer, LargeBinary, MetaData, String, Table, Text

metadata = MetaData()

# Keyed by task ids, which are made in order: without a row id of its own a result costs one page write less.
results = Table(
    "taskbus_results",
    metadata,
    Column("task_id", String(200), primary_key=True),
    Column("task", String(200), nullable=False),
    Column("state", String(10), nullable=False),
    Column("value", LargeBinary),
    Column("content_type", String(200), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("started_at", Double, nullable=False),
    Column("finished_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("failure_type", Text),
    Column("failure_message", Text),
    Column("failure_traceback", Text),
    Index("taskbus_results_expiry", "expires_at"),
    sqlite_with_rowid=False,
)

attempts = Table(
    "taskbus_attempts",
    metadata,
    Column("task_id", String(200), primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("started_at", Double, nullable=False),
    Column("finished_at", Double, nullable=False),
    Column("worker", Text, nullable=False),
    Column("failure_type", Text, nullable=False),
    Column("failure_message", Text, nullable=False),
    Column("failure_traceback", Text, nullable=False),
)

dead_letters = Table(
    "taskbus_dead_letters",
    metadata,
    Column("task_id", String(200), primary_key=True),
    Column("task", Text, nullable=False),
    Column("queue", Text, nullable=False),
    Column("reason", String(40), nullable=False),
    Column("failure_type", Text, nullable=False),
    Column("failure_message", Text, nullable=False),
    Column("failure_traceback", Text, nullable=False),
    Column("wire", LargeBinary, nullable=False),
    Column("content_type", String(200), nullable=False),
    Column("priority", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("sent_at", Double, nullable=False),
    Column("dead_at", Double, nullable=False),
    Index("taskbus_dead_letters_order", "dead_at", "task_id"),
)
