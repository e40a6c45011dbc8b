"""A database on a server as a ``port.Database``, whatever the driver: connections, deadlines, repeats, and forks.

A connection that died while it was idle is replaced before it is used. One that dies in the middle of a statement
leaves a question: what asked for nothing but to read, or had not yet asked for its commit, is done again; what was
being committed raises ``OutcomeUnknown``.
"""

import os
import random
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence, Set
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from taskbus.database.connections import Held, Link, connections_to
from taskbus.database.port import Dialect, OutcomeUnknown, Watch
from taskbus.database.server_url import Place

if TYPE_CHECKING:
    from sqlalchemy import MetaData

T = TypeVar("T")
Group = tuple[str, ...]
"""The tables of one purpose."""
SHORTEST_PAUSE, LONGEST_PAUSE = 0.002, 0.1
"""Seconds between two tries of a transaction that the server took back in favour of another."""


class Driver(Protocol):
    """What differs from one kind of server to the other."""

    dialect: Dialect
    errors: type[Exception]

    def connect(self, place: Place, timeout: float, deadline: float) -> Link: ...

    def explain(self, error: Exception, place: Place, timeout: float) -> str: ...

    def is_lost(self, error: Exception) -> bool: ...

    def is_transient(self, error: Exception) -> bool:
        """Whether the transaction was undone by the server, and may succeed when it is run again."""

    def found(self, link: Link, tables: Collection[str]) -> set[str]:
        """Those of the tables that are there."""

    def create(self, link: Link, metadata: "MetaData", place: Place) -> None: ...

    def now(self, link: Link) -> float: ...

    def notify(self, cursor: Any, place: Place, topics: Collection[str]) -> None: ...

    def watch(self, database: "ServerDatabase") -> Watch: ...

    def subscribe(self, database: "ServerDatabase", topic: str, notify: Callable[[], None]) -> Callable[[], None]: ...


