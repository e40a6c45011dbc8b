"""A DB-API cursor whose ``execute`` returns the cursor, whatever the driver's own returns."""

from typing import Any


class ChainedCursor:
    """Around a driver's cursor. See ``port.Cursor``."""

    __slots__ = ("_cursor",)

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    def execute(self, statement: Any, parameters: Any = (), /) -> "ChainedCursor":
        self._cursor.execute(statement, parameters or None)
        return self

    def executemany(self, statement: Any, parameters: Any, /) -> "ChainedCursor":
        self._cursor.executemany(statement, parameters)
        return self

    def fetchone(self) -> Any:
        return self._cursor.fetchone()

    def fetchall(self) -> list[Any]:
        return list(self._cursor.fetchall())

    @property
    def rowcount(self) -> int:
        return int(self._cursor.rowcount)

    @property
    def lastrowid(self) -> Any:
        return self._cursor.lastrowid

    @property
    def connection(self) -> Any:
        return self._cursor.connection
