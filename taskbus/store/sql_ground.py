"""What the stores of schedules and of reports ask of a SQL database alike, whatever its dialect.

Their statements are one text for all; the few words that differ are filled in. ``{in:names}`` stands before ``:names``,
a list; ``{lock}`` keeps what was read from others until the transaction ends; ``:now`` is the present instant, the one
handed over, or else the server's own.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import Any, TypeVar

from taskbus.clock import Clock, wall_clock
from taskbus.database.port import Database, OutcomeUnknown
from taskbus.database.statements import load
from taskbus.errors import StoreError
from taskbus.store.sql_dialects import dialect_of

T = TypeVar("T")
TRIES = 3
"""A lost commit is found out by doing it again, which does nothing the second time."""
_IN = {
    "sqlite": "IN (SELECT value FROM json_each(:names))",
    "postgresql": "= ANY(:names::text[])",
    "mysql": "IN :names",
}
_NOW = {
    "sqlite": ":now",
    "postgresql": "coalesce(:now::float8, extract(epoch FROM clock_timestamp())::float8)",
    "mysql": "coalesce(:now, timestampdiff(MICROSECOND, '1970-01-01', utc_timestamp(6)) / 1e6)",
}
_ARRAY = re.compile(r"(?<!:):([a-z_]+)(?=::bytea\[\])")
_NAME = re.compile(r"(?<!:):([a-z_]+)")


@cache
def statements(dialect: str, *files: str) -> Mapping[str, str]:
    """The statements of these files in the words of a dialect, with its driver's marks; later files overrule."""
    words = {"{in:names}": _IN[dialect], "{lock}": "" if dialect == "sqlite" else "FOR UPDATE", ":now": _NOW[dialect]}
    found = {}
    for name, text in (each for file in files for each in load(file, __package__).items()):
        for word, meant in words.items():
            text = text.replace(word, meant)
        # Bytes in binary: as text they are twice as long, and cost accordingly.
        found[name] = text if dialect == "sqlite" else _NAME.sub(r"%(\1)s", _ARRAY.sub(r"%(\1)b", text))
    return found


class Ground:
    """A database, the ``statements`` that are run in it, and ``tables``: made if they are missing, as ``SqlStore``'s.

    ``schema``: the module whose ``metadata(dialect)`` says what the tables are. All methods raise ``StoreError``.
    """

    def __init__(
        self, database: Database, tables: tuple[str, ...], schema: str, sql: Mapping[str, str], clock: Clock
    ) -> None:
        self.database = database = database.apart()
        self.dialect = dialect_of(database.dialect)
        self.sql = sql
        self._clock = clock
        self.asks_server = clock is wall_clock and self.dialect.has_clock
        with self.errors():
            database.require(tables, lambda: import_module(schema).metadata(database.dialect))

    def now(self) -> float | None:
        """The present as statements are told of it; None: the server knows."""
        return None if self.asks_server else self._clock()

    def read(self, statement: str, given: Any) -> list[Any]:
        """All rows of a statement."""
        with self.errors():
            return self.database.read(self.sql[statement], given)

    def write(self, work: Callable[[Any], T]) -> T:
        """``Database.write``, again if it is unknown whether it was done: ``work`` must bear that."""
        return self.insist(lambda: self.database.write(work))

    def insist(self, act: Callable[[], T]) -> T:
        """``act()``, again if it is unknown whether it was done."""
        with self.errors():
            for _ in range(TRIES - 1):
                try:
                    return act()
                except OutcomeUnknown:
                    continue
            return act()

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turns what the database raises into ``StoreError``."""
        try:
            yield
        except self.database.errors as error:
            raise StoreError(self.database.explain(error)) from error
        except OutcomeUnknown as error:
            raise StoreError(f"the connection was lost while committing, so it may have been done: {error}") from error
