"""What the filters of all nouns but dead letters say: every given field must match, one not given matches all.

Names (``task``, ``queue``, ...) are shell patterns (``mail.*``), as ``fnmatch.fnmatchcase`` takes them. Dead letters
have ``store.base.Filter``. ``where.py`` makes them of text, and text of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """Which task records. ``states`` are upper case; ``ids`` any of these; ``error`` with or without its module.

    ``text`` occurs in the error's message, ``args`` in the readable arguments, both in the same case. ``older_than``
    and ``newer_than`` are instants compared with ``ended_at``, themselves included; the others are durations.
    """

    states: Sequence[str] = ()
    ids: Sequence[str] = ()
    task: str | None = None
    queue: str | None = None
    worker: str | None = None
    error: str | None = None
    text: str | None = None
    args: str | None = None
    reason: str | None = None
    flow: str | None = None
    parent: str | None = None
    schedule: str | None = None
    older_than: float | None = None
    newer_than: float | None = None
    ran_over: float | None = None
    ran_under: float | None = None
    waited_over: float | None = None
    waited_under: float | None = None


@dataclass(frozen=True, slots=True)
class NodeFilter:
    """Which nodes. ``kind``: worker, beat or web; ``queue``: one that it fetches from."""

    name: str | None = None
    kind: str | None = None
    queue: str | None = None
    host: str | None = None
    app: str | None = None


@dataclass(frozen=True, slots=True)
class QueueFilter:
    """Which queues. ``is_empty``: nothing waits in it."""

    name: str | None = None
    is_paused: bool | None = None
    is_empty: bool | None = None


@dataclass(frozen=True, slots=True)
class ScheduleFilter:
    """Which schedules."""

    name: str | None = None
    task: str | None = None
    is_paused: bool | None = None


@dataclass(frozen=True, slots=True)
class FlowFilter:
    """Which flows. ``states`` are upper case; ``older_than`` and ``newer_than`` are compared with when it was sent."""

    name: str | None = None
    states: Sequence[str] = ()
    ids: Sequence[str] = ()
    older_than: float | None = None
    newer_than: float | None = None
