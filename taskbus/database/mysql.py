"""MySQL and MariaDB as a ``port.Database`` (PyMySQL): connections with deadlines, errors, and tables.

There is nothing like LISTEN: a watch is a timer, quick after something was found and ever slower without.
"""

import ctypes
import os
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

import pymysql
from pymysql.constants import CLIENT, CR, ER

from taskbus.database import mysql_tls
from taskbus.database.connections import Link
from taskbus.database.cursor import ChainedCursor
from taskbus.database.dial import reach
from taskbus.database.port import Dialect
from taskbus.database.server import ServerDatabase
from taskbus.database.server_url import Place, check_options, parse
from taskbus.database.tls import remedy

if TYPE_CHECKING:
    from sqlalchemy import MetaData

PORT = 3306
OPTIONS = ("unix_socket", "charset", *mysql_tls.FILES, *mysql_tls.SWITCHES)
NOBODY_LOCKS_LONGER = 10
"""Seconds after which MariaDB ends a session that stopped inside a transaction, whose locks would block others."""
NAPS = (0.02, 0.08, 0.32, 1.0)
"""Seconds a watch sleeps before it looks again, from one time nothing is found to the next."""
SUBSCRIBED_EVERY = 0.1


def open_url(url: str, timeout: float) -> ServerDatabase:
    """The database at ``mysql://user:password@host:port/database?ssl_ca=/path``.

    With ``ssl_ca``, or ``ssl_verify_identity=true`` and what the system trusts, the server's certificate and name are
    verified. Raises ``ConfigError`` where it cannot be used.
    """
    place = parse(url, "mysql", PORT)
    options = dict(place.options)
    check_options(url, {**options, "schema": ""} if place.schema else options, OPTIONS)
    mysql_tls.check(options)
    path = options.pop("unix_socket", "")
    hosts = ((path, PORT),) if path else place.hosts
    place = Place(place.dialect, hosts, place.database, "", place.user, place.password, tuple(sorted(options.items())))
    return ServerDatabase(place, timeout, MysqlDriver())


class Connection(pymysql.connections.Connection):  # type: ignore[misc]
    """A connection whose every statement ends at ``deadline`` (monotonic), if need be with the connection."""

    deadline = float("inf")

    def set_character_set(self, charset: str, collation: str | None = None) -> None:
        """Nothing, which saves a round trip: ``_prepared`` sets it with all the rest."""

    def _create_ssl_ctx(self, sslp: Any) -> ssl.SSLContext:
        """``sslp`` is {} where nobody asked for TLS, and it is used if the server has it."""
        return super()._create_ssl_ctx(sslp) if sslp else mysql_tls.unverified()

    def query(self, sql: Any, unbuffered: bool = False) -> Any:
        self.hasten()
        return super().query(sql, unbuffered)

    def hasten(self) -> None:
        """Let each wait from now on be no longer than the time that is left."""
        left = max(0.001, self.deadline - time.monotonic())
        self._read_timeout = self._write_timeout = None if left == float("inf") else left

    def _request_authentication(self) -> None:
        """The second half of the handshake."""
        self.hasten()
        super()._request_authentication()


class MysqlLink:
    """See ``server.Link``."""

    def __init__(self, connection: Connection, server: str) -> None:
        self.connection = connection
        self.server = server
        self.cursor: Any = ChainedCursor(connection.cursor())
        self._socket: int = connection._sock.fileno()
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)

    @property
    def is_mariadb(self) -> bool:
        return "mariadb" in self.server.lower()

    @property
    def deadline(self) -> float:
        return float(self.connection.deadline)

    @deadline.setter
    def deadline(self, deadline: float) -> None:
        self.connection.deadline = deadline

    @property
    def is_closed(self) -> bool:
        return not self.connection.open

    def is_dead(self) -> bool:
        """An idle connection has nothing to read but the server's goodbye."""
        return not self.connection.open or bool(self._poll.poll(0))

    def begin(self) -> None:
        self.connection.query("START TRANSACTION")

    def commit(self) -> None:
        self.connection.query("COMMIT")

    def roll_back(self) -> None:
        """Undo what is open; a connection that cannot even do that is closed."""
        if self.connection.open:
            try:
                self.connection.query("ROLLBACK")
            except pymysql.MySQLError:
                self.close()

    def fileno(self) -> int:
        return self._socket

    def close(self) -> None:
        if self.connection.open:
            self.connection._write_timeout = 1.0
            self.connection.close()