class ServerDatabase:
    """See the module's docstring. All that lead to the same place have the same connection in a thread."""

    def __init__(self, place: Place, timeout: float, driver: Driver, *, is_apart: bool = False) -> None:
        self.location = place
        self.dialect: Dialect = driver.dialect
        self.identity = place.identity
        self.place = place.words
        self.timeout = timeout
        self.errors = driver.errors
        self.driver = driver
        self._tables = _tables.setdefault(place.identity, Tables())
        self._own: Set[Group] | None = frozenset() if is_apart else None
        self._connections = connections_to(place)

    def __repr__(self) -> str:
        return f"<{self.place}>"

    # --- doing ---

    def require(self, tables: Collection[str], metadata: "Callable[[], MetaData]") -> None:
        """These tables are made, where they are missing, by whatever connects next."""
        group = tuple(tables)
        self._tables.know(group, metadata, is_common=self._own is None)
        if self._own is not None:
            self._own |= {group}

    def apart(self) -> "ServerDatabase":
        """The same database for those whose tables nobody else shall wait for: only who uses this object makes them."""
        return ServerDatabase(self.location, self.timeout, self.driver, is_apart=True)

    def cursor(self) -> Any:
        """This thread's cursor, with ``timeout`` seconds from now."""
        return self.link().cursor

    def read(self, statement: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """All rows of a statement that changes nothing."""
        return self._run(lambda link: list(link.cursor.execute(statement, parameters).fetchall()), self.timeout)

    def write(self, work: Callable[[Any], T]) -> T:
        """``work(cursor)`` in one transaction, run again as ``port.Database`` says."""

        def whole(link: Link) -> T:
            link.begin()
            result = work(link.cursor)
            self._commit(link)
            return result

        return self._run(whole, self.timeout)

    def single(self, work: Callable[[Any], T], timeout: float | None = None) -> T:
        """``work(cursor)`` without a transaction: it runs one statement, which is committed by itself.

        As ``write``, in one round trip. Raises ``OutcomeUnknown`` if the connection was lost meanwhile.
        """

        def whole(link: Link) -> T:
            try:
                return work(link.cursor)
            except self.errors as error:
                if self.is_lost(error):
                    raise OutcomeUnknown(self.explain(error)) from error
                raise

        return self._run(whole, timeout or self.timeout)

    @contextmanager
    def transaction(self, *, write: bool = True) -> Iterator[Any]:
        """A cursor inside a transaction, which is run once."""
        with self.held.use:
            link = self.link()
            try:
                link.begin()
                yield link.cursor
                self._commit(link)
            except BaseException as error:
                self._after(link, error)
                raise

    def _run(self, step: Callable[[Link], T], timeout: float) -> T:
        """Run a step on this thread's connection, again where that is safe and may help."""
        deadline, pause, repeats = time.monotonic() + timeout, SHORTEST_PAUSE, 1
        with self.held.use:
            while True:
                link = self.link(deadline)
                try:
                    return step(link)
                except BaseException as error:
                    self._after(link, error)
                    if not isinstance(error, self.errors) or time.monotonic() + pause > deadline:
                        raise
                    if self.is_lost(error) and repeats:
                        repeats -= 1
                    elif self.driver.is_transient(error):
                        pause = _pause(pause)
                    else:
                        raise

    def _commit(self, link: Link) -> None:
        try:
            link.commit()
        except self.errors as error:
            if self.is_lost(error):
                raise OutcomeUnknown(self.explain(error)) from error
            raise

    def _after(self, link: Link, error: BaseException) -> None:
        """After an error: leave a link that can be used, or none."""
        if isinstance(error, OutcomeUnknown) or (isinstance(error, self.errors) and self.is_lost(error)):
            self.held.drop(link)
        else:
            link.roll_back()

    # --- what is asked of every database ---

    def explain(self, error: Exception) -> str:
        """What the error means for this database, and what to do about it."""
        if isinstance(error, OutcomeUnknown):
            return str(error)
        return self.driver.explain(error, self.location, self.timeout)

    def is_lost(self, error: Exception) -> bool:
        return self.driver.is_lost(error)

    def server_now(self, timeout: float | None = None) -> float:
        """What the server's clock says, within half a round trip; connecting is no part of that."""

        def ask(link: Link) -> float:
            asked = time.monotonic()
            return self.driver.now(link) + (time.monotonic() - asked) / 2

        return self._run(ask, timeout or self.timeout)

    def notify(self, cursor: Any, topics: Collection[str]) -> None:
        """Wake who listens to these topics, once the cursor's transaction commits."""
        self.driver.notify(cursor, self.location, topics)

    def watch(self) -> Watch:
        return self.driver.watch(self)

    def subscribe(self, topic: str, notify: Callable[[], None]) -> Callable[[], None]:
        return self.driver.subscribe(self, topic, notify)

    # --- connections ---

    def link(self, deadline: float = 0.0) -> Link:
        """This thread's connection, alive as far as can be told, its tables made; outside of a transaction."""
        held = self.held
        link = held.link
        if link is not None and link.is_dead():
            held.drop(link)
            link = None
        deadline = deadline or time.monotonic() + self.timeout
        if link is None:
            link = held.open(self.driver.connect(self.location, self.timeout, deadline))
        link.deadline = deadline
        needed = self._tables.common if self._own is None else self._own
        if not needed <= held.there:
            held.there = self._tables.make(self.driver, link, self.location, needed)
        return link

    @property
    def held(self) -> "Held":
        """What this thread holds."""
        return self._connections.held()

    def leave(self) -> None:
        """Close this thread's connection, unless somebody listens on it."""
        if not self.held.opened:
            self.held.close()

    def close(self) -> None:
        """Close the connections of all threads, but for one that is in the middle of something."""
        self._connections.close()


class Tables:
    """Which tables somebody in this process needs in one database; looked for on each new connection.

    ``common``: those of all who are not apart, who may do each other's work in one transaction, as broker and store do.
    """

    def __init__(self) -> None:
        self.common: Set[Group] = frozenset()
        self._known: dict[Group, Callable[[], MetaData]] = {}
        self._lock = threading.Lock()

    def know(self, group: Group, metadata: "Callable[[], MetaData]", *, is_common: bool) -> None:
        with self._lock:
            self._known.setdefault(group, metadata)
            if is_common:
                self.common |= {group}

    def make(self, driver: Driver, link: Link, place: Place, needed: Set[Group]) -> Set[Group]:
        """Make what is missing of the needed ones; returns all that are there now."""
        with self._lock:
            known = dict(self._known)
        found = driver.found(link, {table for group in known for table in group})  # as a rule all: in one round trip
        there = {group for group in known if found.issuperset(group)}
        for group in needed - there:
            driver.create(link, known[group](), place)
        return there | needed

    def forget(self) -> None:
        self._lock = threading.Lock()


def _pause(pause: float) -> float:
    time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 (two that met in a deadlock must not meet again)
    return min(pause * 2, LONGEST_PAUSE)


def _after_fork() -> None:
    for tables in _tables.values():
        tables.forget()


_tables: dict[str, Tables] = {}
os.register_at_fork(after_in_child=_after_fork)
