"""How the SQL transport talks to its database: one cursor a thread, transactions, and errors told in our own words."""

import sqlite3
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from taskbus.broker.transports import sql_schema
from taskbus.database.connection import FileGone, begin, explain
from taskbus.database.sqlite import SqliteDatabase
from taskbus.database.statements import load
from taskbus.errors import BrokerError, BrokerGone, PublishFailed, PublishUnknown, TaskBusError

SQL = load("sqlite.sql", __package__)


class Session:
    """The database, its tables made if they were missing.

    Raises:
        ConfigError: the URL is not one of a database.
        BrokerError: the database cannot be used; the message says what to do.
    """

    def __init__(self, url: str, timeout: float) -> None:
        self.database = SqliteDatabase.open(url, timeout)
        try:
            self.database.require(sql_schema.TABLES, lambda: sql_schema.metadata("sqlite"))
        except sqlite3.Error as error:
            raise self.failure(error) from error

    def cursor(self) -> sqlite3.Cursor:
        """This thread's cursor, outside of a transaction."""
        return self.database.cursor()

    def writing(self, kind: type[TaskBusError] = BrokerError) -> "Transaction":
        """A block in one transaction: committed at its end, undone when it raises. ``kind``: what failures become."""
        return Transaction(self, kind)

    def read(self, statement: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """All rows of one of the named statements."""
        try:
            return self.cursor().execute(SQL[statement], parameters).fetchall()
        except sqlite3.Error as error:
            raise self.failure(error) from error

    def failure(self, error: sqlite3.Error, kind: type[TaskBusError] = BrokerError) -> TaskBusError:
        if isinstance(error, FileGone) and kind is BrokerError:
            kind = BrokerGone
        return kind(explain(error, self.database.path))


class Transaction:
    """Holds the write lock from the start of its block, so that nothing fails half way for want of it."""

    __slots__ = ("_cursor", "_kind", "_session")

    def __init__(self, session: Session, kind: type[TaskBusError]) -> None:
        self._session = session
        self._kind = kind

    def __enter__(self) -> sqlite3.Cursor:
        try:
            self._cursor = self._session.cursor()
            begin(self._cursor, self._session.database.timeout)
        except sqlite3.Error as error:
            raise self._session.failure(error, self._kind) from error
        return self._cursor

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self._commit()
            return
        self._roll_back()
        if isinstance(error, sqlite3.Error):
            raise self._session.failure(error, self._kind) from error

    def _commit(self) -> None:
        try:
            self._cursor.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            is_unknown = self._kind is PublishFailed and error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_IOERR
            raise self._session.failure(error, PublishUnknown if is_unknown else self._kind) from error

    def _roll_back(self) -> None:
        if self._cursor.connection.in_transaction:
            self._cursor.execute("ROLLBACK")