class MysqlDriver:
    """See ``server.Driver``."""

    dialect: Dialect = "mysql"
    errors: type[Exception] = pymysql.MySQLError

    def connect(self, place: Place, timeout: float, deadline: float) -> Link:
        error: Exception | None = None
        for number, (host, port) in enumerate(place.hosts):
            now = time.monotonic()
            if now >= deadline:
                break
            share = now + (deadline - now) / (len(place.hosts) - number)  # a silent host leaves time for the others
            try:
                return _prepared(_connected(place, host, port, share), timeout, deadline)
            except pymysql.MySQLError as failure:
                error = failure
        raise error or pymysql.OperationalError(CR.CR_CONN_HOST_ERROR, "no connection in time")

    def explain(self, error: Exception, place: Place, timeout: float) -> str:
        code, said = _code(error), " ".join(str(error.args[-1] if error.args else error).split())
        template = _WORDS.get(code, "{where} failed: {said} ({code})")
        return template.format(where=place.words, said=said, code=code, user=place.user, timeout=timeout,
                               remedy=remedy(getattr(error, "original_exception", None) or error.__cause__ or error),
        )  # fmt: skip

    def is_lost(self, error: Exception) -> bool:
        if isinstance(error, pymysql.err.InterfaceError):
            return True
        return isinstance(error, pymysql.MySQLError) and _code(error) in _GOODBYES

    def is_transient(self, error: Exception) -> bool:
        return isinstance(error, pymysql.MySQLError) and _code(error) in (ER.LOCK_DEADLOCK, ER.LOCK_WAIT_TIMEOUT)

    def found(self, link: Link, tables: Collection[str]) -> set[str]:
        marks = ",".join(["%s"] * len(tables))
        asked = "SELECT table_name FROM information_schema.tables WHERE table_schema = database() AND table_name IN "
        return {name for (name,) in link.cursor.execute(f"{asked}({marks})", tuple(tables)).fetchall()}

    def create(self, link: Link, metadata: "MetaData", place: Place) -> None:
        """Make tables and indexes that are missing; several processes may do so at once.

        Texts are compared byte by byte, trailing spaces included: that is how names of queues differ.
        """
        from sqlalchemy.dialects import mysql  # noqa: PLC0415 (loaded only where tables are made)
        from sqlalchemy.schema import CreateIndex, CreateTable  # noqa: PLC0415

        dialect, execute = mysql.dialect(), link.cursor.execute
        collation = "utf8mb4_nopad_bin" if getattr(link, "is_mariadb", False) else "utf8mb4_0900_bin"
        name = f"taskbus.{place.database}"[:64]
        if execute("SELECT GET_LOCK(%s, %s)", (name, 10)).fetchone()[0] != 1:
            raise pymysql.OperationalError(ER.LOCK_WAIT_TIMEOUT, "another session has been making tables for long")
        try:
            for table in metadata.sorted_tables:
                if not self.found(link, [table.name]):
                    create = str(CreateTable(table).compile(dialect=dialect))
                    execute(f"{create} ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE={collation}")
                there = _indexes(link, table.name)  # each is made by itself: whoever made the table may have died
                for index in sorted(table.indexes, key=lambda index: str(index.name)):
                    if str(index.name) not in there:
                        execute(str(CreateIndex(index).compile(dialect=dialect)))
            for statement in metadata.info.get(self.dialect, ()):
                execute(statement)
        finally:
            if link.cursor.connection.open:
                execute("DO RELEASE_LOCK(%s)", (name,))

    def now(self, link: Link) -> float:
        return float(link.cursor.execute("SELECT UNIX_TIMESTAMP(SYSDATE(6))").fetchone()[0])

    def notify(self, cursor: Any, place: Place, topics: Collection[str]) -> None:
        """Nothing: who watches looks by itself."""

    def watch(self, database: ServerDatabase) -> "NapWatch":
        return NapWatch()

    def subscribe(self, database: ServerDatabase, topic: str, notify: Callable[[], None]) -> Callable[[], None]:
        stopped = threading.Event()

        def run() -> None:
            while not stopped.wait(SUBSCRIBED_EVERY):
                notify()

        threading.Thread(target=run, name="taskbus-look", daemon=True).start()
        return stopped.set


