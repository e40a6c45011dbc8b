"""Queues: how full they are and who works on them; pausing, resuming and emptying one."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from taskbus.app import TaskBus
from taskbus.broker.queues import QueueSize
from taskbus.errors import BrokerError, ConfigError
from taskbus.options import QUEUE_NAME
from taskbus.steering.nodes import SeenNode, seen_nodes
from taskbus.steering.refusal import NotThere, near
from taskbus.store.base import Filter
from taskbus.store.filters import QueueFilter
from taskbus.store.reports import ReportStore


@dataclass(frozen=True, slots=True)
class QueueView:
    """A queue. ``held``: messages that workers hold, running or not. ``workers``: how many fetch from it.

    ``oldest_at``: when the longest waiting message became ready, None if none waits. ``dead``: its dead letters.
    """

    name: str
    ready: int
    delayed: int
    held: int
    oldest_at: float | None
    is_paused: bool
    workers: int
    dead: int


@dataclass(frozen=True, slots=True)
class Changed:
    """What an act came to. ``count``: messages it is about."""

    changed: bool
    count: int = 0


def queue_views(
    app: TaskBus, reports: ReportStore | None, now: float, dead: Mapping[str, int] | None = None
) -> list[QueueView]:
    """Every queue that the broker lists, that a worker fetches from, or that is paused, by name.

    RabbitMQ lists none: there the queues are those of the workers. ``dead``: dead letters by queue, if the caller knows
    them; else they are counted.
    """
    workers = seen_nodes(reports, now, kind="worker") if reports is not None else []
    paused = reports.paused() if reports is not None else frozenset()
    serving = _serving(workers)
    sizes = {size.name: size for size in _sizes(app, [*serving, *paused])}
    names = sorted({*sizes, *serving, *paused})
    dead = dead_by_queue(app, names) if dead is None else dead
    empty = QueueSize("", 0, 0, 0, None)
    return [
        _view(name, sizes.get(name, empty), name in paused, serving.get(name, 0), dead.get(name, 0)) for name in names
    ]


def queue_view(app: TaskBus, reports: ReportStore | None, queue: str, now: float) -> QueueView:
    """One of them. Raises ``NotThere``."""
    views = {view.name: view for view in queue_views(app, reports, now)}
    if queue not in views:
        raise NotThere(f"there is no queue {queue!r}", near(queue, views))
    return views[queue]


def unlisted(app: TaskBus, queues: Iterable[str]) -> list[QueueView]:
    """Those of ``queues`` that are there, by name, where the broker lists none and no worker tells of them."""
    return [_view(size.name, size) for size in _sizes(app, sorted(queues)) if size.name in queues]


def _view(name: str, size: QueueSize, is_paused: bool = False, workers: int = 0, dead: int = 0) -> QueueView:
    return QueueView(name, size.ready, size.delayed, size.running, size.oldest_at, is_paused, workers, dead)


def is_meant(queue: QueueView | QueueSize, where: QueueFilter, *, is_paused: bool) -> bool:
    """Whether a queue is one that the filter means. Empty is one in which nothing waits, be it ready or delayed."""
    return where.matches(name=queue.name, is_paused=is_paused, is_empty=not queue.ready and not queue.delayed)


def pause(reports: ReportStore, queue: str) -> Changed:
    """Let no worker fetch from a queue until it is resumed; what they hold of it is done. Also one yet to come."""
    return Changed(reports.pause(_checked(queue)))


def resume(reports: ReportStore, queue: str) -> Changed:
    """End a pause."""
    return Changed(reports.resume(queue))


def purge(app: TaskBus, queue: str, *, dry_run: bool = False) -> Changed:
    """Delete what waits in a queue, ready or delayed, never what a worker holds.

    ``dry_run``: only say how many that is now. On RabbitMQ what is delayed is neither counted nor deleted.
    Raises ``NotThere``.
    """
    waiting = size_of(app, queue)
    if dry_run:
        return Changed(False, waiting.ready + waiting.delayed)
    deleted = app.broker.purge(queue)
    return Changed(deleted > 0, deleted)


def size_of(app: TaskBus, queue: str) -> QueueSize:
    """How full a queue is. Raises ``NotThere``."""
    sizes = {size.name: size for size in _sizes(app, [queue])}
    if queue not in sizes:
        raise NotThere(f"no queue {queue!r} here", near(queue, sizes))
    return sizes[queue]


def dead_by_queue(app: TaskBus, queues: Iterable[str]) -> dict[str, int]:
    """How many dead letters there are of messages from each of these queues, without the zeros."""
    if not app.store.count_dead_letters(Filter()):
        return {}
    counts = {
        queue: app.store.count_dead_letters(Filter(queue=queue)) for queue in queues if QUEUE_NAME.fullmatch(queue)
    }
    return {queue: count for queue, count in counts.items() if count}


def _checked(queue: str) -> str:
    if not QUEUE_NAME.fullmatch(queue):
        raise ConfigError(f"{queue!r:.250} is no name of a queue; use 1 to 200 of the characters A-Z a-z 0-9 _ . : -")
    return queue


def _sizes(app: TaskBus, queues: Iterable[str]) -> Sequence[QueueSize]:
    """What the broker lists; of one that lists none, those of ``queues`` that are there."""
    if app.broker.features.lists:
        return app.broker.queues()
    found = []
    for queue in queues:
        try:
            found.append(QueueSize(queue, app.broker.depth(queue), 0, 0, None))
        except BrokerError:
            continue  # it is not there
    return found


def _serving(workers: Iterable[SeenNode]) -> Mapping[str, int]:
    """How many living workers fetch from each queue."""
    return Counter(queue for seen in workers if seen.is_alive for queue in seen.state.queues)
