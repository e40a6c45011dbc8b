"""PostgreSQL as a ``port.Database``: errors, tables, and waking by LISTEN and NOTIFY."""

import hashlib
import re
from collections.abc import Callable, Collection
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

import psycopg
from psycopg import pq

from taskbus.database import tls
from taskbus.database.connections import Link
from taskbus.database.port import Dialect
from taskbus.database.postgresql_link import DeadlinePassed, PostgresLink, connect
from taskbus.database.postgresql_watch import NotifyWatch, subscribe
from taskbus.database.server import ServerDatabase
from taskbus.database.server_url import Place, check_options, parse
from taskbus.errors import ConfigError

if TYPE_CHECKING:
    from sqlalchemy import MetaData

PORT = 5432
_NAME = re.compile(r"[^\W\d]\w{0,62}")
MAKING = 7_426_117_340_255
"""Of the advisory lock, one a schema, under which tables are made: IF NOT EXISTS alone protects from no other session.

Whoever is stopped while it holds the lock holds up those alone who make the same tables."""


def open_url(url: str, timeout: float) -> ServerDatabase:
    """The database at ``postgresql://user:password@host:port/database?schema=name&sslmode=verify-full``.

    Options are those of libpq. Tables live in ``schema``, ``public`` unless told otherwise, whatever the user's
    search_path. Raises ``ConfigError`` for a URL that cannot be used.
    """
    place = parse(url, "postgresql", PORT)
    known = {each.keyword.decode() for each in pq.Conninfo.get_defaults()}
    check_options(url, dict(place.options), known | {"schema", "host", "user", "password"})
    schema = place.schema or "public"
    if not _NAME.fullmatch(schema):
        raise ConfigError(f"schema={schema!r} is no name; it is made of up to 63 letters, digits and underscores")
    place = Place(place.dialect, place.hosts, place.database, schema, place.user, place.password, place.options)
    return ServerDatabase(place, timeout, PostgresDriver())


@lru_cache(maxsize=1024)
def channel(schema: str, topic: str) -> str:
    """The channel for a topic, whatever its characters: statements compute the same."""
    return f"taskbus_{hashlib.sha256(f'{schema}.{topic}'.encode()).hexdigest()[:40]}"


class PostgresDriver:
    """See ``server.Driver``."""

    dialect: Dialect = "postgresql"
    errors: type[Exception] = psycopg.Error

    def connect(self, place: Place, timeout: float, deadline: float) -> Link:
        return connect(place, timeout, deadline)

    def explain(self, error: Exception, place: Place, timeout: float) -> str:
        state = getattr(error, "sqlstate", None) or ""
        said = " ".join(str(error).split())
        if isinstance(error, DeadlinePassed):
            template = "{where} gave no answer in {timeout:g} s ({said}); is it up, and is the network?"
        elif not state:
            template = _without_code(said)
        else:
            template = _WORDS.get(state) or _WORDS.get(state[:2]) or "{where} failed: {said} ({state})"
        return template.format(where=place.words, said=said, state=state, user=place.user, schema=place.schema,
                               timeout=timeout)  # fmt: skip

    def is_lost(self, error: Exception) -> bool:
        """Where there is no code of the server's, it is libpq that speaks, and of nothing but connections."""
        if not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
            return False
        state = getattr(error, "sqlstate", None)
        return state is None or state[:2] == "08" or state in _GOODBYES

    def is_transient(self, error: Exception) -> bool:
        return getattr(error, "sqlstate", None) in ("40001", "40P01")

    def found(self, link: Link, tables: Collection[str]) -> set[str]:
        found = link.cursor.execute(
            "SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema() AND tablename = ANY(%s)",
            (list(tables),),
        )
        return {name for (name,) in found.fetchall()}

    def create(self, link: Link, metadata: "MetaData", place: Place) -> None:
        """Make schema, tables and indexes that are missing; several processes may do so at once."""
        from sqlalchemy.dialects import postgresql  # noqa: PLC0415 (loaded only where tables are made)
        from sqlalchemy.schema import CreateIndex, CreateTable  # noqa: PLC0415

        dialect: Any = postgresql.dialect()  # type: ignore[no-untyped-call]
        execute = link.cursor.execute
        link.begin()
        try:
            execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, %s))", (place.schema, MAKING))
            if execute("SELECT to_regnamespace(quote_ident(%s))", (place.schema,)).fetchone()[0] is None:
                execute(psycopg.sql.SQL("CREATE SCHEMA {}").format(psycopg.sql.Identifier(place.schema)))
            for table in metadata.sorted_tables:
                if not self.found(link, [table.name]):  # an index of a table in use would wait for those who use it
                    execute(str(CreateTable(table).compile(dialect=dialect)))
                    for index in sorted(table.indexes, key=lambda index: str(index.name)):
                        execute(str(CreateIndex(index).compile(dialect=dialect)))
            for statement in metadata.info.get(self.dialect, ()):
                execute(statement)
            link.commit()
        except BaseException:
            link.roll_back()
            raise

    def now(self, link: Link) -> float:
        return float(link.cursor.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()[0])

    def notify(self, cursor: Any, place: Place, topics: Collection[str]) -> None:
        if not topics:
            return
        channels = [channel(place.schema, topic) for topic in topics]
        cursor.execute("SELECT pg_notify(channel, '') FROM unnest(%s::text[]) AS channel", (channels,))

    def watch(self, database: ServerDatabase) -> NotifyWatch:
        schema = database.location.schema
        return NotifyWatch(
            database.held, lambda: cast(PostgresLink, database.link()), lambda topic: channel(schema, topic)
        )

    def subscribe(self, database: ServerDatabase, topic: str, notify: Callable[[], None]) -> Callable[[], None]:
        return subscribe(database, channel(database.location.schema, topic), notify)


