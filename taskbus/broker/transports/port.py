"""The port of every transport: what lies below kombu's channel, and what a lease needs beyond kombu.

A channel of ours has a ``storage``, which is one of these. All instants are by the clock the storage was opened with.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from taskbus.broker.delivery import Delivery, Record, Settlement
from taskbus.broker.queues import QueueSize, WorkerEntry
from taskbus.broker.transports.features import Features
from taskbus.message import Message


class Parcel(NamedTuple):
    """A message on its way in. ``key`` is the queue where ``exchange`` is "", else the routing key.

    ``properties`` None: a plain TaskBus message; else the packed rest of a kombu message (``envelope.pack``).
    """

    key: str
    body: bytes
    priority: int = 0
    due_at: float | None = None
    properties: bytes | None = None
    exchange: str = ""


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

    ``database`` names the database for those who could share a transaction ("": there is none to share).

    Raises:
        BrokerError: from any method, when the broker cannot be used; ``publish`` raises ``PublishFailed``.
    """

    features: Features
    database: str

    def publish(self, parcels: Sequence[Parcel]) -> None:
        """Accept all or none. A parcel to a queue nobody declared is kept there."""

    def join(self, name: str, queues: Sequence[str], lease: float) -> Holder:
        """Register a lease holder, its lease running from now."""

    def renew(self, holder: Holder) -> None:
        """Let the lease run from now. Raises ``LeaseLost`` if the holder was reaped."""

    def reap(self) -> int:
        """Give back what holders with an expired lease hold (one loss each), forget them; how many messages."""

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

    def workers(self) -> list[WorkerEntry]: ...

    def ping(self) -> None:
        """Make one round trip that needs the broker to be alive."""

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
        """Release connections; using the storage again opens new ones."""
