"""Deliveries that were lost with several workers: each is looked at, and run, while this worker holds nothing else.

A worker that dies takes along all it holds, and every one of these is counted lost. Once half of ``max_losses`` is
counted, being alone tells the message that kills workers from those that were only there.
"""

from collections.abc import Sequence

from taskbus.broker.delivery import Act, Delivery, Settlement

BACK_FOR = 1.0
"""Seconds after which one that could not be kept may be fetched again."""


class Quarantine:
    """Keeps one such delivery at a time, unread."""

    def __init__(self, max_losses: int) -> None:
        self._from = max(1, max_losses // 2)
        self._waiting: Delivery | None = None
        self._is_alone = False

    @property
    def is_closed(self) -> bool:
        """Whether nothing else may be fetched now."""
        return self._waiting is not None or self._is_alone

    def set_apart(self, deliveries: Sequence[Delivery]) -> tuple[Sequence[Delivery], list[Settlement]]:
        """Of what was fetched: what may be looked at now, and what is to be given back because one is kept already."""
        dangerous = [delivery for delivery in deliveries if delivery.losses >= self._from]
        if not dangerous:
            return deliveries, []
        if self._waiting is None:
            self._waiting = dangerous.pop(0)
        rest = [delivery for delivery in deliveries if delivery.losses < self._from]
        return rest, [Settlement(delivery, Act.RELEASE, BACK_FOR) for delivery in dangerous]

    def next(self, *, is_idle: bool) -> Delivery | None:
        """The delivery that is kept, once this worker is idle; it is alone until the worker is idle again."""
        if not is_idle or not self.is_closed:
            return None
        delivery, self._waiting = self._waiting, None
        self._is_alone = delivery is not None
        return delivery

    def give_up(self) -> list[Settlement]:
        """Keep nothing any more; what was kept is to be given back."""
        delivery, self._waiting, self._is_alone = self._waiting, None, False
        return [Settlement(delivery, Act.RELEASE)] if delivery is not None else []
