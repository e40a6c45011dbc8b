"""Settling: acks, what is given back, what follows and what the store records, in one script."""

from collections.abc import Callable, Sequence
from typing import Any

from taskbus.broker.delivery import Act, Delivery, Record, Settlement
from taskbus.broker.transports.port import Holder, Parcel, sealed
from taskbus.broker.transports.redis import pushing
from taskbus.broker.transports.redis.holding import Holding, Place, apart, once_each, place
from taskbus.broker.transports.redis.session import Session, failure, script
from taskbus.database.redis import RedisError, RedisTransaction, ReplyLost
from taskbus.database.redis_script import joined
from taskbus.errors import BrokerError, PublishFailed
from taskbus.failpoint import failpoint
from taskbus.message import Message

Encode = Callable[[Message], Parcel]
SETTLE = script("push", "sealed", "settle")
HELD = script("held")
DONE, STALE, REFUSED = 0, 1, 2


class _Refused(Exception):
    """The store refused a change."""


class Settling:
    """How one storage settles."""

    def __init__(self, session: Session, publish: Callable[[Sequence[Parcel]], None]) -> None:
        self._session = session
        self._publish = publish

    def settle(
        self, holder: Holder | None, holding: Holding | None, settlements: Sequence[Settlement], encode: Encode,
        record: Record | None, *, shared: bool,
    ) -> list[Delivery] | None:  # fmt: skip
        """See ``Storage.settle``. ``holding`` None, though there is a holder: its lease is known to be gone.

        ``record`` is asked again without the deliveries that turn out to be stale: nothing that it hands over to the
        transaction is written before the server has found all of them held.
        """
        failpoint("settle.before")
        kept, stale = once_each(settlements)
        if holding is None or holding.is_lost:
            kept, more = apart(kept, [place(each.delivery) for each in kept if each.delivery])
            stale += more
        ready: list[Parcel] = []
        try:
            if record is not None and not shared:
                kept, more = self._held(holder, holding, kept)
                stale += more
                ready = _recorded(record, kept, None)
                record = None
            if self._session.is_cluster:
                kept, more = self._sent_elsewhere(holder, holding, kept, encode, ready)
                stale += more
                ready = []
            for together in self._apart(kept):
                left: Sequence[Settlement] = together
                while left or ready:
                    left, ready, more = self._step(holder, holding, left, encode, record, ready)
                    stale += more
        except _Refused:
            return None
        failpoint("settle.after")
        return stale

    def _step(
        self, holder: Holder | None, holding: Holding | None, settlements: Sequence[Settlement], encode: Encode,
        record: Record | None, ready: list[Parcel],
    ) -> tuple[list[Settlement], list[Parcel], list[Delivery]]:  # fmt: skip
        """Try to settle all, and to publish what is ``ready``; what is left to do of both, and what was stale.

        When a reply is lost that said whether something was published, it is published again after the next record.
        """
        if holding is not None and holding.unsettled:
            settlements = self._without_settled(holder, holding, settlements)
            if not settlements and not ready:
                return [], [], []
        transaction = RedisTransaction()
        if record is not None:
            _recorded(record, settlements, transaction)
        queues: dict[str, int] = {}
        args = _arguments(settlements, queues, encode, self._session.about_now(), ready)
        try:
            answer = self._run(holder, transaction, list(queues), args)
        except ReplyLost as error:
            if holding is None or not settlements or any(each.delivery is None for each in settlements):
                raise failure(error) from error
            holding.unsettled |= {place(each.delivery) for each in settlements if each.delivery}
            left = self._without_settled(holder, holding, settlements)
            return left, ready if left else [], []
        except RedisError as error:
            raise failure(error) from error
        if answer[0] == REFUSED:
            raise _Refused
        if answer[0] == DONE:
            return [], [], []
        names = list(queues)
        places = [(names[i - 1], int(f)) for i, f in zip(answer[1::2], answer[2::2], strict=True)]
        left, stale = apart(settlements, places)
        return left, ready, stale

    def _run(
        self, holder: Holder | None, transaction: RedisTransaction, queues: Sequence[str], args: Sequence[Any]
    ) -> Any:
        payload = transaction.payload
        return self._session.attempt(
            joined(transaction.fragment, SETTLE),
            [self._session.keys.base(queue) for queue in queues] or [self._session.keys.home],
            (holder.incarnation if holder else "", int(payload is not None), payload or b"", *args),
            midway="settle.inside",
        )

    # --- on a Cluster ---

    def _apart(self, settlements: Sequence[Settlement]) -> Sequence[Sequence[Settlement]]:
        """As they may be settled in one step: all together, on a Cluster those of each queue."""
        if not self._session.is_cluster:
            return [settlements]
        by_queue: dict[str, list[Settlement]] = {}
        for each in settlements:
            if each.delivery is not None:
                by_queue.setdefault(each.delivery.queue, []).append(each)
        return list(by_queue.values())

    def _sent_elsewhere(
        self, holder: Holder | None, holding: Holding | None, settlements: Sequence[Settlement], encode: Encode,
        ready: Sequence[Parcel],
    ) -> tuple[list[Settlement], list[Delivery]]:  # fmt: skip
        """Publish what follows in other queues, of deliveries that are held; what is left to do, and what is stale.

        So is what is ``ready``, in any queue. This comes first: dying after it repeats a message, and loses none.
        """
        if not ready and not any(_elsewhere(each) for each in settlements):
            return list(settlements), []
        kept, stale = self._held(holder, holding, settlements)
        kept = self._without_settled(holder, holding, kept) if holding is not None and holding.unsettled else kept
        parcels = [*ready, *(encode(message) for each in kept for message in _elsewhere(each))]
        try:
            self._publish(parcels)
        except PublishFailed as error:
            raise BrokerError(str(error)) from error
        return [
            each._replace(follow_ups=[message for message in each.follow_ups if message.queue == each.delivery.queue])
            for each in kept
            if each.delivery is not None
        ], stale

    # --- what is held ---

    def _held(
        self, holder: Holder | None, holding: Holding | None, settlements: Sequence[Settlement]
    ) -> tuple[list[Settlement], list[Delivery]]:
        """Those whose deliveries are held, or were settled by a call whose reply was lost; and the stale deliveries."""
        asked = [place(each.delivery) for each in settlements if each.delivery]
        if not asked or holder is None or holding is None:
            return list(settlements), []
        found = self.look_up(holder, asked)
        holding.is_lost = any(state is None for state in found.values())
        gone = [each for each in asked if not (found[each] or (found[each] is False and each in holding.unsettled))]
        return apart(settlements, gone)

    def _without_settled(
        self, holder: Holder | None, holding: Holding, settlements: Sequence[Settlement]
    ) -> list[Settlement]:
        """Leave out what an earlier call settled whose reply was lost: the lease is there, the delivery is not."""
        asked = [
            place(each.delivery) for each in settlements if each.delivery and place(each.delivery) in holding.unsettled
        ]
        if not asked or holder is None:
            return list(settlements)
        found = self.look_up(holder, asked)
        holding.unsettled.difference_update(asked)
        return apart(settlements, [each for each in asked if found[each] is False])[0]

    def look_up(self, holder: Holder, places: Sequence[Place]) -> dict[Place, bool | None]:
        """Whether the holder has these deliveries; None where it has no lease any more."""
        by_queue: dict[str, list[Place]] = {}
        for each in places:
            by_queue.setdefault(each[0], []).append(each)
        found: dict[Place, bool | None] = {}
        for queues in [[queue] for queue in by_queue] if self._session.is_cluster else [list(by_queue)]:
            args = [arg for queue in queues for arg in (len(by_queue[queue]), *(each[1] for each in by_queue[queue]))]
            bases = [self._session.keys.base(queue) for queue in queues]
            answer = self._session.run(HELD, bases, (holder.incarnation, *args), repeatable=True)
            for queue, is_held in zip(queues, answer, strict=True):
                states = [None] * len(by_queue[queue]) if is_held == 0 else [bool(each) for each in is_held]
                found.update(zip(by_queue[queue], states, strict=True))
        return found


