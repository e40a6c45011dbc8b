"""The RabbitMQ transport: a ``Storage`` on AMQP 0-9-1.

A settlement is not atomic here: the store's changes come first, then follow-ups and copies are published and
confirmed, then deliveries are acked. Dying in between repeats a message, and never loses one. AMQP confirms no ack: one
that was on its way when the connection died is as if it had not been sent. What is given back is published anew with
its counters, since AMQP's own requeueing would count a loss.
"""

import os
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count

from taskbus.broker.delivery import Delivery, Record, Settlement
from taskbus.broker.queues import QueueSize, WorkerEntry
from taskbus.broker.transports.amqp import address, aftermath, examination, outbox, peeking, properties
from taskbus.broker.transports.amqp.aftermath import Part
from taskbus.broker.transports.amqp.alibis import Alibis
from taskbus.broker.transports.amqp.calls import Refused
from taskbus.broker.transports.amqp.desk import Desk
from taskbus.broker.transports.amqp.holding import Held, Holding
from taskbus.broker.transports.amqp.inbox import Arrived
from taskbus.broker.transports.amqp.naming import Naming
from taskbus.broker.transports.amqp.promises import FEATURES
from taskbus.broker.transports.amqp.properties import Counters
from taskbus.broker.transports.amqp.watch import AmqpWatch
from taskbus.broker.transports.amqp.wire import TooLate, WireLost
from taskbus.broker.transports.kombu_transport import StorageTransport
from taskbus.broker.transports.port import Claimed, Claims, Holder, Opening, Parcel, QueueCount, sealed
from taskbus.database.remark import Remark
from taskbus.errors import BrokerError, LeaseLost, PublishFailed
from taskbus.failpoint import failpoint
from taskbus.message import Message

LONGEST_GOODBYE = 1.0
"""Seconds to wait until the broker has heard all that was said."""


