"""kombu's channel on top of a ``Storage``: what Producer, Consumer, Queue and Exchange call.

Deliveries of a channel hang off a lease, like a worker's: the channel renews it whenever it is used. A program that
consumes through kombu alone must therefore drain, ack or get something more often than every ``lease`` seconds.
"""

import os
import socket
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any, NamedTuple, Protocol

# mypy: allow-untyped-calls
from kombu.message import Message as KombuMessage
from kombu.transport.base import StdChannel

from taskbus.broker.delivery import Act, Delivery, Settlement
from taskbus.broker.transports.envelope import Envelope, pack, unpack
from taskbus.broker.transports.port import Claimed, Holder, Parcel, QueueCount, Storage
from taskbus.clock import Clock
from taskbus.errors import BrokerError, EncodeError, LeaseLost, PublishFailed
from taskbus.message import MAX_PRIORITY, MIN_PRIORITY, Message
from taskbus.wire.compact import CONTENT_TYPE

PREFETCH = 100
"""Messages claimed at once for a consumer that set no limit of its own."""
AUTO_DELETE_AFTER = 300.0
"""Seconds without a consumer after which an auto-delete queue is taken for abandoned."""


_PLAIN = frozenset(("delivery_mode", "due_at", "message_id"))
"""Properties of a message that needs no envelope: what they say is in its body, or the same for all."""


class Prepared(NamedTuple):
    """A message as kombu's Producer hands it over."""

    body: bytes
    priority: int
    content_type: str
    content_encoding: str
    headers: Mapping[str, Any]
    properties: Mapping[str, Any]


class Link(Protocol):
    """The connection a channel belongs to."""

    client: Any
    storage: Storage
    clock: Clock
    lease: float
    channels: list[Any]


class Consuming(NamedTuple):
    queue: str
    callback: Callable[[KombuMessage], object]
    no_ack: bool


