"""What the filters of all nouns but dead letters say: every given field must match, one not given matches all.

Names (``task``, ``queue``, ...) are shell patterns (``mail.*``), as ``fnmatch.fnmatchcase`` takes them. Dead letters
have ``store.base.Filter``, task records are found by ``taskbus.history``; the others match what is in memory. ``where``
makes them of text, and text of them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """Which task records. ``states`` are upper case; ``ids`` any of these; ``error`` with or without its module.

    ``text`` occurs in the error's message, ``args`` in the readable arguments, both in the same case. ``flow`` and
    ``parent`` are ids. ``older_than`` and ``newer_than`` are instants compared with ``ended_at``, themselves included;
    the others are durations in seconds, themselves not included.
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

    def matches(self, *, name: str, kind: str, queues: Iterable[str], host: str, app: str) -> bool:
        """Whether a node is one of them."""
        return (
            _fits(self.name, name)
            and _fits(self.kind, kind)
            and _fits(self.host, host)
            and _fits(self.app, app)
            and (self.queue is None or any(fnmatchcase(queue, self.queue) for queue in queues))
        )


@dataclass(frozen=True, slots=True)
class QueueFilter:
    """Which queues. ``is_paused``, ``is_empty``: only those that are; empty are those in which nothing waits."""

    name: str | None = None
    is_paused: bool = False
    is_empty: bool = False

    def matches(self, *, name: str, is_paused: bool, is_empty: bool) -> bool:
        """Whether a queue is one of them."""
        return _fits(self.name, name) and is_paused >= self.is_paused and is_empty >= self.is_empty


@dataclass(frozen=True, slots=True)
class ScheduleFilter:
    """Which schedules. ``is_paused``: only those that are."""

    name: str | None = None
    task: str | None = None
    is_paused: bool = False

    def matches(self, *, name: str, task: str, is_paused: bool) -> bool:
        """Whether a schedule is one of them."""
        return _fits(self.name, name) and _fits(self.task, task) and is_paused >= self.is_paused


@dataclass(frozen=True, slots=True)
class FlowFilter:
    """Which flows. ``states`` are upper case; ``older_than`` and ``newer_than`` are compared with when it was sent."""

    name: str | None = None
    states: Sequence[str] = ()
    ids: Sequence[str] = ()
    older_than: float | None = None
    newer_than: float | None = None

    def matches(self, *, id: str, name: str, state: str, sent_at: float) -> bool:
        """Whether a flow is one of them."""
        return (
            _fits(self.name, name)
            and (not self.states or state in self.states)
            and (not self.ids or id in self.ids)
            and (self.older_than is None or sent_at <= self.older_than)
            and (self.newer_than is None or sent_at >= self.newer_than)
        )


def _fits(pattern: str | None, name: str) -> bool:
    return pattern is None or fnmatchcase(name, pattern)
