"""What comes off a queue, and what is handed back: one arrival of a message, and how it is settled."""

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from taskbus.message import Message, Recorded


class Delivery(NamedTuple):
    """One arrival of a message, held under this worker's lease until it is settled.

    ``tag`` names it to the broker; ``fence`` grows with every delivery of the same message. ``crashes`` counts runners
    that died while running it, ``losses`` workers that died holding it. ``wire`` are the bytes as they came; what they
    mean is not yet known, nor whether they mean anything.
    """

    tag: int
    queue: str
    wire: bytes
    content_type: str
    priority: int
    fence: int
    crashes: int = 0
    losses: int = 0


class Act(StrEnum):
    ACK = "ack"
    """It is done: take it off the queue."""
    RELEASE = "release"
    """Give it back to its queue, uncounted."""
    CRASH = "crash"
    """Give it back to its queue and count a crash."""


class Settlement(NamedTuple):
    """What is to become of one delivery, all of it in one step or nothing.

    ``follow_ups`` are messages to publish (a retry, the next of a chain), ``changes`` what the store is to record
    (``store.base.Change``, opaque here). ``delay``: seconds before a given-back delivery may be fetched again.
    ``delivery`` None: nothing to take off a queue, only follow-ups and changes (a replay).
    """

    delivery: Delivery | None
    act: Act = Act.ACK
    delay: float = 0.0
    follow_ups: Sequence[Message] = ()
    changes: Sequence[Any] = ()


Record = Callable[[Sequence[Any], Any], Recorded | None]
"""The store's ``apply``: writes changes inside the transaction handed over (None: in one of its own).

Returns what else is to be published by the step, or None when a change that must find something (``Exhume``) found
nothing; nothing was written then.
"""
