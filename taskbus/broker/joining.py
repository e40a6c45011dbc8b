"""Sending inside a transaction of the caller's own: the message is one more row of it, committed with it or never.

The transaction is SQLAlchemy's. SQLAlchemy is not imported here: whoever hands over a ``Session`` has done so. What the
database refuses raises SQLAlchemy's own error, as any statement of that session would, so that the caller's way of
trying again works as it does for everything else in the transaction.
"""

import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import count
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

from taskbus.broker.transports.port import Parcel
from taskbus.database.port import Database
from taskbus.database.urls import redacted
from taskbus.errors import ConfigError

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session
    from sqlalchemy.orm import Session, scoped_session

T = TypeVar("T")
Transaction: TypeAlias = (
    "Session | scoped_session[Any] | Connection | AsyncSession | async_scoped_session[Any] | AsyncConnection"
)
"""SQLAlchemy's objects that are in a transaction."""

_SYNC = {"sqlalchemy.orm": ("Session", "scoped_session"), "sqlalchemy.engine": ("Connection",)}
_ASYNC = {"sqlalchemy.ext.asyncio": ("AsyncSession", "async_scoped_session", "AsyncConnection")}
_MAKERS = {
    "sqlalchemy.orm": ("sessionmaker",),
    "sqlalchemy.engine": ("Engine",),
    "sqlalchemy.ext.asyncio": ("AsyncEngine", "async_sessionmaker"),
}

_WHO = {
    "sqlite": "PRAGMA database_list",
    "postgresql": "SELECT extract(epoch FROM pg_postmaster_start_time())::numeric::text, current_database()::text",
    "mysql": "SELECT concat_ws('|', @@hostname, @@port, @@socket, @@datadir, @@server_id, @@pid_file), database()",
}
"""Asks a connection which database it is in; none of these can fail, which would undo the caller's transaction."""


def check(session: object, task: str) -> None:
    """Raise ``ConfigError`` unless ``session`` is a Session or Connection of SQLAlchemy, or one of its async ones."""
    if _is_one(session, _SYNC) or _is_one(session, _ASYNC):
        return
    what = f"task {task!r}: using() takes a SQLAlchemy Session or Connection, not {type(session).__qualname__!r}"
    if _is_one(session, _MAKERS):
        raise ConfigError(f"{what}, which is in no transaction; hand over the one that your changes are made with")
    raise ConfigError(f"{what}; hand over the one that your changes are made with")


async def run_in(session: Any, work: Callable[[Any], T]) -> T:
    """``work(session)`` where it may use the session: an async one lends itself as a plain one."""
    if not _is_one(session, _ASYNC):
        return work(session)
    lent: T = await session.run_sync(work)
    return lent


def publish(
    session: Any,
    storage: Any,
    database: Callable[[], Database],
    parcels: Callable[["JoinedCursor"], Sequence[Parcel]],
    place: str,
) -> None:
    """Make parcels part of the session's transaction; ``database`` opens the one that ``storage`` keeps messages in.

    ``parcels`` makes them, and may write to the same transaction by the cursor that it is given. Raises ``ConfigError``
    where it cannot be: see ``join``.
    """
    publish_in: Callable[[JoinedCursor, Sequence[Parcel]], None] | None = getattr(storage, "publish_in", None)
    if publish_in is None:
        raise ConfigError(
            f"using(session) needs a broker in the session's own SQL database, and this one is {place};"
            " make that database the broker, or send after the commit"
        )
    cursor = join(session, database(), place)
    found = parcels(cursor)
    if found:
        publish_in(cursor, found)


def join(session: Any, database: Database, place: str) -> "JoinedCursor":
    """A cursor inside the session's transaction, which is begun if it was not yet.

    ``place`` says where the broker is, without secrets.

    Raises:
        ConfigError: the session is async, commits each statement by itself, or is not in ``database``.
    """
    if _is_one(session, _ASYNC):
        raise ConfigError(
            f"{type(session).__qualname__} cannot be used by delay(); write `await task.using(session).adelay(...)`"
        )
    connection = _connection(session)
    dialect = "mysql" if connection.dialect.name == "mariadb" else connection.dialect.name
    if dialect != database.dialect:
        raise ConfigError(_elsewhere(dialect, place))
    _check_identity(connection, database, place)
    if _commits_at_once(connection):
        raise ConfigError(
            "the session is in AUTOCOMMIT mode, so that the message would not be part of any transaction;"
            " use one with transactions, or send without using()"
        )
    location = getattr(database, "location", None)
    return JoinedCursor(connection, getattr(location, "schema", ""))


