"""What a storage knows of its own lease holders, so that a reply that was lost is found out and not guessed."""

import os
from collections.abc import Iterable, Iterator, Sequence

from taskbus.broker.delivery import Delivery, Settlement
from taskbus.broker.transports.port import Holder
from taskbus.errors import LeaseLost

Place = tuple[str, int]
"""A delivery as the server knows it: its queue and its fence."""


class Holding:
    """One holder: the queues it has a lease on, and what is uncertain about it.

    ``seen`` is the largest fence it knows of, by queue; ``must_look`` says that the reply to a claim was lost, so it
    may hold messages with a larger one. ``unsettled`` are deliveries whose settling was sent and never answered.
    ``is_lost``: the server said that its lease is gone, which is for ever.
    """

    def __init__(self, queues: Iterable[str], name: str, started_at: float) -> None:
        self.name = name
        self.started_at = started_at
        self.consumed = tuple(queues)
        self.queues = set(self.consumed)
        self.seen: dict[str, int] = {}
        self.must_look = False
        self.is_lost = False
        self.unsettled: set[Place] = set()


class Holders:
    """The holders of one storage. Their incarnations begin with ``bell``, 16 characters, by which they are rung."""

    def __init__(self) -> None:
        self._forget_all()

    def _forget_all(self) -> None:
        self._pid = os.getpid()
        self._holdings: dict[str, Holding] = {}
        self.bell = os.urandom(8).hex()

    def new(self, lease: float) -> Holder:
        """The name of a new holder; in the child of a fork it is rung by another bell than the parent's."""
        if self._pid != os.getpid():
            self._forget_all()
        random = os.urandom(8)
        return Holder(int.from_bytes(random) >> 2, self.bell + random.hex(), lease)

    def keep(self, holder: Holder, holding: Holding) -> None:
        self._holdings = {id: each for id, each in self._holdings.items() if not each.is_lost}
        self._holdings[holder.incarnation] = holding

    def find(self, holder: Holder | None) -> Holding | None:
        return self._holdings.get(holder.incarnation) if holder else None

    def of(self, holder: Holder) -> Holding:
        """Raises ``LeaseLost`` when its lease is known to be gone."""
        holding = self._holdings.get(holder.incarnation)
        if holding is None or holding.is_lost:
            raise lost(holder)
        return holding

    def forget(self, holder: Holder) -> LeaseLost:
        """What to raise when the server says that its lease is gone, which is for ever."""
        self._holdings.pop(holder.incarnation, None)
        return lost(holder)


def lost(holder: Holder) -> LeaseLost:
    return LeaseLost(f"the lease of worker {holder.incarnation} was taken away: it was not renewed in time")


def place(delivery: Delivery) -> Place:
    return delivery.queue, delivery.fence


def once_each(settlements: Sequence[Settlement]) -> tuple[list[Settlement], list[Delivery]]:
    """Of two for the same delivery the second is stale."""
    seen: set[Place] = set()
    kept: list[Settlement] = []
    stale: list[Delivery] = []
    for each in settlements:
        if each.delivery is None:
            kept.append(each)
        elif (found := place(each.delivery)) in seen:
            stale.append(each.delivery)
        else:
            seen.add(found)
            kept.append(each)
    return kept, stale


def apart(settlements: Sequence[Settlement], places: Iterable[Place]) -> tuple[list[Settlement], list[Delivery]]:
    """The settlements of other deliveries than those at ``places``, and the deliveries there."""
    gone = set(places)
    kept = [each for each in settlements if each.delivery is None or place(each.delivery) not in gone]
    return kept, list(_deliveries(settlements, gone))


def _deliveries(settlements: Sequence[Settlement], places: set[Place]) -> Iterator[Delivery]:
    for each in settlements:
        if each.delivery is not None and place(each.delivery) in places:
            yield each.delivery
