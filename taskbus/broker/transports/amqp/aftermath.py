"""What settlements publish: follow-ups, and copies of what they give back. Each part once, however often it is tried.

AMQP takes a part of a batch and refuses the rest. So what was accepted is remembered until its settlement is done.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from taskbus.broker.delivery import Act, Settlement
from taskbus.broker.transports.amqp import outbox, properties
from taskbus.broker.transports.amqp.desk import Desk
from taskbus.broker.transports.amqp.inbox import Arrived
from taskbus.broker.transports.port import Parcel
from taskbus.message import Message


class Part(NamedTuple):
    """One message that a settlement publishes. ``tag`` 0: it has no delivery; ``id`` "": the copy of its delivery.

    Settled again, a settlement is made anew, and may differ in instants; in these it does not.
    """

    tag: int
    place: int
    id: str
    attempt: int


def parts(settlement: Settlement) -> list[Part]:
    delivery = settlement.delivery
    tag = 0 if delivery is None else delivery.tag
    found = [Part(tag, place, each.id, each.attempt) for place, each in enumerate(settlement.follow_ups)]
    if settlement.act is not Act.ACK and delivery is not None:
        found.append(Part(tag, 0, "", 0))
    return found


def missing(settlements: Sequence[Settlement], accepted: Mapping[Part, int]) -> list[tuple[Settlement, list[Part]]]:
    """Each settlement with those of its parts that were not accepted so far."""
    left = Counter(accepted)
    found = []
    for settlement in settlements:
        to_publish = []
        for part in parts(settlement):
            if left[part]:
                left[part] -= 1
            else:
                to_publish.append(part)
        found.append((settlement, to_publish))
    return found


def publish(
    settlements: Sequence[Settlement],
    accepted: Counter[Part],
    encode: Callable[[Message], Parcel],
    arrived: Callable[[int], Arrived],
    desk: Desk,
    *,
    ready: Sequence[Parcel],
    now: float,
    until: float,
) -> None:
    """Publish what is missing. What was accepted is added to ``accepted``, also when this raises ``PublishFailed``.

    ``ready``: what recording these settlements made ready. It is published again with each try; who runs it refuses all
    but one copy.
    """
    copies: list[tuple[Arrived, properties.Counters, float]] = []
    parcels: list[Parcel] = []
    of_copies: list[Part] = []
    of_parcels: list[Part] = []
    for settlement, to_publish in missing(settlements, accepted):
        for part in to_publish:
            if part.id:
                of_parcels.append(part)
                parcels.append(encode(settlement.follow_ups[part.place]))
                continue
            of_copies.append(part)
            copy = arrived(part.tag)
            counters = copy.counters
            if settlement.act is Act.CRASH:
                counters = counters._replace(crashes=counters.crashes + 1)
            copies.append((copy, counters, settlement.delay))
    if not copies and not parcels and not ready:
        return
    letters = outbox.given_back(copies, desk.topology, now, until)
    letters += outbox.sent([*parcels, *ready], desk.topology, now, until)
    try:
        desk.publisher.publish(letters, until)
    finally:
        unaccepted = desk.publisher.unaccepted
        done = zip((*of_copies, *of_parcels), letters, strict=False)  # the rest is what was ready
        accepted.update(part for part, letter in done if id(letter) not in unaccepted)
