"""How rows, ids and patterns are handed to SQLite, PostgreSQL, and MySQL or MariaDB: many rows in one round trip."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache
from operator import itemgetter
from typing import Any

from taskbus.store.sql_pattern import regex
from taskbus.store.statements import COLUMNS, KEYS, Dialect, Step, texts_of

MOST_BYTES = 4 << 20
"""Of text and values in one statement to MySQL, if it has more than one row: a server takes 16 MiB unless told else."""
MOST_BYTES_OF_ARRAYS = 64 << 20
"""The same for PostgreSQL, whose limit is 1 GiB."""
_ARRAY = re.compile(r"(?<!:):([a-z_]+)(?=::\w+\[\])")
_NAME = re.compile(r"(?<!:):([a-z_]+)")

Rows = Sequence[Sequence[Any]]


class SqliteDialect:
    """SQLite: a statement a row costs nothing but running it; ids are a JSON list."""

    has_clock = False
    flows_at_once = 1

    def __init__(self) -> None:
        self.sql: Mapping[str, str] = texts_of("sqlite")
        self._asks_now = {name for name in COLUMNS if self.sql[name].count("?") > len(COLUMNS[name])}

    def steps(self, statement: str, rows: Rows, now: float | None) -> list[Step]:
        text = self.sql[statement]
        if statement in self._asks_now:
            rows = [(*row, now) for row in rows]
        return [lambda cursor: cursor.executemany(text, rows)]

    def ids(self, ids: Sequence[Any]) -> object:
        return json.dumps(list(ids))

    def keys(self, keys: Sequence[tuple[int, str]]) -> dict[str, object]:
        return {"keys": json.dumps(list(keys))}

    def pattern(self, pattern: str) -> str | None:
        return pattern

    def prepare(self, cursor: Any) -> None:
        """SQLite's own GLOB takes ``[^`` for ``[!``; so it asks fnmatch, as the stores in memory do."""
        cursor.connection.create_function("taskbus_matches", 2, fnmatchcase, deterministic=True)


class PostgresqlDialect:
    """PostgreSQL: rows travel as one array a column, in the order of their keys so that no two writers deadlock."""

    has_clock = True
    flows_at_once = 1000

    def __init__(self) -> None:
        now = "coalesce(%(now)s::float8, extract(epoch FROM statement_timestamp())::float8)"
        self.sql: Mapping[str, str] = {
            # Arrays in binary: psycopg writes them at a third of the cost.
            name: _NAME.sub(lambda match: now if match[1] == "now" else f"%({match[1]})s", _ARRAY.sub(r"%(\1)b", text))
            for name, text in texts_of("postgresql").items()
        }

    def steps(self, statement: str, rows: Rows, now: float | None) -> list[Step]:
        return [self._step(statement, part, now) for part in _parts(_in_order(statement, rows), MOST_BYTES_OF_ARRAYS)]

    def _step(self, statement: str, rows: Rows, now: float | None) -> Step:
        arrays: dict[str, Any] = dict(zip(COLUMNS[statement], map(list, zip(*rows, strict=True)), strict=True))
        return lambda cursor: cursor.execute(self.sql[statement], {**arrays, "now": now})

    def ids(self, ids: Sequence[Any]) -> object:
        return list(ids)

    def keys(self, keys: Sequence[tuple[int, str]]) -> dict[str, object]:
        return {"flows": [number for number, _ in keys], "nodes": [id for _, id in keys]}

    def pattern(self, pattern: str) -> str | None:
        expression = regex(pattern)
        return None if expression is None else f"^(?:{expression})$"

    def prepare(self, cursor: Any) -> None:
        """Nothing to do."""


class MysqlDialect:
    """MySQL and MariaDB: rows are written out behind VALUES, in the order of their keys."""

    has_clock = True
    flows_at_once = 1000

    def __init__(self) -> None:
        # Not unix_timestamp(now()): that is an hour off while clocks are set back, unless the session's zone is UTC.
        clock = "timestampdiff(MICROSECOND, '1970-01-01', utc_timestamp(6)) / 1e6"
        texts = texts_of("mysql")
        now = f"coalesce(%(now)s, {clock})"
        self.sql: Mapping[str, str] = {
            name: _NAME.sub(lambda match: now if match[1] == "now" else f"%({match[1]})s", text)
            for name, text in texts.items()
            if name not in COLUMNS
        }
        self._writing = {name: _Repeated(texts[name].replace(":now", f"coalesce(%s, {clock})")) for name in COLUMNS}

    def steps(self, statement: str, rows: Rows, now: float | None) -> list[Step]:
        return [self._step(statement, part, now) for part in _parts(_in_order(statement, rows), MOST_BYTES)]

    def _step(self, statement: str, rows: Rows, now: float | None) -> Step:
        filled = self._writing[statement].filled(rows, len(COLUMNS[statement]), now)
        return lambda cursor: cursor.execute(*filled)

    def ids(self, ids: Sequence[Any]) -> object:
        return list(ids)

    def keys(self, keys: Sequence[tuple[int, str]]) -> dict[str, object]:
        return {"keys": json.dumps(list(keys), ensure_ascii=False)}

    def pattern(self, pattern: str) -> str | None:
        expression = regex(pattern)
        return None if expression is None else rf"(?s)\A(?:{expression})\z"

    def prepare(self, cursor: Any) -> None:
        """Nothing to do."""


class _Repeated:
    """An INSERT whose line of marks is repeated for each row; further marks, at the end of it, are all for ``now``."""

    def __init__(self, text: str) -> None:
        self._head, line, self._tail = re.split(r"(?<=VALUES)\n(.*)\n", text, maxsplit=1)
        self._line = line
        self._marks = line.count("%s")
        self._marks_of_tail = self._tail.count("%s")

    def filled(self, rows: Rows, width: int, now: float | None) -> tuple[str, list[Any]]:
        more = (now,) * (self._marks - width)
        values = [value for row in rows for value in (*row, *more)]
        values += [now] * self._marks_of_tail
        return f"{self._head}\n{', '.join([self._line] * len(rows))}\n{self._tail}", values


def _in_order(statement: str, rows: Rows) -> Rows:
    return sorted(rows, key=itemgetter(*range(KEYS[statement]))) if len(rows) > 1 else rows


def _parts(rows: Rows, most: int) -> Iterator[Rows]:
    """The rows in parts of at most so many bytes, or of one row."""
    start, size = 0, 0
    for at, row in enumerate(rows):
        length = sum(len(value) for value in row if isinstance(value, str | bytes))
        if size and size + length > most:
            yield rows[start:at]
            start, size = at, 0
        size += length
    yield rows[start:]


@cache
def dialect_of(name: str) -> Dialect:
    """The dialect of that name (``Database.dialect``)."""
    dialects: dict[str, type[Dialect]] = {
        "sqlite": SqliteDialect, "postgresql": PostgresqlDialect, "mysql": MysqlDialect,
    }  # fmt: skip
    return dialects[name]()
