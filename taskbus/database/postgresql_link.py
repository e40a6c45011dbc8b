"""One connection to PostgreSQL (psycopg 3), on which nothing waits past a deadline; and how it is opened."""

import contextlib
import select
import time
from collections.abc import Callable, Generator, Sequence
from typing import Any

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_attempts, make_conninfo

from taskbus.database.server_url import Place

NOBODY_LOCKS_LONGER = 10.0
"""Seconds after which the server ends a session that stopped inside a transaction, whose locks would block others."""
OF_TIMEOUT = 0.9
"""The share of the timeout after which the server itself stops a statement: then we know that nothing was done."""
PLANNING = dict.fromkeys(
    ("enable_seqscan", "enable_bitmapscan", "enable_hashjoin", "enable_mergejoin", "jit"), "off"
) | {"plan_cache_mode": "force_generic_plan"}
"""Every statement here reads a few rows off the end of an index, however many there are. What a planner knows of tables
that are empty at one moment and hold a million rows at the next tempts it to read them whole, dead rows included."""
_READING, _WRITING = 1, 2
_EVENTS = {
    _READING: select.POLLIN,
    _WRITING: select.POLLOUT,
    _READING | _WRITING: select.POLLIN | select.POLLOUT,
}


class DeadlinePassed(psycopg.OperationalError):
    """The server did not answer in time; the connection was given up."""


class Connection(psycopg.Connection[Any]):
    """A connection on which every wait ends at ``deadline`` (monotonic), with the connection closed."""

    deadline = float("inf")
    heard: Sequence[Callable[[str], None]] = ()
    """Called with the channel of each notification."""

    def wait(self, gen: Generator[Any, Any, Any], interval: float = 0.1, timeout: float | None = None) -> Any:
        """Run one of psycopg's generators to its end. Source: psycopg.org, Connection.wait."""
        poll: select.poll | None = None
        try:
            wanted = next(gen)
            poll, last = select.poll(), wanted
            fd = self.pgconn.socket
            poll.register(fd, _EVENTS[wanted])
            while True:
                if wanted != last:
                    poll.modify(fd, _EVENTS[wanted])
                    last = wanted
                found = poll.poll(max(0.0, self.deadline - time.monotonic()) * 1000)
                if not found:
                    raise DeadlinePassed("no answer in time")
                events = found[0][1]
                wanted = gen.send((events & ~select.POLLOUT and _READING) | (events & select.POLLOUT and _WRITING))
        except StopIteration as done:
            if self.heard:
                self.hear()
            return done.value
        except BaseException:
            self.pgconn.finish()
            raise

    def hear(self) -> None:
        """Hand on the notifications that were read with no statement under way."""
        while (notification := self.pgconn.notifies()) is not None:
            self.pass_on(notification.relname.decode())

    def pass_on(self, channel: str) -> None:
        """Tell those who listen of one notification."""
        for heard in self.heard:
            heard(channel)