def _arguments(
    settlements: Sequence[Settlement], queues: dict[str, int], encode: Encode, now: float, ready: Sequence[Parcel]
) -> list[Any]:
    """What ``settle.lua`` reads from ARGV[7] on. ``queues`` are the keys, and grow. ``ready`` is published too."""
    acks: dict[str, list[int]] = {}
    returns: dict[str, list[tuple[int, int, float]]] = {}
    parcels = list(ready)
    for each in settlements:
        if each.follow_ups:
            parcels.extend([encode(message) for message in each.follow_ups])
        delivery = each.delivery
        if delivery is None:
            continue
        queue = delivery.queue
        if queue not in queues:
            pushing.places(queues, queue)
            acks[queue], returns[queue] = [], []
        if each.act is Act.ACK:
            acks[queue].append(delivery.fence)
        else:
            returns[queue].append((delivery.fence, int(each.act is Act.CRASH), each.delay))
    args: list[Any] = [len(queues)]
    for queue in queues:
        args += (len(acks[queue]), len(returns[queue]), *acks[queue])
        for row in sorted(returns[queue], reverse=True):
            args += row
    return args + pushing.arguments(parcels, queues, 0, now)


def _elsewhere(settlement: Settlement) -> list[Message]:
    """What follows in another queue than the delivery's."""
    delivery = settlement.delivery
    return [message for message in settlement.follow_ups if delivery is None or message.queue != delivery.queue]


def _recorded(record: Record, settlements: Sequence[Settlement], transaction: RedisTransaction | None) -> list[Parcel]:
    """Have the store record the changes of settlements; what is to be published with it. Raises ``_Refused``."""
    changes = [change for settlement in settlements for change in settlement.changes]
    if not changes:
        return []
    recorded = record(changes, transaction)
    if recorded is None:
        raise _Refused
    return list(map(sealed, recorded.ready))
