"""One lease holder: what it consumes, what was pushed to it, and what it holds until it is settled.

Its lease is its connection: when that ends, the broker gives back everything on it, and the holder is lost unless it
held nothing. The broker pushes at most as much as the holder can take: what it holds and what it asks for now.
"""

import heapq
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from taskbus.broker.delivery import Delivery, Settlement
from taskbus.broker.transports.amqp import aftermath, frames, properties
from taskbus.broker.transports.amqp.aftermath import Part
from taskbus.broker.transports.amqp.alibis import Alibis
from taskbus.broker.transports.amqp.arrival import await_flows
from taskbus.broker.transports.amqp.calls import Got, Refused
from taskbus.broker.transports.amqp.inbox import Arrived, Delivered, Flow, Inbox, Subscription
from taskbus.broker.transports.amqp.levels import Levels
from taskbus.broker.transports.amqp.line import Line
from taskbus.broker.transports.amqp.naming import SMALLEST_DELAY
from taskbus.broker.transports.amqp.properties import Counters
from taskbus.broker.transports.amqp.topology import Topology
from taskbus.broker.transports.amqp.wire import WireLost
from taskbus.broker.transports.port import Holder
from taskbus.broker.transports.turns import in_turn, share_out
from taskbus.clock import Clock
from taskbus.errors import BrokerError, LeaseLost

UNCLAIMED_FOR = 1.0
"""Seconds after which a message that was pushed here and not claimed is given to others."""
NOT_HUNGRY_FOR = 30.0
"""Seconds after which a holder that always asked for less than a quarter of what it is pushed is pushed less."""
SEND_ON_FOR, SEND_ON_AGAIN = 1.0, 5.0
"""Seconds that a claim may take to send on what waits too long to be held, and until it is tried again."""
ACK_FOR = 0.1
"""Seconds that acks may take when the time was used up by what went before."""
logger = logging.getLogger(__name__)
Back = tuple[Arrived, Counters, float]
"""A message to be given back, with these counters, after so many seconds."""
GiveBack = Callable[[list[Back], float], None]
"""Publishes copies, and takes off the list those messages whose copies were accepted, also when it raises."""


class Held(NamedTuple):
    arrived: Arrived
    fence: int