class JoinedCursor:
    """See ``database.port.Cursor``: runs statements through SQLAlchemy, which so knows that its transaction is in use.

    Statements are written for the driver of TaskBus's own; the session's may be another one for the same database.
    ``schema``: where TaskBus's tables are, which the session need not look into; "": where it does.
    """

    def __init__(self, connection: Any, schema: str = "") -> None:
        self._connection = connection
        self._schema = schema
        self._marked = _counted if connection.dialect.paramstyle == "numeric_dollar" else _marked_plainly
        self._result: Any = None

    @property
    def rowcount(self) -> int:
        return int(self._result.rowcount)

    @property
    def lastrowid(self) -> Any:
        return self._result.lastrowid

    def execute(self, statement: str, parameters: Any = (), /) -> "JoinedCursor":
        if isinstance(parameters, Mapping):
            statement, names = _unnamed(statement)
            parameters = [parameters[name] for name in names]
        if self._schema:
            statement = _placed(statement, self._schema)
        self._result = self._connection.exec_driver_sql(self._marked(statement), tuple(parameters) or None)
        return self

    def executemany(self, statement: str, parameters: Sequence[Sequence[Any]], /) -> "JoinedCursor":
        for each in parameters:
            self.execute(statement, each)
        return self

    def fetchone(self) -> Any:
        return self._result.fetchone()

    def fetchall(self) -> list[Any]:
        return list(self._result.fetchall())


def _connection(session: Any) -> Any:
    if _is_one(session, {"sqlalchemy.engine": ("Connection",)}):
        return session
    if _is_one(session, {"sqlalchemy.orm": ("scoped_session",)}):
        session = session()
    return session.connection()


def _is_one(value: object, kinds: Mapping[str, Sequence[str]]) -> bool:
    """Whether it is of a class of SQLAlchemy's; one of a module that nobody has imported it cannot be."""
    return any(
        isinstance(value, getattr(sys.modules[module], name))
        for module, names in kinds.items()
        if module in sys.modules
        for name in names
    )


def _check_identity(connection: Any, database: Database, place: str) -> None:
    """Raise ``ConfigError`` unless both are in the same database; they are asked once for each engine."""
    known = _same.setdefault(connection.engine, set())
    if database.identity in known:
        return
    statement = _WHO[database.dialect]
    theirs = _read_out(connection.exec_driver_sql(statement).fetchall())
    if theirs != _read_out(database.read(statement)):
        raise ConfigError(_elsewhere(redacted(connection.engine.url.render_as_string(hide_password=True)), place))
    known.add(database.identity)


_same: "WeakKeyDictionary[Any, set[str]]" = WeakKeyDictionary()


def _read_out(rows: Sequence[Any]) -> list[tuple[Any, ...]]:
    found = [tuple(row) for row in rows]
    if found and len(found[0]) == 3:  # SQLite: number, name, file of each database; ours is the one called main
        return [(os.path.realpath(file),) for _, name, file in found if name == "main" and file]
    return found


def _elsewhere(theirs: str, place: str) -> str:
    return (
        f"the session is in another database ({theirs}) than the broker ({place}), so that they cannot commit together;"
        " use a session of the broker's database, or send after the commit"
    )


def _commits_at_once(connection: Any) -> bool:
    raw = connection.connection.dbapi_connection
    if connection.dialect.name == "sqlite" and getattr(raw, "in_transaction", False):
        return False  # begun by an event listener, as SQLAlchemy's own documents suggest
    try:
        return bool(connection.dialect.detect_autocommit_setting(raw))
    except NotImplementedError:
        return False


@lru_cache(maxsize=64)
def _unnamed(statement: str) -> tuple[str, Sequence[str]]:
    """With marks in the place of names, and the names in their order: not every driver takes names."""
    names = [found[1] or found[3] for found in _NAMED.finditer(statement)]
    return _NAMED.sub(lambda found: f"%{found[2]}" if found[1] else "?", statement), names


@lru_cache(maxsize=64)
def _placed(statement: str, schema: str) -> str:
    """With the store's tables in their schema; the broker's statements name it themselves."""
    return _STORED.sub(f'"{schema}".taskbus_', statement)


_STORED = re.compile(r'(?<![\w."])taskbus_(?=results|attempts|dead_letters|flow)')
_NAMED = re.compile(r"(?<!%)%\((\w+)\)([sbt])|(?<![:\w]):([a-z_]+)\b")


# --- marks: ``%s``, and ``%b`` which only psycopg knows; on SQLite ``?``, as every driver has it there ---------------


@lru_cache(maxsize=64)
def _marked_plainly(statement: str) -> str:
    return _MARK.sub("%s", statement)


@lru_cache(maxsize=64)
def _counted(statement: str) -> str:
    """``$1``, ``$2``, ...: asyncpg's own."""
    numbers = count(1)
    return _MARK.sub(lambda _: f"${next(numbers)}", statement).replace("%%", "%")


_MARK = re.compile(r"(?<!%)%[sbt]")
