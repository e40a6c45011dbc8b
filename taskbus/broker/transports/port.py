"""The port of every transport: what lies below kombu's channel, and what a lease needs beyond kombu.

A channel of ours has a ``storage``, which is one of these. All instants are by the clock the storage was opened with.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from taskbus.broker.delivery import Delivery, Record, Settlement
from taskbus.broker.queues import QueueSize, WorkerEntry
from taskbus.broker.transports.features import Features
from taskbus.clock import Clock, wall_clock
from taskbus.database.remark import Remark
from taskbus.message import Message, Sealed


class Parcel(NamedTuple):
    """A message on its way in. ``key`` is the queue where ``exchange`` is "", else the routing key.

    ``properties`` None: a message of ``wire.formats``; else the packed rest of a kombu message (``envelope.pack``).
    ``id``: the task id, by which a storage with ``Features.dedup`` refuses a second publish; "": it is not remembered.
    """

    key: str
    body: bytes
    priority: int = 0
    due_at: float | None = None
    properties: bytes | None = None
    exchange: str = ""
    id: str = ""


def sealed(message: Sealed) -> Parcel:
    """A message that is in its wire form already."""
    return Parcel(message.queue, message.wire, message.priority, message.due_at)


@dataclass(frozen=True, slots=True)
class Opening:
    """How a storage is opened. Nothing is connected to before it is first used, save by a SQLite file.

    ``clock``: where it is not ``wall_clock`` (a test's, to be moved) every instant is by it; else leases and due times
    are compared by the broker's own clock. ``timeout``: seconds any one call may take in all, reconnecting included.
    ``dedup_window``: seconds for which the id of a published task is remembered at least, and twice that at most; 0:
    never. ``celery_queues``: queues that are Celery's as well, and are declared and read as Celery does.
    """

    url: str = field(repr=False)
    clock: Clock = wall_clock
    timeout: float = 5.0
    dedup_window: float = 60.0
    celery_queues: frozenset[str] = frozenset()


class Claimed(NamedTuple):
    """A message on its way out; ``fence`` is larger than that of any earlier claim in this broker.

    ``rank`` is 9 - priority: so they sort, as they are, into the order in which they are to be delivered.
    """

    rank: int
    tag: int
    queue: str
    body: bytes
    properties: bytes | None
    fence: int
    crashes: int
    losses: int

    @property
    def priority(self) -> int:
        return 9 - self.rank


class Claims(NamedTuple):
    """What a claim brought, and when the next delayed message of its queues is due."""

    claimed: list[Claimed]
    next_due_at: float | None


@dataclass(frozen=True, slots=True)
class Holder:
    """A lease holder's name to the storage: ``id`` is never used again, whatever becomes of it."""

    id: int
    incarnation: str
    lease: float


class QueueCount(NamedTuple):
    """What AMQP's queue.declare answers."""

    queue: str
    messages: int
    consumers: int


class Watch(Protocol):
    """A file descriptor that is readable when a claim may find something new."""

    def fileno(self) -> int: ...

    def drain(self) -> None: ...

    def close(self) -> None: ...


class Storage(Protocol):
    """Messages, topology and leases. Every method is one atomic step and may be called from any thread.

    ``database`` names the database for those who could share a transaction ("": there is none to share). A step whose
    outcome was lost with the connection is found out, or done again without doing it twice, when it is called again;
    only ``publish`` leaves that to its caller, and says so with ``PublishUnknown``.

    Raises:
        BrokerError: from any method, when the broker cannot be used; ``publish`` raises ``PublishFailed``.
    """

    features: Features
    database: str

    def publish(self, parcels: Sequence[Parcel]) -> None:
        """Accept all or none, in ``Opening.timeout`` seconds. A parcel to a queue nobody declared is kept there.

        A parcel whose ``id`` was accepted within the dedup window counts as accepted, and is not queued again. Raises
        ``PublishUnknown`` where the parcels may be queued, or not: publishing them again under their ids is safe.
        """

    def now(self) -> float:
        """The broker's time, by which due times and expiries are set; the local clock's while it cannot be asked.

        Takes a quarter of ``Opening.timeout`` at most: a send asks for the time and then publishes, in one deadline.
        """

    def join(self, name: str, queues: Sequence[str], lease: float) -> Holder:
        """Register a lease holder, its lease running from now."""

    def renew(self, holder: Holder) -> None:
        """Let the lease run from now. Raises ``LeaseLost`` if the holder was reaped."""

    def reap(self) -> int:
        """Give back what holders with an expired lease hold (one loss each), forget them; how many messages."""

    def attend(self, holder: Holder, queues: Sequence[str]) -> None:
        """From now on the holder claims from these queues, and is woken for them; what it holds stays its own."""

    def leave(self, holder: Holder) -> None:
        """Give back all it holds, uncounted, and forget the holder."""

    def claim(self, holder: Holder, queues: Sequence[str], limit: int) -> Claims:
        """Take up to ``limit`` messages, the queues taking turns, each by priority, then first in first out.

        Raises ``LeaseLost`` rather than let a reaped holder take anything.
        """

    def settle(
        self,
        holder: Holder | None,
        settlements: Sequence[Settlement],
        encode: Callable[[Message], Parcel],
        record: Record | None,
        *,
        shared: bool,
    ) -> list[Delivery] | None:
        """See ``Consumer.settle``. None: ``record`` refused, and nothing was done."""

    def sizes(self) -> list[QueueSize]: ...

    def peek(self, queue: str, limit: int) -> list[Claimed]:
        """The next messages of a queue, the delayed ones last; nothing is taken, so ``fence`` is 0."""

    def withdraw(self, claimed: Claimed) -> bool:
        """Delete a message that was peeked, if it still waits, ready or delayed; False if it does not.

        Where ``Features.lists`` is False nothing can be taken out of a queue, and it is always False.
        """

    def workers(self) -> list[WorkerEntry]: ...

    def ping(self) -> None:
        """Make one round trip that needs the broker to be alive."""

    def examine(self) -> Sequence[Remark]:
        """What the broker's live settings mean: its version, what an accepted task survives, how far its clock is off.

        Asks the broker and changes nothing. A setting that may not be read is itself a remark.
        """

    def purge(self, queue: str) -> int:
        """Delete what is ready or delayed, never what somebody holds; how many."""

    def declare_queue(self, queue: str, *, expires: float | None, passive: bool) -> QueueCount:
        """Make sure a queue exists. ``expires``: seconds without use after which it is deleted with all it holds."""

    def delete_queue(self, queue: str, *, if_unused: bool, if_empty: bool) -> int:
        """Delete a queue, its bindings and what is ready or delayed in it; how many messages."""

    def declare_exchange(self, exchange: str, type: str, *, passive: bool) -> None: ...

    def delete_exchange(self, exchange: str, *, if_unused: bool) -> None: ...

    def bind(self, queue: str, exchange: str, key: str) -> None: ...

    def unbind(self, queue: str, exchange: str, key: str) -> None: ...

    def watch(self) -> Watch: ...

    def close(self) -> None:
        """Close this thread's connection, where nobody listens on it; using the storage again opens another.

        Those of other threads close with their threads, and with the process.
        """
