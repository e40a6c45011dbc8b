"""Everything that is known of one task, gathered from all places that know something of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from taskbus.app import TaskBus
from taskbus.broker.delivery import Delivery
from taskbus.errors import BrokerError, CodecError
from taskbus.message import FLOW, Message
from taskbus.monitor.report import Running, TaskRecord
from taskbus.steering.letters import dead_letters_of
from taskbus.steering.nodes import SeenNode, seen_nodes
from taskbus.store.base import DeadLetter, FailedAttempt, StoredResult
from taskbus.store.flows import FlowView
from taskbus.store.reports import ReportStore
from taskbus.wire import formats

PEEKED = 1000
"""Messages of a queue that are looked through for one task."""
PEEKED_IN_ALL = 5000


class Memory(Protocol):
    """What is needed of a history."""

    def attempts(self, task_id: str) -> Sequence[TaskRecord]:
        """The records of a task's attempts, by attempt."""


class RunningTask(NamedTuple):
    """An attempt that a node says it runs, and since when it has said so."""

    seen: SeenNode
    running: Running


@dataclass(frozen=True, slots=True)
class Trace:
    """What each place knows of a task; None or empty where it knows nothing. ``waiting``: its message in a queue."""

    id: str
    records: Sequence[TaskRecord] = ()
    stored: StoredResult | None = None
    failed: Sequence[FailedAttempt] = ()
    letter: DeadLetter | None = None
    running: RunningTask | None = None
    waiting: Message | None = None
    flow: FlowView | None = None
    was_all_looked_through: bool = True

    @property
    def is_known(self) -> bool:
        """Whether any place knows it."""
        found = self.records or self.stored or self.failed or self.letter or self.running or self.waiting
        return bool(found)

    @property
    def record(self) -> TaskRecord | None:
        """What is remembered of its last attempt."""
        return self.records[-1] if self.records else None

    @property
    def message(self) -> Message | None:
        """Its message, with its original bytes, where one is there still: waiting, or in its dead letter."""
        return self.waiting or (message_of(self.letter) if self.letter is not None else None)


def trace(app: TaskBus, reports: ReportStore | None, memory: Memory | None, task_id: str) -> Trace:
    """Look everywhere. A broker that cannot be reached, or shows nothing without taking it (RabbitMQ), is left out."""
    records = sorted(memory.attempts(task_id), key=lambda each: each.attempt) if memory is not None else []
    stored = app.store.results([task_id]).get(task_id)
    letter = dead_letters_of(app).show(task_id)
    running = _running(reports, app.clock(), task_id, stored) if reports is not None else None
    waiting, was_all = None, True
    if letter is None and running is None and not (stored is not None and stored.state.is_final):
        waiting, was_all = find_waiting(app, task_id, records[-1].queue if records else "")
    found = Trace(
        task_id,
        records,
        stored,
        app.store.attempts([task_id]).get(task_id, ()),
        letter,
        running,
        waiting,
        None,
        was_all,
    )
    flow = flow_of(found)
    return replace(found, flow=app.store.flow(flow)) if flow else found


def flow_of(found: Trace) -> str:
    """The id of the workflow that the task belongs to; "" if none, or if nobody knows."""
    if found.record is not None and found.record.flow:
        return found.record.flow
    if found.running is not None and found.running.running.flow:
        return found.running.running.flow
    return found.message.headers.get(FLOW, "") if found.message is not None else ""


def message_of(letter: DeadLetter) -> Message | None:
    """The message in a dead letter; None where its bytes cannot be read."""
    try:
        return formats.decode(letter.wire, letter.queue, letter.priority, max(1, len(letter.wire)))
    except CodecError:
        return None


def running_tasks(reports: ReportStore, now: float) -> Iterator[RunningTask]:
    """The attempts that living workers say they run: the first of each, as many as ``monitor.report.MAX_RUNNING``."""
    for seen in seen_nodes(reports, now, kind="worker"):
        if seen.is_alive:
            yield from running_of(seen)


def running_of(seen: SeenNode) -> Iterator[RunningTask]:
    """The attempts that a node says it runs; fields that a later version tells besides are passed over."""
    for fields in seen.state.running:
        yield RunningTask(seen, Running(*fields[: len(Running._fields)]))


def _running(reports: ReportStore, now: float, task_id: str, stored: StoredResult | None) -> RunningTask | None:
    """The attempt that runs; not one that is known to have ended since it was told of."""
    for each in running_tasks(reports, now):
        if each.running.id == task_id:
            has_ended = stored is not None and stored.state.is_final and stored.finished_at >= each.running.since
            return None if has_ended else each
    return None


def find_waiting(app: TaskBus, task_id: str, queue: str = "") -> tuple[Message | None, bool]:
    """Its message in a queue, looked for in ``queue`` first, among the first ``PEEKED`` of each.

    And whether all was looked through, so that it is certain that it waits nowhere.
    """
    try:
        if not app.broker.features.lists:
            return None, False
        sizes = sorted(app.broker.queues(), key=lambda size: size.name != queue)
        left, was_all = PEEKED_IN_ALL, True
        for size in sizes:
            waiting = size.ready + size.delayed
            if not waiting:
                continue
            limit = min(PEEKED, left)
            for delivery in app.broker.peek(size.name, limit) if limit else ():
                message = _message(delivery, task_id)
                if message is not None:
                    return message, True
            left -= min(limit, waiting)
            was_all = was_all and waiting <= limit
        return None, was_all
    except BrokerError:
        return None, False


def is_of(task_id: str, delivery: Delivery) -> bool:
    """Whether a message is that of a task."""
    return _message(delivery, task_id) is not None


def _message(delivery: Delivery, task_id: str) -> Message | None:
    """The message in a delivery, if it is of that task."""
    if task_id.encode() not in delivery.wire:
        return None
    try:
        message = formats.decode(delivery.wire, delivery.queue, delivery.priority, max(1, len(delivery.wire)))
    except CodecError:
        return None
    return message if message.id == task_id else None