class Channel(StdChannel):
    """One kombu channel. Like every kombu channel it belongs to one thread at a time."""

    supports_batch_publish = True

    def __init__(self, link: Link) -> None:
        self.connection: Link | None = link
        self.storage = link.storage
        self.no_ack_consumers: set[str] = set()  # type: ignore[assignment]
        self.closed = False
        self.open_batch: PublishBatch | None = None
        self.next_due_at: float | None = None
        self._clock, self._lease = link.clock, link.lease
        self._consumers: dict[str, Consuming] = {}
        self._pending: deque[tuple[str, KombuMessage]] = deque()
        self._unacked: dict[int, Delivery] = {}
        self._tags = count(1)
        self._prefetch = 0
        self._holder: Holder | None = None
        self._held_queues: frozenset[str] = frozenset()
        self._renewed_at = 0.0
        self._own_queues: set[str] = set()

    # --- publishing ---

    def prepare_message(
        self,
        body: Any,
        priority: int | None = None,
        content_type: str | None = None,
        content_encoding: str | None = None,
        headers: Mapping[str, Any] | None = None,
        properties: Mapping[str, Any] | None = None,
    ) -> Prepared:
        if type(body) is not bytes:
            body = body.encode() if isinstance(body, str) else bytes(body)
        return Prepared(
            body, priority or 0, content_type or "", content_encoding or "binary", headers or {}, properties or {}
        )

    def basic_publish(self, message: Prepared, exchange: str = "", routing_key: str = "", **_: Any) -> None:
        accept(self.storage, (parcel(message, exchange, routing_key),))

    def create_publish_batch(self, max_size: int) -> "PublishBatch":
        """Called by kombu at the first publish of a batch; until its end the batch is ``open_batch``."""
        self.open_batch = PublishBatch(self, max_size)
        return self.open_batch

    # --- consuming ---

    def basic_consume(
        self, queue: str, no_ack: bool, callback: Callable[[KombuMessage], object], consumer_tag: str, **_: Any
    ) -> str:
        tag = consumer_tag or uuid.uuid4().hex
        self._consumers[tag] = Consuming(queue, callback, no_ack)
        if no_ack:
            self.no_ack_consumers.add(tag)
        return tag

    def basic_cancel(self, consumer_tag: str) -> None:
        self._consumers.pop(consumer_tag, None)
        self.no_ack_consumers.discard(consumer_tag)

    def basic_qos(self, prefetch_size: int = 0, prefetch_count: int = 0, apply_global: bool = False) -> None:
        self._prefetch = prefetch_count

    def deliver(self) -> bool:
        """Hand out what can be claimed now to the callbacks; whether there was anything."""
        self._keep_lease()
        for no_ack in (False, True):
            self._claim_for(no_ack)
        delivered = False
        while self._pending:
            tag, message = self._pending.popleft()
            consuming = self._consumers.get(tag)
            if consuming is None:
                message.requeue()
                continue
            delivered = True
            consuming.callback(message)
        return delivered

    def _claim_for(self, no_ack: bool) -> None:
        tags = {each.queue: tag for tag, each in self._consumers.items() if each.no_ack is no_ack}
        room = PREFETCH if no_ack or not self._prefetch else self._prefetch - len(self._unacked)
        if not tags or room < 1:
            return
        claims = self.storage.claim(self._holding(), list(tags), room)
        if claims.next_due_at is not None:
            self.next_due_at = min(claims.next_due_at, self.next_due_at or claims.next_due_at)
        for claimed in claims.claimed:
            tag = tags[claimed.queue]
            self._pending.append((tag, self._received(claimed, tag, no_ack=no_ack)))
        if no_ack:
            self._settle([Settlement(_delivery(claimed)) for claimed in claims.claimed])

    def basic_get(self, queue: str, no_ack: bool = False, **_: Any) -> KombuMessage | None:
        self._keep_lease()
        claimed = self.storage.claim(self._holding(), (queue,), 1).claimed
        if not claimed:
            return None
        if no_ack:
            self._settle([Settlement(_delivery(claimed[0]))])
        return self._received(claimed[0], None, no_ack=no_ack)

    def _received(self, claimed: Claimed, consumer_tag: str | None, *, no_ack: bool) -> KombuMessage:
        envelope = unpack(claimed.properties, claimed.queue)
        tag = next(self._tags)
        if not no_ack:
            self._unacked[tag] = _delivery(claimed)
        where = {
            "exchange": envelope.exchange,
            "routing_key": envelope.routing_key,
            "redelivered": bool(claimed.losses or claimed.crashes),
            "priority": claimed.priority,
        }
        return KombuMessage(
            claimed.body,
            delivery_tag=tag,
            content_type=envelope.content_type,
            content_encoding=envelope.content_encoding,
            delivery_info=where if consumer_tag is None else where | {"consumer_tag": consumer_tag},
            properties=envelope.properties | {"priority": claimed.priority, "delivery_tag": tag},
            headers=envelope.headers,
            channel=self,
        )

    # --- settling ---

    def basic_ack(self, delivery_tag: int, multiple: bool = False) -> None:
        """Raises ``LeaseLost`` if the message is not this channel's any more."""
        tags = [tag for tag in self._unacked if tag <= delivery_tag] if multiple else [delivery_tag]
        self._give_up(tags, Act.ACK)

    def basic_reject(self, delivery_tag: int, requeue: bool = False) -> None:
        """Give the message back; without ``requeue`` drop it, as AMQP does where there is no dead letter exchange."""
        self._give_up([delivery_tag], Act.RELEASE if requeue else Act.ACK)

    def basic_recover(self, requeue: bool = False) -> None:
        self._give_up(list(self._unacked), Act.RELEASE)

    def _give_up(self, tags: list[int], act: Act) -> None:
        deliveries = [self._unacked.pop(tag, None) for tag in tags]
        known = [Settlement(delivery, act) for delivery in deliveries if delivery is not None]
        if len(self._settle(known)) or len(known) < len(tags):
            raise LeaseLost(f"delivery {tags[-1]} is not this channel's any more; it will be delivered again")

    def _settle(self, settlements: list[Settlement]) -> list[Delivery]:
        return self.storage.settle(self._holder, settlements, _never, None, shared=False) or []

    # --- the lease ---

    def _holding(self) -> Holder:
        queues = frozenset(each.queue for each in self._consumers.values())
        if self._holder is not None and queues != self._held_queues and not self._unacked:
            self.storage.leave(self._holder)
            self._holder = None
        if self._holder is None:
            self._holder = self.storage.join(f"kombu@{socket.gethostname()}", sorted(queues), self._lease)
            self._held_queues = queues
            self._renewed_at = self._clock()
        return self._holder

    def _keep_lease(self) -> None:
        now = self._clock()
        if self._holder is None or now - self._renewed_at < self._lease / 3:
            return
        try:
            self.storage.renew(self._holder)
        except LeaseLost:
            self._holder = None
            self._unacked.clear()
            self._pending.clear()
        self._renewed_at = now
        self.storage.reap()

    # --- topology ---

    def queue_declare(
        self,
        queue: str = "",
        passive: bool = False,
        exclusive: bool = False,
        auto_delete: bool = False,
        arguments: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> QueueCount:
        queue = queue or f"taskbus.gen-{uuid.uuid4().hex}"
        expires = (arguments or {}).get("x-expires")
        seconds = expires / 1000 if expires else AUTO_DELETE_AFTER if auto_delete or exclusive else None
        if auto_delete or exclusive:
            self._own_queues.add(queue)
        return self.storage.declare_queue(queue, expires=seconds, passive=passive)

    def prepare_queue_arguments(
        self, arguments: Mapping[str, Any], expires: float | None = None, **_: Any
    ) -> Mapping[str, Any]:
        return arguments if expires is None else {**arguments, "x-expires": int(expires * 1000)}

    def queue_bind(self, queue: str, exchange: str = "", routing_key: str = "", **_: Any) -> None:
        if exchange:
            self.storage.bind(queue, exchange, routing_key or "")

    def queue_unbind(self, queue: str, exchange: str = "", routing_key: str = "", **_: Any) -> None:
        self.storage.unbind(queue, exchange, routing_key or "")

    def queue_purge(self, queue: str, **_: Any) -> int:
        return self.storage.purge(queue)

    def queue_delete(self, queue: str, if_unused: bool = False, if_empty: bool = False, **_: Any) -> int:
        self._own_queues.discard(queue)
        return self.storage.delete_queue(queue, if_unused=if_unused, if_empty=if_empty)

    def exchange_declare(self, exchange: str, type: str = "direct", passive: bool = False, **_: Any) -> None:
        if exchange:
            self.storage.declare_exchange(exchange, type, passive=passive)

    def exchange_delete(self, exchange: str, if_unused: bool = False, **_: Any) -> None:
        self.storage.delete_exchange(exchange, if_unused=if_unused)

    def close(self) -> None:
        """Give back what is not acked, and delete auto-delete queues nobody else consumes from."""
        if self.closed:
            return
        self.closed = True
        self._consumers.clear()
        if self._holder is not None:
            self.storage.leave(self._holder)
        for queue in self._own_queues:
            self.storage.delete_queue(queue, if_unused=True, if_empty=False)
        if self.connection is not None:
            self.connection.channels.remove(self)
            self.connection = None


class PublishBatch:
    """kombu's publish batch: messages are held back and accepted together, all or none at each flush."""

    def __init__(self, channel: Channel, max_size: int) -> None:
        self.channel = channel
        self._max_size = max_size
        self._parcels: list[Parcel] = []
        self._pid = os.getpid()
        self._failed: Exception | None = None

    def publish(self, message: Prepared, exchange: str = "", routing_key: str = "", **_: Any) -> None:
        self.add(parcel(message, exchange, routing_key))

    def add(self, parcel: Parcel) -> None:
        """Hold a message back; the last one there is room for sends them all."""
        if self._failed is not None:
            raise PublishFailed(f"this batch failed before: {self._failed}") from self._failed
        self._parcels.append(parcel)
        if len(self._parcels) >= self._max_size:
            self.flush()

    def flush(self) -> None:
        parcels, self._parcels = self._parcels, []
        if not parcels or self._pid != os.getpid():
            return  # what a parent held back is the parent's to send
        try:
            accept(self.channel.storage, parcels)
        except Exception as error:
            self._failed = error
            raise

    def discard(self) -> None:
        self._parcels = []
        self._failed = PublishFailed("its block raised an error")

    def close(self) -> None:
        self._parcels = []
        if self.channel.open_batch is self:
            self.channel.open_batch = None


def accept(storage: Storage, parcels: Sequence[Parcel]) -> None:
    """Publish, or raise ``PublishFailed`` with the ids it is about."""
    try:
        storage.publish(parcels)
    except PublishFailed as error:
        error.task_ids = tuple(parcel.id for parcel in parcels if parcel.id)
        raise
    except BrokerError as error:
        raise PublishFailed(str(error), [parcel.id for parcel in parcels if parcel.id]) from error


def parcel(message: Prepared, exchange: str, routing_key: str) -> Parcel:
    """The message as it is stored. A plain TaskBus message on the default exchange needs no envelope."""
    body, priority, content_type, content_encoding, headers, properties = message
    due_at = properties.get("due_at")
    if not MIN_PRIORITY <= priority <= MAX_PRIORITY:
        priority = min(max(priority, MIN_PRIORITY), MAX_PRIORITY)
    if content_type == CONTENT_TYPE and not headers and not exchange and properties.keys() <= _PLAIN:
        return Parcel(routing_key, body, priority, due_at, id=properties.get("message_id", ""))
    try:
        packed = pack(Envelope(content_type, content_encoding, {**properties}, {**headers}, exchange, routing_key))
    except EncodeError as error:
        raise PublishFailed(str(error)) from error
    return Parcel(routing_key, body, priority, due_at, packed, exchange)


def _delivery(claimed: Claimed) -> Delivery:
    return Delivery(
        claimed.tag, claimed.queue, b"", "", claimed.priority, claimed.fence, claimed.crashes, claimed.losses
    )


def _never(message: Message) -> Parcel:
    raise AssertionError("a kombu channel settles without follow-ups")
