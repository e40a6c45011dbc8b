"""What the broker pushed to one lease holder: a channel of its own, its subscriptions, and the messages on it.

Deliveries are only noted as they come; what they say is looked at when they are claimed. ``settle`` acks by as few
frames as the order of the tags allows.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from taskbus.broker.transports.amqp import frames
from taskbus.broker.transports.amqp.calls import Calls
from taskbus.broker.transports.amqp.naming import Naming
from taskbus.broker.transports.amqp.properties import Counters, Label
from taskbus.broker.transports.amqp.wire import Wire


class Arrived(NamedTuple):
    """A message on this channel that is not acked. They sort into the order in which they are to be handed out."""

    rank: int
    is_new: bool
    number: int
    queue: str
    body: bytes
    where: bytes
    label: Label

    @property
    def counters(self) -> Counters:
        """To be sent on with, now that it has waited."""
        return self.label.counters._replace(wait=0, due_at=0)


class Subscription(NamedTuple):
    queue: str
    level: str
    prefetch: int


class Delivered(NamedTuple):
    """A delivery nobody has looked at yet."""

    subscription: Subscription
    number: int
    is_redelivered: bool
    where: bytes
    properties: bytes
    body: bytes


class Flow:
    """What comes from one subscription. ``unacked``: messages from it; ``room``: how many the broker could still push.

    The broker pushes the rest when it has seen acks, and tells nobody how much that is: where ``room`` was used up and
    not everything is unacked, more may be on its way.
    """

    __slots__ = ("room", "subscription", "unacked")

    def __init__(self, subscription: Subscription) -> None:
        self.subscription = subscription
        self.unacked = self.room = 0

    @property
    def is_complete(self) -> bool:
        """Whether all has come that was in the queue when it was last asked, or as much as may come."""
        return self.room > 0 or self.unacked >= self.subscription.prefetch

    def complete(self) -> None:
        """The queue has no more, for now."""
        self.room = self.subscription.prefetch - self.unacked


class Inbox(Calls):
    """One holder's channel. ``number``s of messages are AMQP's delivery tags, which grow from 1."""

    def __init__(self, wire: Wire, generation: int) -> None:
        super().__init__(wire)
        self.generation = generation
        self.fresh: list[Delivered] = []
        self.flows: dict[bytes, Flow] = {}
        self.news: list[tuple[str, str]] = []
        self.is_cancelled = False
        self._all: dict[bytes, Flow] = {}
        self._tags = 0
        self.has_news = False
        self._open: dict[int, Flow | None] = {}

    # --- subscribing ---

    def subscribe(self, wanted: Iterable[Subscription], naming: Naming, until: float) -> None:
        """Consume from these, and from nothing else, with this many messages unacked at most on each.

        What holds messages gets another subscription beside it for what it lacks, until they are merged: RabbitMQ takes
        nothing back from one that is cancelled while its node is down (3.10).
        """
        missing = {(each.queue, each.level): each.prefetch for each in wanted}
        held: dict[tuple[str, str], dict[bytes, Flow]] = {}
        for tag, flow in self.flows.items():
            held.setdefault(flow.subscription[:2], {})[tag] = flow
        superfluous: list[bytes] = []
        for place, flows in held.items():
            lacking = missing.get(place, 0) - sum(flow.subscription.prefetch for flow in flows.values())
            if lacking:
                idle = [tag for tag, flow in flows.items() if lacking < 0 or not flow.unacked]
                superfluous += idle
                lacking += sum(flows[tag].subscription.prefetch for tag in idle)
            missing[place] = lacking
        self._post_cancel(superfluous)
        asked = self._post_consume([Subscription(*place, prefetch) for place, prefetch in missing.items()], naming)
        self._take_cancelled(superfluous, until)
        for _ in range(asked):
            self.take(until)

    def split(self) -> list[bytes]:
        """The subscriptions that hold nothing, where several of one queue do not."""
        idle: dict[tuple[str, str], list[bytes]] = {}
        for tag, flow in self.flows.items():
            if not flow.unacked:
                idle.setdefault(flow.subscription[:2], []).append(tag)
        return [tag for tags in idle.values() if len(tags) > 1 for tag in tags]

    def merge(self, wanted: Iterable[Subscription], naming: Naming, until: float) -> None:
        """As ``subscribe``, with one subscription in the place of those that are ``split``."""
        self.cancel(self.split(), until)
        self.subscribe(wanted, naming, until)

    def _post_consume(self, missing: Sequence[Subscription], naming: Naming) -> int:
        """Ask for these, but for those of nothing; how many answers there will be."""
        asked = 0
        for prefetch in sorted({each.prefetch for each in missing if each.prefetch}):
            self.post(frames.BASIC_QOS, 0, prefetch, False)
            asked += 1
            for each in sorted(missing):
                if each.prefetch == prefetch:
                    self._tags += 1
                    tag = b"%d" % self._tags
                    self.flows[tag] = self._all[tag] = Flow(each)
                    name = naming.queue(each.queue, each.level)
                    self.post(frames.BASIC_CONSUME, 0, name, tag.decode(), False, False, False, False, {})
                    asked += 1
        return asked

    def cancel(self, tags: Iterable[bytes], until: float) -> None:
        """Consume from these no more. What is on its way from them still arrives."""
        tags = list(tags)
        self._post_cancel(tags)
        self._take_cancelled(tags, until)

    def _post_cancel(self, tags: Iterable[bytes]) -> None:
        for tag in tags:
            self.post(frames.BASIC_CANCEL, tag.decode(), False)
            self.flows.pop(tag, None)

    def _take_cancelled(self, tags: Iterable[bytes], until: float) -> None:
        for tag in tags:
            self.take(until)
            self._all.pop(tag, None)  # nothing comes from it after this answer

    def listen(self, queues: Iterable[str], naming: Naming, until: float) -> None:
        """Hear of new levels of these queues, through a queue that goes with the connection."""
        self.post(frames.QUEUE_DECLARE, 0, "", False, False, True, True, False, {})
        _, (name, *_) = self.take(until)
        asked = 1
        for queue in queues:
            self.post(frames.QUEUE_BIND, 0, name, naming.news, naming.queue(queue), False, {})
            asked += 1
        self.post(frames.BASIC_CONSUME, 0, name, "news", False, True, True, False, {})
        for _ in range(asked):
            self.take(until)
        self.has_news = True

    def fall_deaf(self, until: float) -> None:
        """Hear of new levels no longer, until told to ``listen`` again."""
        if self.has_news:
            self.post(frames.BASIC_CANCEL, "news", False)
            self.take(until)
            self.has_news = False

    # --- hearing ---

    def on_delivery(
        self, consumer: bytes, tag: int, is_redelivered: bool, where: bytes, properties: bytes, body: bytes
    ) -> None:
        if consumer == b"news":
            self.news.append((where[2 + where[0] :].decode(), body.decode()))
            return
        flow = self._open[tag] = self._all[consumer]
        flow.unacked += 1
        flow.room -= 1
        self.fresh.append(Delivered(flow.subscription, tag, is_redelivered, where, properties, body))

    def on_content(self, id: int, arguments: bytes, properties: bytes, body: bytes) -> None:
        super().on_content(id, arguments, properties, body)
        if id == frames.BASIC_GET_OK.id:
            self._open[self.answers[-1][1].tag] = None

    def on_method(self, id: int, packed: bytes) -> None:
        if id == frames.BASIC_CANCEL.id:
            tag, _ = frames.arguments(id, packed)
            self.flows.pop(tag.encode(), None)
            self._all.pop(tag.encode(), None)
            self.has_news = self.has_news and tag != "news"
            self.is_cancelled = True
        else:
            super().on_method(id, packed)

    # --- acking ---

    def ack(self, numbers: Iterable[int]) -> None:
        """Post acks. Whatever is acked was acked by nobody before."""
        numbers = sorted(numbers)
        for number in numbers:
            flow = self._open.pop(number, None)
            if flow is not None:
                flow.unacked -= 1
        oldest = min(self._open, default=numbers[-1] + 1)
        below = bisect_left(numbers, oldest)
        if below:
            self.post(frames.BASIC_ACK, numbers[below - 1], True)
        for number in numbers[below:]:
            self.post(frames.BASIC_ACK, number, False)
