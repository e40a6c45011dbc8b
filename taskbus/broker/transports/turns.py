"""Queues take turns, whatever broker they are in: none starves, and none is served twice before the others."""

from collections.abc import Callable, Collection, Sequence
from itertools import zip_longest
from typing import TypeVar

T = TypeVar("T")


def share_out(queues: Sequence[str], limit: int, take: Callable[[str, int], Sequence[T]]) -> dict[str, list[T]]:
    """An even share of ``limit`` from each queue, then of the rest from those that have more.

    ``take(queue, count)`` takes up to ``count``; fewer mean that the queue has no more.
    """
    taken: dict[str, list[T]] = {queue: [] for queue in queues}
    hungry = list(queues)
    while hungry and limit > 0:
        share = max(1, limit // len(hungry))
        for queue in tuple(hungry):
            found = take(queue, min(share, limit))
            if len(found) < share:
                hungry.remove(queue)
            taken[queue] += found
            limit -= len(found)
            if limit <= 0:
                break
    return taken


def in_turn(by_queue: Collection[Sequence[T]]) -> list[T]:
    """What was taken from each queue, one of each queue at a time."""
    if len(by_queue) == 1:
        (only,) = by_queue
        return list(only)
    return [each for turn in zip_longest(*by_queue) for each in turn if each is not None]