class PostgresLink:
    """See ``server.Link``."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        connection.add_notify_handler(lambda notification: connection.pass_on(notification.channel))
        self.cursor: Any = connection.cursor(binary=True)
        self._channels: set[str] = set()
        self._followers: list[select.epoll] = []
        self._socket = int(connection.pgconn.socket)
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)

    @property
    def deadline(self) -> float:
        return self.connection.deadline

    @deadline.setter
    def deadline(self, deadline: float) -> None:
        self.connection.deadline = deadline

    @property
    def is_closed(self) -> bool:
        return self.connection.closed

    def is_dead(self) -> bool:
        """Reads what the server said while the link was idle: notifications, or its goodbye."""
        connection = self.connection
        if connection.closed:
            return True
        try:
            while self._poll.poll(0):  # its last words come before the end
                connection.pgconn.consume_input()
                connection.hear()
        except psycopg.Error:
            return True
        return False

    def begin(self) -> None:
        self.cursor.execute("BEGIN")

    def commit(self) -> None:
        self.cursor.execute("COMMIT")

    def roll_back(self) -> None:
        """Undo what is open; a connection that cannot even do that is closed."""
        connection = self.connection
        if connection.closed or connection.pgconn.transaction_status == pq.TransactionStatus.IDLE:
            return
        try:
            self.cursor.execute("ROLLBACK")
        except psycopg.Error:
            connection.close()

    def listen(self, channels: set[str]) -> None:
        """Ask for the notifications of these channels too. Their names are made of letters, digits and ``_``."""
        new = sorted(channels - self._channels)
        if new:
            self.cursor.execute("; ".join(f'LISTEN "{name}"' for name in new), binary=False)
            self._channels.update(new)

    def follow(self, epoll: select.epoll, heard: Callable[[str], None]) -> None:
        """Have ``epoll`` tell when something comes in while the link is idle, and ``heard`` what was notified."""
        epoll.register(self.fileno(), select.EPOLLIN)
        self._followers.append(epoll)
        self.connection.heard = (*self.connection.heard, heard)

    def unfollow(self, epoll: select.epoll, heard: Callable[[str], None]) -> None:
        if epoll in self._followers:
            self._followers.remove(epoll)
            self._leave(epoll)
        self.connection.heard = tuple(each for each in self.connection.heard if each != heard)

    def _leave(self, epoll: select.epoll) -> None:
        with contextlib.suppress(OSError, ValueError):
            epoll.unregister(self._socket)

    def fileno(self) -> int:
        return self._socket

    def close(self) -> None:
        for epoll in self._followers:  # before the descriptor's number means something else
            self._leave(epoll)
        self._followers.clear()
        self.connection.close()


def connect(place: Place, timeout: float, deadline: float) -> PostgresLink:
    """Open a connection by ``deadline``, host after host. Raises ``psycopg.Error``."""
    error: psycopg.Error | None = None
    attempts = list(conninfo_attempts(_parameters(place)))
    for number, attempt in enumerate(attempts):
        now = time.monotonic()  # a host that is silent must leave time for the others: it may be their turn
        share = now + max(0.0, deadline - now) / (len(attempts) - number)
        try:
            connection = Connection(_connected(make_conninfo("", **attempt), share))
        except psycopg.Error as failure:
            error = failure
            continue
        return _prepared(connection, place, timeout, deadline)
    raise error or psycopg.OperationalError("no host to connect to")


def _parameters(place: Place) -> dict[str, Any]:
    names, ports = zip(*place.hosts, strict=True)
    given = {"application_name": "taskbus", "client_encoding": "UTF8", **dict(place.options)}
    parameters = {
        "host": ",".join(names), "port": ",".join(map(str, ports)), "dbname": place.database,
        "user": place.user, "password": place.password,
    }  # fmt: skip
    return given | {name: text for name, text in parameters.items() if text}


def _connected(conninfo: str, deadline: float) -> pq.abc.PGconn:
    """libpq's connection, made without ever blocking longer than that. Source: PostgreSQL's PQconnectStart."""
    connection = pq.PGconn.connect_start(conninfo.encode())
    try:
        while connection.status != pq.ConnStatus.BAD:
            status = connection.connect_poll()
            if status == pq.PollingStatus.OK:
                connection.nonblocking = 1
                return connection
            if status == pq.PollingStatus.FAILED:
                break
            poll = select.poll()
            poll.register(connection.socket, select.POLLIN if status == pq.PollingStatus.READING else select.POLLOUT)
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise DeadlinePassed("no connection in time")
        raise psycopg.OperationalError(f"connection failed: {connection.error_message.decode(errors='replace')}")
    except BaseException:
        connection.finish()
        raise


def _prepared(connection: Connection, place: Place, timeout: float, deadline: float) -> PostgresLink:
    """Set up a new session, in one round trip."""
    connection.deadline = deadline
    try:
        connection.autocommit = True
        link = PostgresLink(connection)
        settings = {
            "statement_timeout": f"{int(max(timeout * OF_TIMEOUT, 0.1) * 1000)}ms",
            "idle_in_transaction_session_timeout": f"{int(max(timeout, NOBODY_LOCKS_LONGER) * 1000)}ms",
            **PLANNING,
        }
        text = ", ".join(["set_config(%s, %s, false)"] * len(settings))
        values = [value for setting in settings.items() for value in setting]
        link.cursor.execute(
            f"SELECT set_config('search_path', quote_ident(%s), false), {text}",
            (place.schema, *values),
        )
    except BaseException:
        connection.close()
        raise
    return link
