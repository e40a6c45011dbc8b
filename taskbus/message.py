"""The one thing that travels: a call of a task, frozen, with its arguments as opaque bytes.

The body is packed once, where the task is called, and unpacked once, where it runs. Everything between (wire,
broker, worker, dead letters, replay) passes the very same bytes on.
"""

import os
import time
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from types import MappingProxyType
from typing import Any, NamedTuple

NO_HEADERS: Mapping[str, str] = MappingProxyType({})
MIN_PRIORITY, MAX_PRIORITY = 0, 9
OWN_HEADERS = "taskbus-"
"""What the names of the headers start with that workers add on a message's way."""


class Message(NamedTuple):
    """One call of a task.

    ``body`` holds ``[args, kwargs]`` in the encoding that ``content_type`` names ("msgpack" or "json").
    ``priority`` runs from 0 to 9, higher is sooner. ``attempt`` counts from 1. Instants are Unix seconds UTC:
    ``sent_at`` when the caller sent it, ``due_at`` before which it must not start, ``expires_at`` after which it must
    not start. ``headers`` are text to text and travel untouched.

    ``celery``: what Celery's wire says beyond that of a message that came in it (``wire.celery``); ``body`` is then
    what Celery made, and ``priority`` Celery's number.
    """

    id: str
    task: str
    body: bytes
    content_type: str = "msgpack"
    queue: str = "default"
    priority: int = 0
    attempt: int = 1
    sent_at: float = 0.0
    due_at: float | None = None
    expires_at: float | None = None
    headers: Mapping[str, str] = NO_HEADERS
    celery: Mapping[str, Any] | None = None


FLOW, COPY = f"{OWN_HEADERS}flow", f"{OWN_HEADERS}copy"
"""Headers of a message of a flow: the flow's id (the node is the task's id), and what tells its copies apart.

The copies of a task that stands in the place of others (``ctx.replace``) begin with how many those were: ``2/...``. So
a late copy of one that was replaced is not taken for one of what replaced it, though both have the same id.
"""
TAKES = f"{OWN_HEADERS}takes"
"""Header of a message of a flow that means nothing without it: the task is given a value before its own arguments."""
FOR_CELERY = f"{OWN_HEADERS}for-celery"
"""Header of a message of a flow that a worker of TaskBus is to hand on to Celery: the queue, which Celery shares."""
CELERY_FLOWS = "taskbus.flows"
"""The queue of such messages, and of Celery's answers to them; every worker that shares queues with Celery has it."""
CHUNK = f"{OWN_HEADERS}chunk"
"""Header of a message that asks for many calls in turn: its only positional argument is a list of argument lists."""

SCHEDULE, SCHEDULED_AT = f"{OWN_HEADERS}schedule", f"{OWN_HEADERS}scheduled-at"
"""Headers of a run of a schedule: its name, and the nominal time, Unix seconds as text."""


class Sealed(NamedTuple):
    """A message that was put into its wire form before, to be published as it is: a flow keeps its next tasks so.

    ``due_at``: as ``Message.due_at``, which the wire does not say where it counts from when it was published.
    """

    queue: str
    priority: int
    wire: bytes
    due_at: float | None = None


class Recorded(NamedTuple):
    """What a store answers that has written: ``ready`` is to be published by the same step."""

    ready: Sequence[Sealed] = ()


def generation(copy: str) -> int:
    """How many tasks stood in the place of the one that is meant by this ``COPY`` before it."""
    number, slash, _ = copy.partition("/")
    return int(number) if slash and number.isdecimal() else 0


def of_generation(number: int) -> str:
    """What the copies of a task that so many stood in the place of before it begin with."""
    return f"{number}/" if number else ""


def another_copy(headers: Mapping[str, str]) -> Mapping[str, str]:
    """The headers of a copy that is to be told apart from any other one of the same message."""
    return {**headers, COPY: of_generation(generation(headers.get(COPY, ""))) + new_id()}


def new_id() -> str:
    """A task id: 36 characters of a version 7 UUID, so ids made later sort later. Source: RFC 9562, 5.7.

    Ordered ids keep the result table's index local: with random ones each insert touches a page of its own.
    """
    return _laid_out(os.urandom(10).hex(), time.time_ns() // 1_000_000)


def derived_id(seed: str, at: float) -> str:
    """As ``new_id``, but always the same for the same seed and instant, whoever makes it."""
    return _laid_out(blake2b(seed.encode(), digest_size=10).hexdigest(), int(at * 1000))


def _laid_out(random: str, milliseconds: int) -> str:
    stamp = f"{milliseconds:012x}"
    return f"{stamp[:8]}-{stamp[8:]}-7{random[:3]}-{_VARIANT[random[3]]}{random[4:7]}-{random[7:19]}"


_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
