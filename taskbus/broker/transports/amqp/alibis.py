"""Losses that killed nobody: what was on a connection of ours that was lost, while we lived on.

RabbitMQ counts each time a message comes back from a connection that ended. Only the worker at its end knows that it
was cut off and did not die; others, to whom a message may go next, do not.
"""

from collections.abc import Iterable
from itertools import islice

MOST = 50_000
"""Messages remembered; beyond, the oldest are forgotten, and their losses count again."""


class Alibis:
    """By a message's bytes: how many of its losses were ours. What is acked here is to be forgotten."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}

    def note(self, bodies: Iterable[bytes]) -> None:
        """These were on a connection that was lost."""
        counts = self._counts
        for body in bodies:
            key = hash(body)
            counts[key] = counts.pop(key, 0) + 1
        for key in list(islice(counts, max(0, len(counts) - MOST))):
            del counts[key]

    def of(self, body: bytes) -> int:
        return self._counts.get(hash(body), 0) if self._counts else 0

    def use(self, body: bytes) -> bool:
        """Take one of them, if there is any."""
        counted = self.of(body)
        if counted > 1:
            self._counts[hash(body)] = counted - 1
        elif counted:
            del self._counts[hash(body)]
        return counted > 0

    def forget(self, body: bytes) -> None:
        """It is acked: a copy of it would bear what it counts itself."""
        if self._counts:
            self._counts.pop(hash(body), None)
