"""What the history answers with. All instants are Unix seconds, all durations seconds, all rates per second."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, NamedTuple

from taskbus.monitor.report import NodeState, Running


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Of ``count`` durations; None where there were none."""

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    count: int = 0


class Counts(NamedTuple):
    """How often what happened, by the names of ``monitor.report.COUNTED``; all attempts are counted, none sampled.

    ``received`` leaves out what was ``given_back``, since that is received again; it is never below 0.
    """

    received: int = 0
    started: int = 0
    succeeded: int = 0
    retried: int = 0
    failed: int = 0
    rejected: int = 0
    revoked: int = 0
    expired: int = 0
    crashed: int = 0
    given_back: int = 0

    @classmethod
    def of(cls, counted: Sequence[int]) -> "Counts":
        """From counts as nodes report them, in the order of ``COUNTED``: there ``received`` is every delivery."""
        every = cls(*counted)
        return every._replace(received=max(0, every.received - every.given_back))


class Series(NamedTuple):
    """A chart: ``t`` are the instants at which its steps of ``step`` seconds begin, oldest first, without gaps.

    Every other field has as many members. Rates are numbers, quantiles None where nothing was measured. ``failed``
    holds rejected and expired tasks too. ``received`` is as in ``Counts``, step by step.
    """

    step: float
    t: Sequence[float]
    received: Sequence[float]
    succeeded: Sequence[float]
    failed: Sequence[float]
    retried: Sequence[float]
    wait_p50: Sequence[float | None]
    wait_p95: Sequence[float | None]
    wait_p99: Sequence[float | None]
    run_p50: Sequence[float | None]
    run_p95: Sequence[float | None]
    run_p99: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class ErrorGroup:
    """Failed attempts of one task and class of error. ``example`` is the newest one's task id, "" if none is kept."""

    error: str
    count: int
    message: str = ""
    last_at: float = 0.0
    example: str = ""


class Failing(NamedTuple):
    """A task of which some failed for good: ``error`` is the class of its newest error, seen at ``last_at``."""

    task: str
    failed: int
    total: int
    error: str
    last_at: float


class TaskType(NamedTuple):
    """How the tasks of one name did. ``rate``: of those that ended, over the whole range.

    ``errors``: most frequent first. ``spark``: ended a second, in steps of equal length over the range, oldest first.
    """

    task: str
    queues: Sequence[str]
    counts: Counts
    rate: float
    wait: Quantiles
    run: Quantiles
    errors: Sequence[ErrorGroup]
    spark: Sequence[float]


class TaskRow(NamedTuple):
    """A task record as a list shows it: one attempt that ended. ``number`` is the record's own, and never changes.

    ``waited``: from when it could start to its start; 0 if it never did. ``args``, ``kwargs`` and ``message`` are cut
    to 1,000 characters; ``History.record`` and ``attempts`` have the whole of them.
    """

    number: int
    id: str
    task: str
    queue: str
    state: str
    attempt: int
    priority: int
    sent_at: float
    due_at: float
    started_at: float
    ended_at: float
    waited: float
    ran_for: float
    worker: str
    weight: int
    reason: str
    error: str
    message: str
    flow: str
    parent: str
    schedule: str
    args: str
    kwargs: str


class TaskPage(NamedTuple):
    """Some of the records that match. ``next``: hand it over as ``after`` for those behind; None: there are no more.

    A page may be short, even empty, and have a ``next``: the time for one answer ran out, and ``note`` says how far it
    looked. ``note`` also tells when not all that is kept was searched. "" if there is nothing to tell.
    """

    rows: Sequence[TaskRow]
    next: str | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Count:
    """How many match; ``is_capped``: there are more than that."""

    count: int
    is_capped: bool = False


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who changed what: ``target`` names it, ``detail`` says more, ``count`` of how many things."""

    at: float
    user: str
    role: str
    action: str
    target: str
    detail: str = ""
    count: int = 1


class AuditPage(NamedTuple):
    """Newest first. ``next``: hand it over as ``after`` for older ones; None: there are none."""

    entries: Sequence[AuditEntry]
    next: str | None = None


class Job(NamedTuple):
    """Something long that goes on behind the page. ``state``: running, done, failed or cancelled.

    ``kind`` and ``where`` say what is done to what, ``by`` who asked for it; ``error`` why it failed.
    """

    id: str
    kind: str
    where: str
    by: str
    started_at: float
    state: str = "running"
    total: int = 0
    done: int = 0
    failed: int = 0
    updated_at: float = 0.0
    error: str = ""


class Kept(NamedTuple):
    """What a history holds. ``bytes``: of the records, about; ``size`` of all its tables or its file, None: unknown.

    ``oldest_at`` and ``newest_at``: of the records' ends, 0 if there are none.
    """

    rows: int
    bytes: int
    size: int | None
    oldest_at: float
    newest_at: float


# --- what is now -----------------------------------------------------------------------------------------------------


class Rates(NamedTuple):
    """Per second, over the last ten seconds; ``received`` is as in ``Counts``."""

    received: float = 0.0
    succeeded: float = 0.0
    failed: float = 0.0
    retried: float = 0.0


class LiveType(NamedTuple):
    """A task now. ``rate`` of those that ended; ``failed`` and the quantiles (of runs) are of the last minute."""

    task: str
    rate: float
    failed: int
    p50: float | None
    p95: float | None


class LiveQueue(NamedTuple):
    """A queue as its workers see it: ``rate`` ended a second, ``workers`` that fetch from it, ``running`` now."""

    queue: str
    rate: float
    workers: int
    running: int


class LiveNode(NamedTuple):
    """A process that reports. ``state`` is what it says; ``at`` when, by its own clock.

    ``is_alive``: it has reported lately. ``cpu_share``: of one core, 1.0 is all of it. ``rate``: attempts that ended a
    second. ``dropped``: records that it could not keep, since it started.
    """

    node: str
    state: NodeState
    at: float
    is_alive: bool
    cpu_share: float
    rate: float

    @property
    def dropped(self) -> int:
        return self.state.dropped


class LiveRunning(NamedTuple):
    """An attempt that runs, and on which worker (its name)."""

    worker: str
    running: Running


class LiveSnapshot(NamedTuple):
    """Now. ``wait`` and ``run`` are of the last minute; ``running`` longest first, 200 at most, of ``active`` in all.

    ``tail``: records that came since the snapshot before, newest last, 50 at most; ``tail_hidden``: attempts that
    ended in that time and are not among them. ``one_of``: of successes, the thinnest sampling of any live worker;
    ``dropped``: records that workers could not keep. ``error``: why reports cannot be read or kept now, "" if they can.
    """

    now: float
    rates: Rates
    wait: Quantiles
    run: Quantiles
    types: Sequence[LiveType]
    queues: Sequence[LiveQueue]
    nodes: Sequence[LiveNode]
    running: Sequence[LiveRunning]
    active: int
    tail: Sequence[TaskRow]
    tail_hidden: int
    one_of: int
    dropped: int
    error: str = ""


class Cursor(NamedTuple):
    """How far a node was followed: the numbers of its last report whose minutes, and records, are in the history."""

    minutes: int = 0
    records: int = 0


RANGES: dict[str, float] = {
    "15m": 900.0,
    "1h": 3600.0,
    "6h": 21_600.0,
    "24h": 86_400.0,
    "3d": 259_200.0,
    "30d": 2_592_000.0,
}
"""What a chart can go over, by what it is called in a URL."""


def plain(value: Any) -> Any:
    """A shape as dicts and lists, for JSON."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: plain(each) for name, each in value._asdict().items()}
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list | tuple) else value
