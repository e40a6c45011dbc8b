"""Where a claim on PostgreSQL starts to look, so that it need not step over what was claimed before.

A row that is claimed leaves a dead entry at the head of its index, which stays until the next vacuum, up to a minute
later: half a million of them at ten thousand messages a second, and each claim reads them all. So while that takes long
claims start where the last one ended. What lies below (given back by others, or committed late) waits for the next
claim that looks everywhere, a second at most. Priorities are strict all the same: each has a floor of its own.
"""

import time
from collections.abc import Iterable, Sequence

from taskbus.broker.transports.port import Claimed

RANKS = 10
LONG, MANY = 0.002, 10
"""A claim that looks everywhere brings floors into use when it took more seconds than this, or when it got all it asked
for and at least so many: then there is a backlog."""
SHARE, LONGEST = 20.0, 1.0
"""For how many times as long as such a claim took the floors are used, and for how many seconds at most."""


class Floors:
    """One storage's. A claim looks everywhere unless ``are_used``."""

    def __init__(self) -> None:
        self._ids: dict[str, list[int]] = {}
        self._until = 0.0

    @property
    def used_for(self) -> float:
        """Seconds for which they are in use from now on; 0: they are not."""
        return max(0.0, self._until - time.monotonic()) if self._until else 0.0

    def of(self, queues: Sequence[str]) -> list[int]:
        """Ten ids a queue."""
        return [id for queue in queues for id in self._ids.get(queue) or [0] * RANKS]

    def looked_everywhere(self, took: float, *, got_many: bool) -> None:
        """A claim did, in this many seconds."""
        is_worth_it = got_many or took > LONG
        self._until = time.monotonic() + min(took * SHARE, LONGEST) if is_worth_it else 0.0

    def claimed(self, messages: Iterable[Claimed]) -> None:
        for message in messages:
            ids = self._ids.setdefault(message.queue, [0] * RANKS)
            ids[message.rank] = max(ids[message.rank], message.tag + 1)

    def forget(self) -> None:
        """Something was made ready again: look everywhere."""
        self._until = 0.0


def everywhere(queues: Sequence[str]) -> list[int]:
    """The floors of a claim that looks everywhere."""
    return [0] * RANKS * len(queues)
