"""The port of every store: records in, records out. What results and dead letters mean is written once, above it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from taskbus.database.remark import Remark
from taskbus.message import Recorded
from taskbus.outcome import Failure, Reason, State
from taskbus.store.flows import FlowChange, FlowStore


class StoredResult(NamedTuple):
    """How a task stands. ``value`` are encoded bytes (``content_type`` says how), None when it kept none."""

    task_id: str
    task: str
    state: State
    value: bytes | None = None
    content_type: str = "msgpack"
    failure: Failure | None = None
    attempt: int = 1
    started_at: float = 0.0
    finished_at: float = 0.0


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """One attempt that failed, kept until its task succeeds or its dead letter is deleted."""

    task_id: str
    attempt: int
    started_at: float
    finished_at: float
    worker: str
    failure: Failure


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message no attempt is left for, with its original bytes. ``task_id`` names it; oldest of ``attempts`` first."""

    task_id: str
    task: str
    queue: str
    reason: Reason
    failure: Failure
    wire: bytes
    content_type: str
    priority: int
    attempt: int
    sent_at: float
    dead_at: float
    attempts: Sequence[FailedAttempt] = ()


# --- changes: what a settlement asks the store to record ---------------------------------------------------------


class SaveResult(NamedTuple):
    """Record how a task stands. Refused silently where a final state is already recorded: the first one stays."""

    result: StoredResult
    ttl: float


@dataclass(frozen=True, slots=True)
class SaveAttempt:
    """Remember a failed attempt. Saving the same ``(task_id, attempt)`` again replaces it."""

    attempt: FailedAttempt


@dataclass(frozen=True, slots=True)
class ForgetAttempts:
    """Drop the failed attempts of a task that succeeded after all."""

    task_id: str


@dataclass(frozen=True, slots=True)
class Bury:
    """Add a dead letter, in place of an earlier one of the same task. Its ``attempts`` are ignored: see SaveAttempt."""

    letter: DeadLetter


@dataclass(frozen=True, slots=True)
class Exhume:
    """Take a dead letter out, with its attempts and the task's final result. Fails if there is none."""

    task_id: str


@dataclass(frozen=True, slots=True)
class ForgetFailure:
    """Forget that a task failed or was revoked: its dead letter of ``dead_at`` is about to be sent again, and stays.

    Fails if that letter is not there. A success stays: it is that of a task which was sent again before.
    """

    task_id: str
    dead_at: float


@dataclass(frozen=True, slots=True)
class Purge:
    """Delete a dead letter for good, with its attempts; the task's result stays. Nothing happens if there is none.

    ``dead_at``: nor if the letter is another one than that of this instant.
    """

    task_id: str
    dead_at: float | None = None


Change = SaveResult | SaveAttempt | ForgetAttempts | Bury | Exhume | ForgetFailure | Purge
AnyChange = Change | FlowChange


@dataclass(frozen=True, slots=True)
class Filter:
    """Which dead letters: every given field must match. ``task`` and ``queue`` are shell patterns (``mail.*``).

    ``older_than`` and ``newer_than`` are instants compared with ``dead_at``, themselves included; ``error`` is the
    class name of the failure, with or without its module; ``text`` occurs in its message, in the same case.
    """

    task_ids: Sequence[str] = ()
    task: str | None = None
    queue: str | None = None
    reason: str | None = None
    error: str | None = None
    text: str | None = None
    older_than: float | None = None
    newer_than: float | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Dead letters alike: same task, reason and error class. ``example`` is the newest one's id."""

    task: str
    reason: Reason
    error: str
    message: str
    count: int
    first_at: float
    last_at: float
    example: str


class ResultStore(Protocol):
    """What whoever waits for results needs of a store; for any thread. All of it may raise ``StoreError``."""

    def results(self, task_ids: Sequence[str]) -> Mapping[str, StoredResult]:
        """The recorded results among ``task_ids``, without those whose time to live is over."""

    def forget(self, task_ids: Sequence[str]) -> None:
        """Delete results; the tasks are then as if never heard of."""

    def subscribe(self, notify: Callable[[], None]) -> Callable[[], None]:
        """Call ``notify`` (from any thread, possibly without cause) after any process may have recorded a result.

        ``notify`` must neither block nor raise. Returns a function that ends it. Where the database cannot tell,
        ``notify`` is called on a slow timer.
        """


class Store(ResultStore, FlowStore, Protocol):
    """What a database must do to be a result store. Every method is atomic; all may be called from any thread.

    Each may raise ``StoreError`` when the database cannot be used.
    """

    database: str
    """Names the database itself; where a broker's is equal, both can share one transaction."""

    def apply(self, changes: Sequence[AnyChange], transaction: Any = None) -> Recorded | None:
        """Write all changes, in their order, or none. None: an ``Exhume`` or ``ForgetFailure`` was refused.

        The answer holds the messages that became ready in flows by it, to be published by the same step. (In a
        transaction on Redis it is empty: there the script publishes them itself.)

        ``transaction``: a DB-API cursor inside an open transaction on this database; what is written shares its fate,
        and the driver's errors are raised as they are.

        Raises:
            StoreError: the database failed; nothing was written.
        """

    def attempts(self, task_ids: Sequence[str]) -> Mapping[str, Sequence[FailedAttempt]]:
        """The failed attempts of tasks, oldest first."""

    def dead_letters(
        self, where: Filter, *, limit: int, after: tuple[float, str] | None = None, is_newest_first: bool = False
    ) -> Sequence[DeadLetter]:
        """Dead letters with their attempts, by ``(dead_at, task_id)``, after that position; oldest first, or newest."""

    def count_dead_letters(self, where: Filter) -> int:
        """How many dead letters match."""

    def dead_letter_groups(self, where: Filter) -> Sequence[Group]:
        """Dead letters by likeness, the largest group first."""

    def sweep(self, now: float) -> int:
        """Delete some of the results whose time to live is over (at most 1,000); returns how many."""

    def examine(self) -> Sequence[Remark]:
        """What the database's live settings mean for results and dead letters; asks, and changes nothing."""

    def close(self) -> None:
        """Release connections. Using the store again opens new ones."""