class NapWatch:
    """A timer behind a descriptor. See ``port.Watch``."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._timer: int = self._libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._timer < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        self._nap = 0
        self._set(NAPS[0])

    def fileno(self) -> int:
        return self._timer

    def drain(self) -> None:
        """Sleep, longer than the last time, once the timer has run out."""
        try:
            os.read(self._timer, 8)
        except BlockingIOError:
            return
        self._nap = min(self._nap + 1, len(NAPS) - 1)
        self._set(NAPS[self._nap])

    def listen(self, topics: Collection[str]) -> None:
        """Nothing to do."""

    def hurry(self) -> None:
        """Look again soon."""
        if self._nap:
            self._nap = 0
            self._set(NAPS[0])

    def close(self) -> None:
        if self._timer >= 0:
            os.close(self._timer)
            self._timer = -1

    def _set(self, seconds: float) -> None:
        first = (ctypes.c_long * 4)(0, 0, int(seconds), int(seconds % 1 * 1e9))
        self._libc.timerfd_settime(self._timer, 0, first, None)


def _connected(place: Place, host: str, port: int, deadline: float) -> Connection:
    is_local = host.startswith("/")
    where = {"unix_socket": host} if is_local else {"host": host, "port": port}
    connection = Connection(
        user=place.user or None, password=place.password, database=place.database, autocommit=True,
        charset="utf8mb4", client_flag=CLIENT.FOUND_ROWS, connect_timeout=max(0.001, deadline - time.monotonic()),
        binary_prefix=True, defer_connect=True, ssl=mysql_tls.context(dict(place.options)), **where,
    )  # fmt: skip
    connection.deadline = deadline
    reached = None if is_local else _reached(host, port, deadline)
    connection.hasten()
    connection.connect(reached)
    return connection


def _reached(host: str, port: int, deadline: float) -> socket.socket:
    try:
        return reach(host, port, deadline)
    except OSError as error:
        said = f"Can't connect to MySQL server on {host!r} ({error})"
        raise pymysql.OperationalError(CR.CR_CONN_HOST_ERROR, said) from error


def _indexes(link: Link, table: str) -> set[str]:
    asked = "SELECT index_name FROM information_schema.statistics WHERE table_schema = database() AND table_name = %s"
    return {row[0] for row in link.cursor.execute(asked, (table,)).fetchall()}


def _prepared(connection: Connection, timeout: float, deadline: float) -> MysqlLink:
    """Set up a new session, in one round trip."""
    connection.deadline = deadline
    try:
        link = MysqlLink(connection, connection.get_server_info())
        waits = max(1, int(timeout))
        special = f", idle_transaction_timeout={NOBODY_LOCKS_LONGER}, max_statement_time={timeout:g}"
        isolation = (
            "tx_isolation" if link.is_mariadb else "transaction_isolation"
        )  # one had no other, one has no longer
        link.cursor.execute(
            f"SET NAMES utf8mb4, SESSION {isolation}='READ-COMMITTED', time_zone='+00:00',"
            f" sql_mode='STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', innodb_lock_wait_timeout={waits}"
            f"{special if link.is_mariadb else ''}"
        )
    except BaseException:
        connection.close()
        raise
    return link


def _code(error: Exception) -> int:
    return error.args[0] if error.args and isinstance(error.args[0], int) else 0


_KILLED, _SHUTDOWN, _IDLE, _SAID_GOODBYE = 1927, 1053, 4031, 3169
_GOODBYES = (0, 2003, CR.CR_SSL_CONNECTION_ERROR, 2006, 2013, 2055, _KILLED, _SHUTDOWN, _IDLE, _SAID_GOODBYE)
_BROKE = "the connection to {where} broke: {said}; try again"
_WORDS = {
    1040: "{where} has no connection left: {said}; raise max_connections, or run fewer processes",
    1044: "{where} refused user {user!r}: {said}; grant it this database",
    1045: "{where} refused user {user!r}: {said}; check user and password in the URL",
    1049: "{where} does not exist: {said}; create it, or correct the URL",
    1142: "{where} does not allow it: {said}; user {user!r} needs CREATE, INDEX, SELECT, INSERT, UPDATE and DELETE",
    1146: "{where} has lost a table: {said}; start the process again, which makes it anew",
    1153: "{where} refused a packet of that size: {said}; raise max_allowed_packet",
    1205: "{where} was locked for {timeout:g} s: {said}; somebody holds a lock, or the server is overloaded",
    1213: "{where} took the transaction back again and again: {said}; what else locks TaskBus's tables?",
    1290: "{where} only reads: {said}; name the primary in the URL",
    1317: "{where} stopped the statement: {said}; try again",
    1406: "{where} refused a text: {said}; names of queues and exchanges have 255 characters at most",
    1969: "{where} stopped the statement after {timeout:g} s: {said}; somebody holds a lock, or it is overloaded",
    **dict.fromkeys((2003, CR.CR_SSL_CONNECTION_ERROR), "{where} cannot be reached: {said}; {remedy}"),
    **dict.fromkeys((2006, 2013, _KILLED, _SHUTDOWN, _IDLE), _BROKE),
}
