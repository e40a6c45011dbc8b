"""What is in a report: the words that workers, beats and pages share. Each is msgpack of plain values.

A field that is not known is passed over, one that is not there has the value that it has below: processes of several
versions report to one store.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgpack

from taskbus.context import Progress as Progress
from taskbus.monitor.histogram import Histogram

COUNTED = (
    "received",
    "started",
    "succeeded",
    "retried",
    "failed",
    "rejected",
    "revoked",
    "expired",
    "crashed",
    "given_back",
)
"""What is counted of a task: ``failed`` are those that became dead letters, for whatever reason but two others.

``rejected``: the task said so. ``expired``: they came too late. ``crashed`` attempts took their runner along;
``given_back`` ones will start again elsewhere. Each delivery that ends is one of the last eight.
"""


class Running(NamedTuple):
    """An attempt that runs. ``since`` is an instant."""

    id: str
    task: str
    queue: str
    attempt: int
    since: float
    pid: int
    slot: int
    progress: Sequence[Any] = ()
    flow: str = ""


MAX_RUNNING = 200
"""How many running attempts a node tells of; ``active`` counts all."""


class NodeState(NamedTuple):
    """What a process says of itself. ``name`` is what Celery's tools call it, ``kind``: worker, beat or web.

    ``queues`` are those it fetches from, ``tasks`` the names it knows. ``slots``: attempts that it can make at once,
    ``held``: messages that it holds, running or not. ``rss`` is in bytes, of all its processes; ``cpu`` in seconds
    since it started. ``dropped``: records it could not keep. ``sampled``: of successes, one of so many is recorded.
    ``http``: where its metrics and probes are, "" if nowhere. ``limits``: rate limits by task, as Celery writes them.
    ``is_leader``: of a beat, whether it does the work. ``last_fetch_at``: when the broker last answered it.
    ``sent``: by a beat, tasks since it started.
    """

    kind: str
    name: str
    host: str = ""
    pid: int = 0
    version: str = ""
    app: str = ""
    started_at: float = 0.0
    is_stopping: bool = False
    pool: str = ""
    processes: int = 0
    slots: int = 0
    queues: Sequence[str] = ()
    tasks: Sequence[str] = ()
    active: int = 0
    held: int = 0
    running: Sequence[Sequence[Any]] = ()
    runners: Sequence[Sequence[int]] = ()
    rss: int = 0
    cpu: float = 0.0
    load: float = 0.0
    dropped: int = 0
    sampled: int = 1
    http: str = ""
    limits: Sequence[Sequence[str]] = ()
    is_leader: bool = False
    last_fetch_at: float = 0.0
    sent: int = 0


class Total(NamedTuple):
    """What was counted of one task from one queue. ``counts`` by the names in ``COUNTED``, without the zeros.

    ``waits``: seconds from when it could start to its start, ``runs``: seconds of attempts, both of those that started.
    ``errors``: failed attempts by the class of their error; all but the fifty most frequent under "". ``deaths``: those
    counted as ``failed``, by the class of their last error; the rest, if any, are of unknown classes.
    """

    task: str
    queue: str
    counts: dict[str, int]
    waits: Histogram
    runs: Histogram
    errors: dict[str, int]
    deaths: Mapping[str, int] = {}


class TaskRecord(NamedTuple):
    """How one attempt ended. ``state`` is a ``State``, or EXPIRED or REJECTED, which are failures with a name.

    ``weight``: how many like it this one stands for, 1 where all are told. ``args``, ``kwargs`` and ``result`` are
    readable text, cut, and without secrets; ``logs`` are lines. ``retry_in``: seconds, of a RETRY.
    """

    id: str
    task: str
    queue: str
    state: str
    attempt: int = 1
    priority: int = 0
    sent_at: float = 0.0
    due_at: float = 0.0
    started_at: float = 0.0
    ran_for: float = 0.0
    ended_at: float = 0.0
    worker: str = ""
    pid: int = 0
    weight: int = 1
    reason: str = ""
    args: str = ""
    kwargs: str = ""
    result: str = ""
    error: str = ""
    message: str = ""
    traceback: str = ""
    retry_in: float = 0.0
    flow: str = ""
    parent: str = ""
    schedule: str = ""
    trace: str = ""
    logs: Sequence[str] = ()
    progress: Sequence[Any] = ()


def pack_state(state: NodeState) -> bytes:
    """A state as bytes."""
    return _pack(state._asdict())


def unpack_state(packed: bytes) -> NodeState:
    """The state in ``packed``."""
    return NodeState(**_known(NodeState, msgpack.unpackb(packed, strict_map_key=False)))


def pack_totals(totals: Iterable[Total]) -> bytes:
    """What was counted in a minute, as bytes."""
    return _pack(
        [[t.task, t.queue, t.counts, t.waits.packed(), t.runs.packed(), t.errors, dict(t.deaths)] for t in totals]
    )


def unpack_totals(packed: bytes) -> list[Total]:
    """What was counted, of ``packed``."""
    return [
        Total(task, queue, counts, Histogram.unpacked(waits), Histogram.unpacked(runs), errors, *rest[:1])
        for task, queue, counts, waits, runs, errors, *rest in msgpack.unpackb(packed, strict_map_key=False)
    ]


def pack_records(records: Iterable[TaskRecord]) -> bytes:
    """Records as bytes."""
    return _pack([_told(record) for record in records])


def unpack_records(packed: bytes) -> list[TaskRecord]:
    """The records in ``packed``."""
    return [TaskRecord(**_known(TaskRecord, each)) for each in msgpack.unpackb(packed, strict_map_key=False)]


def _told(record: TaskRecord) -> dict[str, Any]:
    """Its fields that say something."""
    usual = TaskRecord._field_defaults
    return {name: value for name, value in record._asdict().items() if name not in usual or value != usual[name]}


def _known(kind: Any, fields: dict[str, Any]) -> dict[str, Any]:
    return {name: fields[name] for name in kind._fields if name in fields}


def _pack(value: Any) -> bytes:
    packed: bytes = msgpack.packb(value)
    return packed