class Holding:
    """Belongs to one storage, under its lock. ``accepted``: what settlements that are not done yet have published.

    ``alibis``: which of the losses that the broker counts were lost connections of this process, which lives.
    """

    def __init__(
        self, holder: Holder, queues: Sequence[str], line: Line, topology: Topology, now: Clock, give_back: GiveBack,
        alibis: Alibis,
    ) -> None:  # fmt: skip
        self.holder = holder
        self.queues = tuple(queues)
        self.held: dict[int, Held] = {}
        self.accepted: Counter[Part] = Counter()
        self._line = line
        self._topology = topology
        self._now = now
        self._give_back = give_back
        self._alibis = alibis
        self._inbox: Inbox | None = None
        self._prefetch = 0
        self._levels = Levels(self.queues, topology)
        self._buffers: dict[str, list[Arrived]] = {}
        self._waiting: list[tuple[float, int, Arrived]] = []
        self._to_send_on: list[Back] = []
        self._finished: set[int] = set()
        self._claimed_at = self._hungry_at = time.monotonic()
        self._send_on_at = 0.0

    # --- the lease ---

    def check(self) -> None:
        """Raises ``LeaseLost`` if the connection that held something is no more. One that held nothing is forgotten."""
        inbox = self._inbox
        if inbox is None or _is_alive(inbox):
            return
        why = inbox.wire.failure or (inbox.closed.text if inbox.closed else "it was closed")
        had_any = bool(self.held)
        if inbox.closed is None:  # else the broker took it all away, and would again: that counts
            self._alibis.note(self._everything(inbox))
        self._inbox = None
        self._prefetch = 0
        self._levels.forget()
        self._buffers.clear()
        self._waiting.clear()
        self._to_send_on.clear()
        self.held.clear()
        if had_any:
            raise LeaseLost(f"{self._line.address.where}: {why}; what this worker held belongs to others now")

    def _everything(self, inbox: Inbox) -> Iterator[bytes]:
        """The bytes of all that the broker pushed here and that is not acked."""
        yield from (each.body for each in inbox.fresh)
        yield from (held.arrived.body for held in self.held.values())
        yield from (arrived.body for buffer in self._buffers.values() for arrived in buffer)
        yield from (arrived.body for _, _, arrived in self._waiting)
        yield from (arrived.body for arrived, _, _ in self._to_send_on)

    def renew(self, until: float) -> None:
        """Tell the broker that this worker lives, and find out whether the broker does."""
        self.check()
        self._opened(until).wire.beat()
        self.check()

    def _opened(self, until: float) -> Inbox:
        wire = self._line.wire(until)
        if self._inbox is None or self._inbox.wire is not wire or not self._inbox.is_usable:
            self.check()
            self._inbox = Inbox(wire, self._line.generation)
        return self._inbox

    # --- claiming ---

    def claim(self, queues: Sequence[str], limit: int, until: float) -> list[Arrived]:
        """Take what is here for these queues, waiting a round trip for what is there when nothing is here."""
        self.check()
        self._claimed_at = time.monotonic()
        inbox = self._opened(until)
        if not set(queues) <= set(self.queues):
            return self._pull(inbox, queues, limit, until)
        self._look(inbox)
        wanted = len(self.held) + limit
        is_new = self._adjust(inbox, wanted, until)
        while is_new or not self._is_anything_for(queues):
            if is_new:
                self._await_first(inbox, queues, limit, until, is_new=True)
            else:
                inbox.ping(until)
                self._look(inbox)
            is_new = self._adjust(inbox, wanted, until)
            if not is_new:
                break
        self._await_first(inbox, queues, limit, until)
        self._send_on(until)
        self._claimed_at = time.monotonic()  # not when it was asked: on a slow line that is long ago
        return self._in_turn(queues, limit)

    def _await_first(
        self, inbox: Inbox, queues: Sequence[str], limit: int, until: float, *, is_new: bool = False
    ) -> None:
        """Wait for what goes before the next ``limit`` messages; after subscribing, also for what fills them up."""
        first = self._topology.naming.first

        def missing() -> list[Flow]:
            self._look(inbox)
            found = []
            for flow in inbox.flows.values():
                queue, level, _ = flow.subscription
                if not flow.is_complete and queue in queues:
                    ahead = self._buffers.get(queue, [])[:limit]
                    if (ahead and ahead[-1][:2] > first(queue, level)) or (is_new and len(ahead) < limit):
                        found.append(flow)
            return found

        await_flows(inbox, self._topology, missing, until)

    def _come_to_rest(self, inbox: Inbox, until: float) -> None:
        """To be done before cancelling: what comes after that the broker puts back, and counts it as a loss."""
        flows = inbox.flows
        await_flows(inbox, self._topology, lambda: [flow for flow in flows.values() if not flow.is_complete], until)

    def _cancel_all(self, inbox: Inbox, until: float) -> None:
        self._come_to_rest(inbox, until)
        inbox.cancel(list(inbox.flows), until)

    def _adjust(self, inbox: Inbox, wanted: int, until: float) -> bool:
        """Subscribe to what is missing, for as many messages as are wanted; whether anything changed."""
        is_new = self._levels.learn(inbox, until)
        if wanted > self._prefetch // 4:
            self._hungry_at = time.monotonic()
        if wanted > self._prefetch:
            self._come_to_rest(inbox, until)
            self._prefetch = wanted + wanted // 64 * 8
        elif not is_new:
            return False
        inbox.subscribe(self._levels.subscriptions(self._prefetch), self._topology.naming, until)
        return True

    def _pull(self, inbox: Inbox, queues: Sequence[str], limit: int, until: float) -> list[Arrived]:
        """Get single messages of queues this holder does not consume."""
        naming = self._topology.naming
        for queue, levels in self._topology.scan(queues, until).items():
            missing = limit - len(self._buffers.get(queue, ()))
            for level in naming.levels:
                asked = min(missing, levels.get(level, (0, 0))[0])
                for _ in range(asked):
                    inbox.post(frames.BASIC_GET, 0, naming.queue(queue, level), False)
                for _ in range(asked):
                    _, got = inbox.take(until)
                    if isinstance(got, Got):
                        missing -= 1
                        inbox.fresh.append(Delivered(Subscription(queue, level, 0), *got))
        self._look(inbox)
        self._send_on(until)
        return self._in_turn(queues, limit)

    # --- what has come ---

    def _look(self, inbox: Inbox) -> None:
        """Sort what has come: to be claimed, to wait a little, or to be sent on."""
        inbox.wire.read()
        now, wall = time.monotonic(), self._now() * 1000
        fresh, inbox.fresh = inbox.fresh, []
        for subscription, number, is_redelivered, where, packed, body in fresh:
            label = properties.label_of(packed)
            counts = self._topology.counts_losses(subscription.queue)
            if counts and label.counters.losses and (alibis := self._alibis.of(body)):
                losses = max(0, label.counters.losses - alibis)
                label = label._replace(counters=label.counters._replace(losses=losses))
            counters = label.counters
            queue = subscription.queue
            arrived = Arrived(9 - label.priority, subscription.level != "~back", number, queue, body, where, label)
            if is_redelivered and not counts and not self._alibis.use(body):
                # A classic queue does not count; so the loss is written on the message before anybody gets it.
                self._to_send_on.append((arrived, counters._replace(losses=counters.losses + 1), 0.0))
            elif not counters.wait:
                self._buffers.setdefault(queue, []).append(arrived)
            elif counters.wait >= SMALLEST_DELAY:
                self._to_send_on.append((arrived, counters, 0.0))
            else:
                waits = min(counters.wait, max(0, counters.due_at - wall)) if counters.due_at else counters.wait
                heapq.heappush(self._waiting, (now + waits / 1000, number, arrived))
        while self._waiting and self._waiting[0][0] <= now:
            arrived = heapq.heappop(self._waiting)[2]
            self._buffers.setdefault(arrived.queue, []).append(arrived)
        for buffer in self._buffers.values():
            buffer.sort(key=_order)

    def _send_on(self, until: float) -> None:
        now = time.monotonic()
        if not self._to_send_on or now < self._send_on_at:
            return
        try:
            self._return(self._to_send_on, min(until, now + SEND_ON_FOR))
        except BrokerError as error:  # others must not wait for these, which are safe where they are
            logger.warning("cannot send on %d messages, trying again: %s", len(self._to_send_on), error)
            self._send_on_at = time.monotonic() + SEND_ON_AGAIN

    def _return(self, messages: list[Back], until: float) -> None:
        """Put copies back into their queues, then ack these. Those that were not accepted stay on the list."""
        arrived = {arrived.number: arrived for arrived, _, _ in messages}
        try:
            self._give_back(messages, until)
        finally:
            for kept, _, _ in messages:
                del arrived[kept.number]
            self._ack(list(arrived.values()), max(until, time.monotonic() + ACK_FOR))

    def _is_anything_for(self, queues: Iterable[str]) -> bool:
        return any(self._buffers.get(queue) for queue in queues)

    def _in_turn(self, queues: Sequence[str], limit: int) -> list[Arrived]:

        def take(queue: str, count: int) -> list[Arrived]:
            buffer = self._buffers[queue]
            taken = buffer[:count]
            del buffer[:count]
            return taken

        return in_turn(share_out([queue for queue in queues if self._buffers.get(queue)], limit, take).values())

    @property
    def has_more(self) -> bool:
        """Whether something came that nobody has claimed."""
        inbox = self._inbox
        return inbox is not None and bool(inbox.fresh or inbox.news or inbox.is_cancelled)

    def next_due_in(self) -> float | None:
        """Seconds until a message that waits here is due."""
        return self._waiting[0][0] - time.monotonic() if self._waiting else None

    # --- settling ---

    def is_held(self, delivery: Delivery) -> bool:
        held = self.held.get(delivery.tag)
        return held is not None and held.fence == delivery.fence

    def is_finished(self, delivery: Delivery) -> bool:
        """Whether it was settled by a call that raised an error for others."""
        return delivery.tag in self._finished

    def finish(self, settlements: Iterable[Settlement], until: float) -> None:
        """Ack what was settled."""
        arrived = [self.held.pop(each.delivery.tag).arrived for each in settlements if each.delivery]
        with suppress(WireLost):  # they come again, to whoever holds a lease; all else was done
            self._ack(arrived, until)

    def finish_early(self, settlements: Sequence[Settlement], until: float) -> None:
        """Ack those that need not wait for the others; settled again with those, they are neither done nor stale."""
        done = [settlement for settlement, missing in aftermath.missing(settlements, self.accepted) if not missing]
        self.finish(done, max(until, time.monotonic() + ACK_FOR))
        self._finished |= {each.delivery.tag for each in done if each.delivery}

    def forget(self, settlements: Iterable[Settlement]) -> None:
        """All of these are settled, and will not be settled again."""
        self._finished.difference_update(each.delivery.tag for each in settlements if each.delivery)
        if self.accepted:
            self.accepted -= Counter(part for each in settlements for part in aftermath.parts(each))

    def _ack(self, messages: Sequence[Arrived], until: float) -> None:
        if not messages:
            return
        assert self._inbox is not None
        self._inbox.ack([arrived.number for arrived in messages])
        for arrived in messages:
            self._alibis.forget(arrived.body)
        self._inbox.wire.flush(until)

    # --- giving back ---

    def relieve(self, until: float) -> None:
        """Give to others what was pushed here and is not needed, and take no more until the next claim."""
        inbox = self._inbox
        if inbox is None or not inbox.is_usable:
            return
        inbox.wire.read()
        if not self.held and inbox.split():
            self._come_to_rest(inbox, until)
            inbox.merge(self._levels.subscriptions(self._prefetch), self._topology.naming, until)
        if not (inbox.fresh or self._is_anything_for(self.queues)):
            return
        now = time.monotonic()
        if now - self._claimed_at < UNCLAIMED_FOR and now - self._hungry_at < NOT_HUNGRY_FOR:
            return
        self._cancel_all(inbox, until)
        self._prefetch = 0
        self._look(inbox)
        self._return_unclaimed(self._buffers, until)

    def _return_unclaimed(self, queues: Iterable[str], until: float) -> None:
        unclaimed = [arrived for queue in list(queues) for arrived in self._buffers.pop(queue, ())]
        messages = [(arrived, arrived.counters, 0.0) for arrived in unclaimed]
        try:
            self._return(messages, until)
        finally:
            for arrived, _, _ in messages:
                self._buffers.setdefault(arrived.queue, []).append(arrived)

    def attend(self, queues: Sequence[str], until: float) -> None:
        """Consume these from the next claim on; what was pushed from others and is not claimed goes back."""
        inbox = self._inbox
        if inbox is not None and inbox.is_usable:
            self._cancel_all(inbox, until)
            inbox.fall_deaf(until)
            self._look(inbox)
        self._prefetch = 0
        self.queues = tuple(queues)
        self._levels = Levels(self.queues, self._topology)
        self._return_unclaimed(self._buffers.keys() - {*queues}, until)

    def leave(self, until: float) -> None:
        """Give back everything, uncounted. What a lost connection held the broker gives back, and counts it."""
        inbox = self._inbox
        if inbox is None or not _is_alive(inbox):
            return
        try:
            self._return_everything(inbox, until)
        except (BrokerError, Refused, WireLost):
            if inbox.is_usable:
                raise
        finally:
            with suppress(WireLost):
                inbox.close(until)
            self.held.clear()
            self._inbox = None

    def _return_everything(self, inbox: Inbox, until: float) -> None:
        self._cancel_all(inbox, until)
        self._look(inbox)
        everything = [held.arrived for held in self.held.values()]
        everything += [arrived for buffer in self._buffers.values() for arrived in buffer]
        messages = [(arrived, arrived.counters, 0.0) for arrived in sorted(everything, key=_order)]
        messages += self._to_send_on
        now = time.monotonic()
        messages += [(arrived, arrived.counters, max(0.0, due - now)) for due, _, arrived in self._waiting]
        if messages:
            self._return(messages, until)


def _is_alive(inbox: Inbox) -> bool:
    while inbox.wire.read():  # to the end: a hang-up stands behind the heartbeats of the time we were stopped
        pass
    return inbox.is_usable


def _order(arrived: Arrived) -> tuple[int, bool, int]:
    return arrived[:3]
