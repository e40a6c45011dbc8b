"""The broker as the rest of TaskBus sees it: messages go in, a ``Consumer`` takes them out.

Wire bytes are made here; what is below knows only queues, priorities and bytes.
"""

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

# mypy: allow-untyped-calls
from kombu.connection import Connection
from kombu.messaging import Producer

from taskbus.broker import joining
from taskbus.broker.consumer import Consumer
from taskbus.broker.delivery import Delivery, Record, Settlement
from taskbus.broker.parcels import to_delivery, to_parcel
from taskbus.broker.queues import QueueSize, WorkerEntry
from taskbus.broker.transports.channel import accept
from taskbus.broker.transports.features import Features
from taskbus.broker.transports.port import Parcel, Storage, sealed
from taskbus.broker.transports.schemes import transport_of
from taskbus.clock import Clock, wall_clock
from taskbus.database.opening import open_database
from taskbus.database.port import Database, OutcomeUnknown
from taskbus.database.redis_errors import ReplyLost
from taskbus.database.remark import Remark
from taskbus.database.sqlite import locate
from taskbus.database.urls import redacted
from taskbus.errors import BrokerError, PayloadTooLarge, PublishFailed, PublishUnknown, StoreError
from taskbus.message import Message
from taskbus.wire import formats
from taskbus.wire.compact import CONTENT_TYPE

RETRY_ROOM = 128
"""Bytes by which a message may grow on its way: attempt number, due time, and the headers that workers add."""
AT_ONCE = 1000
"""Messages of one round trip."""
CONSUMER_TIMEOUT = 5.0
FOR_PUBLISHING = 0.8
"""The share of ``publish_timeout`` that a publish may take; the rest is for asking the broker for the time, before."""
LOCAL = ("sqlite:", "memory:")
"""Brokers on this host, whose time need not be asked for."""


