"""Celery's results in a database: the tables of its own backend, made where they are missing, as it makes them.

Values are JSON as bytes, as Celery 5.7 writes them; pickles of older ones are never read. Columns that an older Celery
did not make are left out. The database tells nobody of a change: who waits asks again and again.
Chords are not counted here: a task, ``celery.chord_unlock``, looks again and again whether their parts have ended.
"""

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from taskbus.celery_results.document import Document, read, stored, unreadable, written
from taskbus.celery_results.port import Ability, Joined, Part
from taskbus.celery_results.signature import Chord
from taskbus.database.urls import redacted
from taskbus.errors import CodecError, ConfigError, StoreError
from taskbus.outcome import State
from taskbus.store.sql_polling import Polling

AT_ONCE = 500
TRIES = 3
"""Two that write a document for the first time at once: one of them is refused, and then finds it there."""

_DRIVERS = {
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
}
_EXTENDED = ("name", "args", "kwargs", "worker", "retries", "queue", "stamps")
_ENCODED = ("result", "children", "args", "kwargs", "stamps")


def tables(*, is_extended: bool = True) -> tuple[sa.MetaData, sa.Table, sa.Table]:
    """Celery's tables, as its own models describe them."""
    metadata = sa.MetaData()
    more: list[sa.Column[Any]] = [
        sa.Column("name", sa.String(155)),
        sa.Column("args", sa.LargeBinary),
        sa.Column("kwargs", sa.LargeBinary),
        sa.Column("worker", sa.String(155)),
        sa.Column("retries", sa.Integer),
        sa.Column("queue", sa.String(155)),
        sa.Column("stamps", sa.LargeBinary),
    ]
    tasks = sa.Table(
        "celery_taskmeta",
        metadata,
        sa.Column("id", sa.Integer, sa.Sequence("task_id_sequence"), primary_key=True, autoincrement=True),
        sa.Column("task_id", sa.String(155), unique=True),
        sa.Column("status", sa.String(50)),
        sa.Column("result", sa.LargeBinary),
        sa.Column("date_done", sa.DateTime, index=True),
        sa.Column("traceback", sa.Text),
        sa.Column("children", sa.LargeBinary),
        *(more if is_extended else ()),
        sqlite_autoincrement=True,
    )
    groups = sa.Table(
        "celery_tasksetmeta",
        metadata,
        sa.Column("id", sa.Integer, sa.Sequence("taskset_id_sequence"), primary_key=True, autoincrement=True),
        sa.Column("taskset_id", sa.String(155), unique=True),
        sa.Column("result", sa.LargeBinary),
        sa.Column("date_done", sa.DateTime, index=True),
        sqlite_autoincrement=True,
    )
    return metadata, tasks, groups