_GOODBYES = ("57P01", "57P02", "57P03", "57P05", "25P03")


def _without_code(said: str) -> str:
    """The template for what libpq says, for want of a code."""
    return next((template for sign, template in _SIGNS.items() if sign in said), _UNREACHED.format(tls.NOT_THERE))


_UNREACHED = "{{where}} cannot be reached: {{said}}; {}"
_NOT_VALID, _NO_FILE, _WANTS_OURS, _NO_TLS = map(
    _UNREACHED.format, (tls.NOT_VALID, tls.NO_FILE, tls.WANTS_OURS, tls.NO_TLS)
)
_WRONG_LOGIN = "{where} refused user {user!r}: {said}; check user and password in the URL"
_TOO_MANY = "{where} has no connection left: {said}; raise max_connections, or run fewer processes"
_SIGNS = {
    "certificate verify failed": _NOT_VALID,
    "does not match host name": _NOT_VALID,
    "private key file": _NO_FILE,
    "certificate file": _NO_FILE,
    "requires a valid client certificate": _WANTS_OURS,
    "certificate required": _WANTS_OURS,
    "server does not support SSL": _NO_TLS,
    "authentication failed": _WRONG_LOGIN,
    "no password supplied": _WRONG_LOGIN,
    "does not exist": "{where} cannot be used: {said}; create it, or correct the URL",
    "too many clients": _TOO_MANY,
    "remaining connection slots": _TOO_MANY,
}
"""What libpq's words are a sign of: the first that is found."""
_WORDS = {
    "28": "{where} refused user {user!r}: {said}; check user, password and pg_hba.conf",
    "3D000": "{where} does not exist; create it, or correct the URL",
    "3F000": "schema {schema!r} is not in {where}; create it, or correct ?schema= in the URL",
    "42501": "{where} does not allow it: {said}; user {user!r} needs CREATE on schema {schema!r} once, and"
    " SELECT, INSERT, UPDATE, DELETE on TaskBus's tables and USAGE on its sequences",
    "42P01": "{where} has lost a table: {said}; start the process again, which makes it anew",
    "53": "{where} lacks resources: {said}; free disk or memory, or allow more connections",
    "57014": "{where} was stopped after {timeout:g} s: {said}; somebody holds a lock, or the server is overloaded",
    "57P03": "{where} is not ready: {said}; try again in a moment",
    "57": "{where} ended the connection: {said}; try again",
    "08": "the connection to {where} broke: {said}; try again",
    "25006": "{where} only reads: {said}; name the primary in the URL (?target_session_attrs=read-write)",
    "40": "{where} took the transaction back again and again: {said}; what else locks TaskBus's tables?",
    "22021": "{where} cannot keep this text: {said}; a NUL character has no place in PostgreSQL",
}
