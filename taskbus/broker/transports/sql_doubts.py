"""What one process does not know of its lease holders: claims and settlements whose answers got lost.

A holder's fences only grow, so what it holds with a larger one than it has ever seen came with an answer it never got.
"""

from collections.abc import Iterable

from taskbus.broker.delivery import Settlement


class Doubts:
    """By the ids of lease holders. Its size is bounded by what they hold."""

    def __init__(self) -> None:
        self._seen: dict[int, int] = {}
        self._unseen: set[int] = set()
        self._settled: dict[int, dict[int, int]] = {}

    def seen(self, holder: int) -> int:
        """The largest fence it has seen."""
        return self._seen.get(holder, 0)

    def saw(self, holder: int, fence: int) -> None:
        self._seen[holder] = fence
        self._unseen.discard(holder)

    def lost_a_claim(self, holder: int) -> None:
        self._unseen.add(holder)

    def compare(self, holder: int, largest: int) -> None:
        """``largest``: the largest fence of what the server says it holds, while no claim of its is under way.

        A claim that was thought lost may have come through late: a server that was paused reads on when it goes on.
        """
        if largest > self.seen(holder):
            self._unseen.add(holder)

    def has_unseen(self, holder: int) -> bool:
        return holder in self._unseen

    def lost_a_settlement(self, holder: int, settlements: Iterable[Settlement]) -> None:
        lost = self._settled.setdefault(holder, {})
        lost.update((each.delivery.tag, each.delivery.fence) for each in settlements if each.delivery)

    def may_have_settled(self, holder: int, settlements: Iterable[Settlement]) -> bool:
        """Whether a call whose answer got lost may have settled one of these."""
        lost = self._settled.get(holder)
        if not lost:
            return False
        return any(lost.get(each.delivery.tag) == each.delivery.fence for each in settlements if each.delivery)

    def settled(self, holder: int, settlements: Iterable[Settlement]) -> None:
        """An answer has come for these."""
        lost = self._settled.get(holder)
        if lost:
            for each in settlements:
                if each.delivery:
                    lost.pop(each.delivery.tag, None)

    def forget(self, holder: int) -> None:
        """It has gone."""
        self._seen.pop(holder, None)
        self._unseen.discard(holder)
        self._settled.pop(holder, None)