class AmqpStorage:
    """A ``Storage`` on RabbitMQ."""

    features = FEATURES
    database = ""

    def __init__(self, opening: Opening) -> None:
        self.now = opening.clock
        self._timeout = opening.timeout
        self._celery_queues = opening.celery_queues
        self._address = address.read(opening.url)
        self._lock = threading.RLock()
        self._forget_everything()

    def _forget_everything(self) -> None:
        self._pid = os.getpid()
        naming = Naming(self._address, self._celery_queues)
        self._in = self._out = Desk(self._address, naming)
        self._holdings: dict[int, Holding] = {}
        self._alibis = Alibis()
        self._watches: list[AmqpWatch] = []
        self._tags = count(1)
        self._holders = count(1)
        self._last_fence = 0

    @contextmanager
    def _using(self) -> Iterator[float]:
        """Alone, in this process; yields the instant until which it may take. Its errors become ours."""
        with self._lock:
            if self._pid != os.getpid():
                for desk in {self._in, self._out}:
                    desk.line.abandon()
                self._forget_everything()
            try:
                yield time.monotonic() + self._timeout
            except Refused as refused:
                raise BrokerError(f"{self._address.where} refused: {refused.text}") from refused
            except TooLate:
                raise BrokerError(f"{self._address.where} did not answer within {self._timeout:g} s") from None
            except WireLost as error:
                raise BrokerError(f"{self._address.where}: {error}") from error
            finally:
                self._follow()

    def _follow(self) -> None:
        """Let the watches see the connection there is now, and what came in while they did not look."""
        if not self._watches:
            return
        wire = self._in.line.open_wire
        for watch in self._watches:
            if wire is not None:
                watch.follow(wire)
            if any(holding.has_more for holding in self._holdings.values()):
                watch.ring()

    # --- in ---

    def publish(self, parcels: Sequence[Parcel]) -> None:
        """See ``Storage``. A batch may be accepted in part: ``PublishUnknown`` then says how much of it was."""
        failpoint("publish.before")
        try:
            with self._using() as until:
                desk = self._publishing()
                desk.publisher.publish(outbox.sent(parcels, desk.topology, self.now(), until), until)
        except BrokerError as error:
            raise PublishFailed(f"{error}; nothing was sent") from error
        failpoint("publish.after")

    def _publishing(self) -> Desk:
        """Where to publish: never where deliveries are held, since a broker short of memory stops reading there."""
        if self._holdings and self._out is self._in:
            self._out = Desk(self._address, self._in.naming, self._in)
        self._out.line.beside = self._in.line if self._in is not self._out else None
        return self._out

    def _give_back(self, messages: list[tuple[Arrived, Counters, float]], until: float) -> None:
        """See ``GiveBack``."""
        desk = self._publishing()
        letters = outbox.given_back(messages, desk.topology, self.now(), until)
        try:
            with _ours():
                desk.publisher.publish(letters, until)
        finally:
            unaccepted = desk.publisher.unaccepted
            messages[:] = [each for each, letter in zip(messages, letters, strict=True) if id(letter) in unaccepted]

    # --- leases ---

    def join(self, name: str, queues: Sequence[str], lease: float) -> Holder:
        """Connects to nothing yet: until something is claimed there is nothing to lose."""
        with self._using():
            if self._in is self._out and self._out.publisher.is_used:
                self._in = Desk(self._address, self._out.naming, self._out)
            heartbeat = max(1, round(lease / 2))
            line = self._in.line
            wire = line.open_wire
            if wire is not None and not self._holdings and not 0 < wire.heartbeat <= heartbeat:
                line.close(self._timeout)  # it was made before the lease was known
            line.heartbeat = min(heartbeat, line.heartbeat) if self._holdings else heartbeat
            holder = Holder(next(self._holders), uuid.uuid4().hex, lease)
            self._holdings[holder.id] = Holding(
                holder, queues, line, self._in.topology, self.now, self._give_back, self._alibis
            )
        return holder

    def renew(self, holder: Holder) -> None:
        failpoint("renew.before")
        with self._using() as until, self._lease_of(holder) as holding:
            holding.renew(until)
            holding.relieve(until)

    @contextmanager
    def _lease_of(self, holder: Holder) -> Iterator[Holding]:
        """Its holding; one that lost its lease is forgotten."""
        holding = self._holdings.get(holder.id)
        if holding is None or holding.holder is not holder:
            raise LeaseLost(f"the lease of worker {holder.incarnation} was lost with its connection")
        try:
            yield holding
        except LeaseLost:
            del self._holdings[holder.id]
            raise

    def reap(self) -> int:
        """The broker gives back what the dead held; here the living show that they are."""
        with self._using() as until:
            for holding in self._holdings.values():
                holding.relieve(until)
            wire = self._in.line.open_wire
            if wire is not None:
                wire.beat()
        return 0

    def attend(self, holder: Holder, queues: Sequence[str]) -> None:
        with self._using() as until, self._lease_of(holder) as holding:
            holding.attend(queues, until)

    def leave(self, holder: Holder) -> None:
        failpoint("release.before")
        with self._using() as until:
            holding = self._holdings.get(holder.id)
            if holding is None:
                return
            try:
                holding.leave(until)
            finally:
                self._holdings.pop(holder.id, None)

    # --- out ---

    def claim(self, holder: Holder, queues: Sequence[str], limit: int) -> Claims:
        with self._using() as until, self._lease_of(holder) as holding:
            if limit < 1:
                holding.check()
                return Claims([], self._due_at(holding))
            arrived = holding.claim(queues, limit, until)
            failpoint("fetch.inside")
            fence = self._last_fence = max(self._last_fence + 1, time.time_ns() // 1000)
            claimed = []
            for each in arrived:
                tag = next(self._tags)
                holding.held[tag] = Held(each, fence)
                label = each.label
                packed = None if label.envelope is None else properties.envelope(label, each.where, each.queue)
                crashes, losses, *_ = label.counters
                claimed.append(Claimed(each.rank, tag, each.queue, each.body, packed, fence, crashes, losses))
            claims = Claims(claimed, self._due_at(holding))
        failpoint("fetch.after")
        return claims

    def _due_at(self, holding: Holding) -> float | None:
        due_in = holding.next_due_in()
        return None if due_in is None else self.now() + due_in

    # --- settling ---

    def settle(
        self,
        holder: Holder | None,
        settlements: Sequence[Settlement],
        encode: Callable[[Message], Parcel],
        record: Record | None,
        *,
        shared: bool,
    ) -> list[Delivery] | None:
        """See ``Storage``, and this module's docstring for the order in which it is done."""
        failpoint("settle.before")
        with self._using() as until:
            holding = self._holdings.get(holder.id) if holder is not None else None
            if holding is not None:
                try:
                    holding.check()
                except LeaseLost:  # its next claim or renewal says so; here all are stale
                    del self._holdings[holding.holder.id]
            to_do, stale = _split(holding, settlements)
            changes = [change for each in to_do for change in each.changes]
            ready: list[Parcel] = []
            if record is not None and changes:
                recorded = record(changes, None)
                if recorded is None:
                    return None
                ready = list(map(sealed, recorded.ready))
            try:
                self._publish_for(holding, to_do, encode, ready, until)
            except BrokerError:
                if holding is not None:  # what made others ready waits for them, and is recorded again with them
                    holding.finish_early([each for each in to_do if not (ready and each.changes)], until)
                raise
            failpoint("settle.inside")
            if holding is not None:
                holding.finish(to_do, until)
                holding.forget(settlements)
        failpoint("settle.after")
        return stale

    def _publish_for(
        self,
        holding: Holding | None,
        settlements: Sequence[Settlement],
        encode: Callable[[Message], Parcel],
        ready: Sequence[Parcel],
        until: float,
    ) -> None:
        """Publish what is ready, the follow-ups, and copies of what is given back; not what was accepted last time."""
        accepted: Counter[Part] = Counter() if holding is None else holding.accepted
        held: dict[int, Held] = {} if holding is None else holding.held
        with _ours():
            aftermath.publish(
                settlements, accepted, encode, lambda tag: held[tag].arrived, self._publishing(),
                ready=ready, now=self.now(), until=until,
            )  # fmt: skip

    # --- views ---

    def sizes(self) -> list[QueueSize]:
        """Of the queues this process named: AMQP lists none. What is delayed or held is not counted."""
        with self._using() as until:
            found = self._in.topology.scan(sorted({*self._in.topology.names, *self._out.topology.names}), until)
        return [
            QueueSize(queue, sum(ready for ready, _ in levels.values()), 0, 0, None)
            for queue, levels in found.items()
            if levels
        ]

    def withdraw(self, claimed: Claimed) -> bool:
        return False  # nothing is taken out of the middle of a queue

    def peek(self, queue: str, limit: int) -> list[Claimed]:
        """Takes the messages off for a moment, and puts them back ahead of the others. The delayed are not seen."""
        with self._using() as until:
            return peeking.peek(queue, limit, self._in.topology, self._give_back, until)

    def workers(self) -> list[WorkerEntry]:
        return []  # AMQP does not say who is connected

    def ping(self) -> None:
        with self._using() as until:
            self._in.line.calls(until).ping(until)

    def examine(self) -> list[Remark]:
        with self._using() as until:
            queues = dict.fromkeys(queue for holding in self._holdings.values() for queue in holding.queues)
            return examination.examine(self._in.topology, queues, until)

    def watch(self) -> AmqpWatch:
        with self._using():
            watch = AmqpWatch(self._drain, self._unwatch)
            self._watches.append(watch)
        return watch

    def _drain(self) -> None:
        """Take in what has come, so that the descriptor falls silent; claims find it."""
        with self._lock:
            wire = self._in.line.open_wire
            if wire is not None and self._pid == os.getpid():
                wire.read()

    def _unwatch(self, watch: AmqpWatch) -> None:
        if watch in self._watches:
            self._watches.remove(watch)

    def close(self) -> None:
        with self._using():
            for desk in {self._in, self._out}:
                desk.line.close(min(self._timeout, LONGEST_GOODBYE))
            self._holdings.clear()

    # --- topology ---

    def purge(self, queue: str) -> int:
        with self._using() as until:
            return self._in.topology.purge(queue, until)

    def declare_queue(self, queue: str, *, expires: float | None, passive: bool) -> QueueCount:
        with self._using() as until:
            return self._in.topology.declare_queue(queue, expires, until, passive=passive)

    def delete_queue(self, queue: str, *, if_unused: bool, if_empty: bool) -> int:
        with self._using() as until:
            return self._in.topology.delete_queue(queue, until, if_unused=if_unused, if_empty=if_empty)

    def declare_exchange(self, exchange: str, type: str, *, passive: bool) -> None:
        with self._using() as until:
            self._in.topology.declare_exchange(exchange, type, until, passive=passive)

    def delete_exchange(self, exchange: str, *, if_unused: bool) -> None:
        with self._using() as until:
            self._in.topology.delete_exchange(exchange, until, if_unused=if_unused)

    def bind(self, queue: str, exchange: str, key: str) -> None:
        with self._using() as until:
            self._in.topology.bind(queue, exchange, key, until)

    def unbind(self, queue: str, exchange: str, key: str) -> None:
        with self._using() as until:
            self._in.topology.unbind(queue, exchange, key, until)


@contextmanager
def _ours() -> Iterator[None]:
    """What could not be published makes the operation that needed it fail, with an error of its own kind."""
    try:
        yield
    except PublishFailed as error:
        raise BrokerError(str(error)) from error


def _split(holding: Holding | None, settlements: Sequence[Settlement]) -> tuple[list[Settlement], list[Delivery]]:
    """Those still held, and the deliveries of the others; of two for the same delivery the second is stale."""
    seen: set[int] = set()
    to_do, stale = [], []
    for each in settlements:
        delivery = each.delivery
        if delivery is None:
            to_do.append(each)
        elif holding is not None and holding.is_finished(delivery):
            continue
        elif holding is not None and holding.is_held(delivery) and delivery.tag not in seen:
            seen.add(delivery.tag)
            to_do.append(each)
        else:
            stale.append(delivery)
    return to_do, stale


class AmqpTransport(StorageTransport):
    """kombu's name for it."""

    open = AmqpStorage