class Broker:
    """One broker, usable from any thread, and after a fork.

    Args:
        url: where it is; ``sqlite:///file.db`` or ``memory://name``.
        publish_timeout: the longest a publish may take, in seconds.
        dedup_window: seconds for which a task id, once accepted, is refused a second time.
        celery_queues: those that are sent to in Celery's wire format.

    Raises:
        ConfigError: the URL is not one of a broker, or what it needs is not installed.
        BrokerError: it is a file that cannot be used; the message says what to do.
    """

    def __init__(
        self,
        url: str,
        *,
        clock: Clock = wall_clock,
        max_message_bytes: int = 1 << 20,
        publish_timeout: float = 5.0,
        dedup_window: float = 60.0,
        celery_queues: Sequence[str] = (),
    ) -> None:
        self._transport = transport_of(url)
        self._clock = clock
        self._timeout = publish_timeout if url.startswith(LOCAL) else publish_timeout * FOR_PUBLISHING
        self._dedup_window = dedup_window
        self._celery_queues = frozenset(celery_queues)
        self._to_parcel = partial(to_parcel, celery_queues=self._celery_queues)
        self._max_message_bytes = max_message_bytes
        self._local = threading.local()
        self._connections: weakref.WeakSet[Connection] = weakref.WeakSet()
        self.url = locate(url).url if url.startswith("sqlite") else url
        self.safe_url = redacted(self.url)
        storage = self._storage()
        self.features: Features = storage.features
        self.database: str = storage.database

    # --- in ---

    def publish(self, message: Message) -> None:
        """Accept a message for good, or raise. Inside ``batch`` it is accepted with the others of the batch.

        There is no third way, and no trying again: it raises within ``publish_timeout`` seconds, connecting included.

        Raises:
            PayloadTooLarge: it is larger than ``max_message_bytes``.
            PublishFailed: it was refused, or the broker cannot be reached; nothing is queued.
            PublishUnknown: it may be queued, or not; publishing it again under its id makes sure.
        """
        wire = checked(message, self._max_message_bytes, self._celery_queues)
        producer = self._publisher()
        batch = producer.channel.open_batch
        if batch is not None:  # past kombu's producer, which costs more than all the rest of a batched publish
            batch.add(Parcel(message.queue, wire, message.priority, message.due_at, id=message.id))
            return
        properties: dict[str, Any] = {"message_id": message.id}
        if message.due_at is not None:
            properties["due_at"] = message.due_at
        try:
            producer.publish(
                wire,
                routing_key=message.queue,
                priority=message.priority,
                content_type=CONTENT_TYPE,
                content_encoding="binary",
                **properties,
            )
        except BrokerError as error:
            raise PublishFailed(str(error), [message.id]) from error

    def publish_in(self, session: Any, message: Message) -> None:
        """Make a message part of the transaction that a ``session`` of SQLAlchemy is in: see ``joining``.

        Raises:
            PayloadTooLarge: it is larger than ``max_message_bytes``.
            ConfigError: they are not in the same database, or not in a transaction.
        """
        wire = checked(message, self._max_message_bytes, self._celery_queues)
        parcel = Parcel(message.queue, wire, message.priority, message.due_at, id=message.id)
        joining.publish(session, self._storage(), self._database, lambda _: [parcel], self.safe_url)

    def publish_all(self, messages: Sequence[Message]) -> None:
        """Accept messages now, also inside ``batch``: ``AT_ONCE`` at a time, all or none of each. No ``dedup``.

        Raises as ``publish`` does, with the ``task_ids`` of the round trip that failed; those after it were not sent.
        """
        for message in messages:
            checked(message, self._max_message_bytes, self._celery_queues)
        storage = self._publisher().channel.storage
        for start in range(0, len(messages), AT_ONCE):
            some = messages[start : start + AT_ONCE]
            try:
                accept(storage, [self._to_parcel(message) for message in some])
            except PublishFailed as error:
                error.task_ids = tuple(message.id for message in some)
                raise

    def enact(self, changes: Sequence[Any], messages: Sequence[Message], record: Record) -> bool:
        """Record changes and publish messages in one step of the database that both share; False: ``record`` refused.

        Raises:
            PublishFailed: nothing was done.
            PublishUnknown: it was done, or not.
        """
        settlement = Settlement(None, follow_ups=messages, changes=changes)
        try:
            return self._storage().settle(None, [settlement], self._to_parcel, record, shared=True) is not None
        except (BrokerError, StoreError) as error:
            is_lost = isinstance(error.__cause__, OutcomeUnknown | ReplyLost)
            raise (PublishUnknown if is_lost else PublishFailed)(str(error)) from error

    def enact_in(self, session: Any, changes: Sequence[Any], messages: Sequence[Message], record: Record) -> None:
        """As ``enact``, as part of the transaction that a ``session`` of SQLAlchemy is in; see ``publish_in``."""

        def parcels(cursor: Any) -> list[Parcel]:
            recorded = record(changes, cursor)
            return [*map(self._to_parcel, messages), *map(sealed, recorded.ready if recorded else ())]

        joining.publish(session, self._storage(), self._database, parcels, self.safe_url)

    @contextmanager
    def batch(self, max_size: int = 1000) -> Iterator[None]:
        """Send what this thread publishes in the block together, ``max_size`` at a time, all or none of each.

        The rest is sent at the end of the block; if the block raises, what was not sent yet is discarded. Blocks may be
        nested: the outermost one counts. Raises as ``publish`` does, from where a message is published or from the end
        of the block; the error's ``task_ids`` are those of the round trip that failed. What went before is accepted,
        what came after was not sent.
        """
        with self._publisher().batch(max_size):
            yield

    def transact(self, settlement: Settlement, record: Record, *, shared: bool) -> bool:
        """Publish follow-ups and record changes; False if ``record`` refused them.

        ``shared``: the record's database is this broker's, so that both happen or neither. Otherwise the messages are
        published first: dying in between repeats a message, and never loses one.
        """
        from_nowhere = Settlement(None, follow_ups=settlement.follow_ups, changes=settlement.changes)
        if shared:
            return self._storage().settle(None, [from_nowhere], self._to_parcel, record, shared=True) is not None
        if settlement.follow_ups:
            self._storage().publish([self._to_parcel(message) for message in settlement.follow_ups])
        return not settlement.changes or record(settlement.changes, None) is not None

    # --- out ---

    def consumer(self, queues: Sequence[str], *, name: str, lease: float) -> Consumer:
        """Join as a worker on these queues, with a lease of ``lease`` seconds that runs from now."""
        return Consumer(
            self._connect(CONSUMER_TIMEOUT), queues, name=name, lease=lease, clock=self._clock,
            celery_queues=self._celery_queues,
        )  # fmt: skip

    # --- views ---

    def now(self) -> float:
        """The broker's time, by which due times and expiries are set and compared."""
        return self._storage().now()

    def queues(self) -> list[QueueSize]:
        """Every queue that is declared or holds a message, by name."""
        return self._storage().sizes()

    def peek(self, queue: str, limit: int) -> list[Delivery]:
        """The next messages of a queue, the delayed ones last, without taking them."""
        return [to_delivery(claimed) for claimed in self._storage().peek(queue, limit)]

    def withdraw(self, queue: str, is_meant: Callable[[Delivery], bool], limit: int) -> Delivery | None:
        """Delete the first that is meant of the next ``limit`` messages that wait in a queue; None: none was.

        Where ``features.lists`` is False none ever is.
        """
        storage = self._storage()
        for claimed in storage.peek(queue, limit) if self.features.lists else ():
            delivery = to_delivery(claimed)
            if is_meant(delivery) and storage.withdraw(claimed):
                return delivery
        return None

    def depth(self, queue: str) -> int:
        """Messages ready in a queue, also where the broker lists none. Raises ``BrokerError`` if it is not there."""
        return self._storage().declare_queue(queue, expires=None, passive=True).messages

    def purge(self, queue: str) -> int:
        """Delete what waits in a queue, never what a worker holds; how many."""
        return self._storage().purge(queue)

    def workers(self) -> list[WorkerEntry]:
        """Every lease holder, oldest first; also the dead ones nobody has reaped yet."""
        return self._storage().workers()

    def ping(self) -> float:
        """Seconds that one round trip takes."""
        storage, started = self._storage(), time.perf_counter()
        storage.ping()
        return time.perf_counter() - started

    def examine(self) -> Sequence[Remark]:
        """What the broker's live settings mean for those who rely on it."""
        return self._storage().examine()

    def close(self) -> None:
        """Close this thread's connections; others close with their threads. Using the broker again opens new ones."""
        for connection in list(self._connections):
            connection.release()
        self._connections.clear()
        self._local = threading.local()

    # --- connections ---

    def connection(self) -> Connection:
        """A kombu connection of the caller's own, for what only kombu has: exchanges, remote control."""
        connection = self._connect(self._timeout)
        self._connections.add(connection)
        return connection

    def _producer(self) -> Producer:
        """This thread's producer, kept for ever: making one costs a hundred publishes."""
        local = self._local
        if getattr(local, "pid", None) != os.getpid():
            connection = self.connection()
            local.producer = Producer(connection.channel())
            local.connection = connection
            local.pid = os.getpid()
        return cast(Producer, local.producer)

    def _publisher(self) -> Producer:
        """The producer, for a send: what keeps it from being made is an outcome of the send."""
        try:
            return self._producer()
        except BrokerError as error:
            raise PublishFailed(str(error)) from error

    def _database(self) -> Database:
        return open_database(self.url, self._timeout)

    def _storage(self) -> Storage:
        return cast(Storage, self._producer().channel.storage)

    def _connect(self, timeout: float) -> Connection:
        options: dict[str, Any] = {
            "url": self.url,
            "clock": self._clock,
            "timeout": timeout,
            "dedup_window": self._dedup_window,
            "celery_queues": self._celery_queues,
        }
        return Connection(transport=self._transport, transport_options=options)


def checked(message: Message, max_bytes: int, celery_queues: Set[str] = formats.NO_QUEUES) -> bytes:
    """The message as it travels. Raises ``EncodeError`` or ``PayloadTooLarge``."""
    wire = formats.encode(message, celery_queues)
    if len(wire) + RETRY_ROOM > max_bytes:
        raise PayloadTooLarge(
            f"message of {len(wire)} bytes for task {message.task!r} is larger than max_message_bytes={max_bytes} "
            "allows; send a reference to the data instead"
        )
    return wire
