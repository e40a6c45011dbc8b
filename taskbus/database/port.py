"""The port of every database: what broker and store need of SQLite, PostgreSQL, and MySQL or MariaDB.

``opening.open_database`` leads from a URL to one. The driver's own errors pass through as they are: catch
``database.errors``, and turn them into your own with ``database.explain`` for the text. Nothing here knows of queues or
results, and tables belong to those who use them.
"""

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

if TYPE_CHECKING:
    from sqlalchemy import MetaData

Dialect = Literal["sqlite", "postgresql", "mysql"]
T = TypeVar("T")


class Cursor(Protocol):
    """A DB-API cursor whose ``execute`` returns the cursor. Marks are ``?`` on SQLite and ``%s`` elsewhere."""

    rowcount: int

    def execute(self, statement: Any, parameters: Any = ..., /) -> "Cursor": ...

    def executemany(self, statement: Any, parameters: Any, /) -> Any: ...

    def fetchone(self) -> Any: ...

    def fetchall(self) -> list[Any]: ...


class Watch(Protocol):
    """A file descriptor that becomes readable when the database may have changed. It belongs to one thread."""

    def fileno(self) -> int: ...

    def drain(self) -> None:
        """Make it unreadable, until there is something new."""

    def listen(self, topics: Collection[str]) -> None:
        """Wake for these topics from now on; where the database tells of any change, nothing to do."""

    def hurry(self) -> None:
        """Something was found just now: where the database must be asked again and again, ask soon."""

    def close(self) -> None: ...


class OutcomeUnknown(Exception):
    """The connection was lost while a commit was under way: all of it was done, or nothing. ``__cause__`` says more."""


class Database(Protocol):
    """One database of this process, usable from any thread and after a fork; each thread has its own connection.

    ``identity`` names the database itself, whoever connects: equal for all URLs that lead to the same tables.
    ``place`` says where it is, in words that may be shown. ``errors`` is the class of all of the driver's errors. Any
    one call takes ``timeout`` seconds at most, waiting for locks, connecting and trying again included.
    """

    dialect: Dialect
    identity: str
    place: str
    timeout: float
    errors: type[Exception]

    def require(self, tables: Collection[str], metadata: "Callable[[], MetaData]") -> None:
        """Make sure that these tables exist before anything is done: at once in a file, else when first connected.

        ``metadata`` is only called where one is missing: loading SQLAlchemy costs 0.1 s. Beyond tables and indexes,
        statements in ``metadata.info[dialect]`` are run, each of which must do nothing the second time.
        """

    def apart(self) -> "Database":
        """The same database for those whose tables nobody else shall wait for: only who uses this object makes them."""

    def read(self, statement: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """All rows of a statement that changes nothing; asked again on a new connection when the old one was dead."""

    def write(self, work: Callable[[Any], T]) -> T:
        """``work(cursor)`` in one transaction: committed when it returns, undone when it raises.

        Run again from its start as often as the database asks for it (deadlock, serialization failure) and once if the
        connection was lost before the commit: it must have no effect but what the transaction undoes.

        Raises:
            OutcomeUnknown: the connection was lost while committing.
        """

    def transaction(self, *, write: bool = True) -> AbstractContextManager[Any]:
        """A cursor inside a transaction, for what cannot be run twice; a failed commit raises as in ``write``."""

    def cursor(self) -> Any:
        """This thread's cursor, outside of a transaction: each statement is committed by itself."""

    def explain(self, error: Exception) -> str:
        """What the error means for this database, and what to do about it; no secret in it."""

    def is_lost(self, error: Exception) -> bool:
        """Whether the connection is gone: a statement under way may have been done, or not."""

    def server_now(self, timeout: float | None = None) -> float:
        """What the clock of the database's host says, in Unix seconds, at the instant at which this returns.

        Within half a round trip; asked in ``timeout`` seconds, if given.
        """

    def watch(self) -> Watch:
        """A way to sleep until something comes, for this thread."""

    def notify(self, cursor: Any, topics: Collection[str]) -> None:
        """Wake who watches or subscribed to these topics, once the cursor's transaction commits."""

    def subscribe(self, topic: str, notify: Callable[[], None]) -> Callable[[], None]:
        """Call ``notify`` from a thread of ours after ``notify`` of a topic, sometimes without cause.

        It must neither block nor raise. Returns a function that ends this. Where the database cannot tell, ``notify``
        is called on a timer.
        """

    def leave(self) -> None:
        """Close this thread's connection, unless it is in use, as where somebody listens on it."""

    def close(self) -> None:
        """Close the connections of all threads; asking again opens new ones."""