class SqlResults:
    """See ``CeleryResults``."""

    ability = Ability(counts=False)

    def __init__(self, url: URL, shown: str, *, is_extended: bool) -> None:
        self._url = url
        self._is_extended = is_extended
        self._metadata, self._tasks, self._groups = tables(is_extended=is_extended)
        self._opening = threading.Lock()
        self._engine: Engine | None = None
        self._pid = os.getpid()
        self._columns: frozenset[str] = frozenset()
        self._polling = Polling()
        self.shown = shown

    def save(self, documents: Sequence[Document]) -> None:
        for tries_left in reversed(range(TRIES)):
            try:
                with self._transaction() as connection:
                    for each in documents:
                        self._write(connection, each)
                return
            except StoreError as error:
                if not tries_left or not isinstance(error.__cause__, IntegrityError):
                    raise

    def _write(self, connection: Connection, document: Document) -> None:
        tasks = self._tasks
        mine = tasks.c.task_id == document.task_id
        found = connection.execute(sa.select(tasks.c.status).where(mine).with_for_update()).scalar()
        values = self._row(document)
        if found is None:
            connection.execute(tasks.insert().values(task_id=document.task_id, **values))
        elif found != State.SUCCESS:
            # Asked again where no row is locked, as on SQLite: a SUCCESS may have come in between.
            connection.execute(tasks.update().where(mine, tasks.c.status != str(State.SUCCESS)).values(**values))

    def _row(self, document: Document) -> dict[str, Any]:
        fields = document.fields
        done = fields["date_done"]
        row: dict[str, Any] = {
            "status": document.state,
            "result": written(fields["result"]),
            "date_done": None if done is None else datetime.fromisoformat(done).astimezone(UTC).replace(tzinfo=None),
            "traceback": fields["traceback"],
            "children": written(fields["children"]) if fields["children"] else None,
        }
        if self._is_extended and "name" in fields:
            row |= {name: fields[name] for name in ("name", "worker", "retries", "queue")}
            row |= {name: written(fields[name]) for name in ("args", "kwargs")}
            stamped = fields.get("stamped_headers")
            if stamped:
                stamps = {name: fields.get(name) for name in stamped}
                row["stamps"] = written({"stamped_headers": stamped, "stamps": stamps})
        return {name: value for name, value in row.items() if name in self._columns}

    def documents(self, task_ids: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        found: dict[str, Mapping[str, Any]] = {}
        with self._transaction() as connection:
            columns = [column for column in self._tasks.c if column.name in self._columns]
            for start in range(0, len(task_ids), AT_ONCE):
                some = task_ids[start : start + AT_ONCE]
                rows = connection.execute(sa.select(*columns).where(self._tasks.c.task_id.in_(some)))
                found |= {row["task_id"]: _fields({**row}) for row in rows.mappings()}
        if task_ids:
            self._polling.looked(task_ids, [stored(fields, task_id) for task_id, fields in found.items()])
        return found

    def forget(self, task_ids: Sequence[str]) -> None:
        with self._transaction() as connection:
            connection.execute(self._tasks.delete().where(self._tasks.c.task_id.in_(list(task_ids))))

    def sweep(self, now: float, ttl: float) -> int:
        before = datetime.fromtimestamp(max(0.0, now - ttl), UTC).replace(tzinfo=None)
        with self._transaction() as connection:
            swept = [
                connection.execute(table.delete().where(table.c.date_done < before)).rowcount
                for table in (self._tasks, self._groups)
            ]
        return sum(swept)

    def subscribe(self, notify: Callable[[], None]) -> Callable[[], None]:
        return self._polling.subscribe(notify)

    # --- chords: nothing to count ------------------------------------------------------------------------------------

    def begin(self, chords: Sequence[Chord]) -> None:
        """Nothing: a task looks whether the parts have ended."""

    def parts(self, parts: Sequence[Part]) -> Sequence[Joined | None]:
        return [None] * len(parts)

    def finish(self, groups: Sequence[str]) -> None:
        """Nothing was kept of them."""

    def fail(self, groups: Sequence[str]) -> None:
        """Nothing was kept of them."""

    # --- the connection ----------------------------------------------------------------------------------------------

    def close(self) -> None:
        with self._opening:
            engine, self._engine = self._engine, None
        if engine is not None and self._pid == os.getpid():
            engine.dispose()

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        try:
            with self._opened().begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise StoreError(f"Celery's results in {self.shown}: {error}") from error

    def _opened(self) -> Engine:
        with self._opening:
            if self._engine is None or self._pid != os.getpid():
                if self._engine is not None:
                    self._engine.dispose(close=False)  # the parent's connections are the parent's
                self._pid = os.getpid()
                self._engine = self._made()
            return self._engine

    def _made(self) -> Engine:
        engine = sa.create_engine(self._url, pool_pre_ping=True)
        self._metadata.create_all(engine)
        self._columns = frozenset(column["name"] for column in sa.inspect(engine).get_columns("celery_taskmeta"))
        return engine


def open_sql(url: str, *, is_extended: bool) -> SqlResults:
    """``url``: as SQLAlchemy writes it, the driver being TaskBus's own for the database where none is named."""
    scheme, separator, rest = url.partition("://")
    try:
        made = make_url(f"{_DRIVERS.get(scheme, scheme)}{separator}{rest}")
        return SqlResults(made, redacted(url), is_extended=is_extended)
    except (SQLAlchemyError, ValueError) as error:  # their own words may quote half of a password
        raise ConfigError(
            f"celery_results={redacted(url)!r} is no URL of SQLAlchemy's ({type(error).__name__}); write / ? # @ in a"
            " password as %2F %3F %23 %40"
        ) from None


def _fields(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as a document says it."""
    found = {name: value for name, value in row.items() if name != "id"}
    try:
        for name in _ENCODED:
            if found.get(name) is not None:
                found[name] = read(bytes(found[name]))
    except CodecError as error:
        return {"task_id": row["task_id"], **unreadable(error)}
    stamps = found.pop("stamps", None)
    if isinstance(stamps, dict) and isinstance(stamps.get("stamps"), dict):
        found |= {**stamps["stamps"], "stamped_headers": stamps.get("stamped_headers")}
    return found
