"""How the SQL transport talks to a server: steps repeated where that is safe, its time, errors in our words."""

import contextlib
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache, partial
from typing import Any, TypeVar, cast

from taskbus.broker.transports import sql_schema
from taskbus.broker.transports.broker_clock import BrokerClock
from taskbus.broker.transports.port import Opening
from taskbus.database.opening import open_database
from taskbus.database.port import Dialect, OutcomeUnknown
from taskbus.database.server import ServerDatabase
from taskbus.database.statements import load
from taskbus.errors import BrokerError, PublishFailed, PublishUnknown, TaskBusError

T = TypeVar("T")
FOR_RINGING = 0.1
"""The share of the timeout that waking others may take, after what they are woken for is done."""
FOR_THE_TIME = 0.25
"""The share of the timeout that asking for the time may take; see ``port.Storage.now``."""
NOW = {
    # By the start of the statement: constant within it, so that indexes serve; early, where it waits for a lock.
    "postgresql": ("extract(epoch FROM statement_timestamp())::float8", "current_setting('taskbus.now')::float8"),
    "mysql": ("(timestampdiff(MICROSECOND, '1970-01-01', utc_timestamp(6)) / 1e6)", "@taskbus_now"),
}
"""What stands for ``{now}``: the server's clock, and a clock that was passed in."""
RING = "pg_notify('taskbus_' || left(encode(sha256(convert_to('{schema}.' || {queue}, 'UTF8')), 'hex'), 40), '')"
"""As ``database.postgresql.channel``, whatever the search_path of the connection."""
_TABLE = re.compile(r"\btaskbus_(?:message|worker|counter|queue|exchange|binding|sent|fence)\b")
_RUNG = re.compile(r"\{ring:(\w+)\}")


class Doubt(BrokerError):
    """The connection was lost in the middle of a step: it was done, or not."""


class ServerSession:
    """The database, its clock, and the statements of its dialect. Nothing is connected to before it is needed.

    Raises:
        ConfigError: the URL cannot be used.
        BrokerError: from each step, when the server cannot be used; ``Doubt`` when it may have been done.
    """

    def __init__(self, opening: Opening) -> None:
        self.database = cast(ServerDatabase, open_database(opening.url, opening.timeout))
        dialect = self.database.dialect
        self.database.require(sql_schema.SERVER_TABLES, partial(sql_schema.metadata, dialect))
        self.clock = BrokerClock(opening.clock, partial(self._ask, opening.timeout * FOR_THE_TIME))
        self.sql = statements(dialect, self.database.location.schema, is_passed=self.clock.is_passed)

    def write(self, work: Callable[[Any], T], kind: type[TaskBusError] = BrokerError) -> T:
        """``work(cursor)`` in one transaction; ``kind``: what failures become."""
        try:
            return self.database.write(partial(self._at, work))
        except (OutcomeUnknown, self.database.errors) as error:
            raise self._failure(error, kind) from error

    def single(self, work: Callable[[Any], T], kind: type[TaskBusError] = BrokerError) -> T:
        """``work(cursor)``, which runs one statement, committed by itself; ``kind``: what failures become."""
        try:
            return self.database.single(partial(self._at, work))
        except (OutcomeUnknown, self.database.errors) as error:
            raise self._failure(error, kind) from error

    def read(self, statement: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """All rows of one of the named statements, which changes nothing."""
        if self.clock.is_passed:
            return self.single(lambda cursor: list(cursor.execute(self.sql[statement], parameters).fetchall()))
        try:
            return self.database.read(self.sql[statement], parameters)
        except self.database.errors as error:
            raise self._failure(error, BrokerError) from error

    def set_now(self, cursor: Any) -> None:
        """Hand a clock that was passed in on to the statements of this connection."""
        if self.clock.is_passed:
            cursor.execute(self.sql["set_now"], (self.clock.now(),))

    def ring(self, queues: Collection[str]) -> None:
        """Wake who works on these queues. What was published is safe; a lost ring costs the sleeper's patience."""
        if not queues:
            return
        timeout = self.database.timeout * FOR_RINGING
        with contextlib.suppress(OutcomeUnknown, self.database.errors):
            self.database.single(lambda cursor: self.database.notify(cursor, queues), timeout)

    def failing(self, work: Callable[[], T]) -> T:
        """``work()``, the driver's errors in our words."""
        try:
            return work()
        except self.database.errors as error:
            raise self._failure(error, BrokerError) from error

    def _at(self, work: Callable[[Any], T], cursor: Any) -> T:
        if self.clock.is_passed:
            self.set_now(cursor)
        return work(cursor)

    def _ask(self, timeout: float) -> float:
        return self.failing(lambda: self.database.server_now(timeout))

    def _failure(self, error: Exception, kind: type[TaskBusError]) -> TaskBusError:
        if isinstance(error, OutcomeUnknown):
            kind = PublishUnknown if kind is PublishFailed else Doubt
        return kind(self.database.explain(error))


@cache
def statements(dialect: Dialect, schema: str, *, is_passed: bool) -> Mapping[str, str]:
    """The statements of a dialect, with their tables' schema and the clock that they go by."""
    now = NOW[dialect][is_passed]

    def render(text: str) -> str:
        text = text.replace("{now}", now)
        if schema:
            text = _TABLE.sub(rf'"{schema}".\g<0>', text)
            text = _RUNG.sub(lambda found: RING.format(schema=schema, queue=found[1]), text)
        return text

    return {name: render(text) for name, text in load(f"{dialect}.sql", __package__).items()}
