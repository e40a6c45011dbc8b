"""The figures of ``taskbus top``: rates and durations of the last minutes as workers report them; it writes nothing."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from taskbus.app import TaskBus
from taskbus.errors import TaskBusError
from taskbus.history.live import Live
from taskbus.history.shapes import LiveNode, LiveRunning, LiveSnapshot
from taskbus.history.tally import Key, Tally, difference, read_totals
from taskbus.monitor.report import COUNTED, Total
from taskbus.steering.queues import QueueView, dead_by_queue, queue_views
from taskbus.store.reports import Minute, ReportStore

MINUTES = 5
PATIENCE = 10.0
"""Seconds for which nodes are asked to report every second, with each look."""
BEFORE = 400
"""Reports of each node that are read at first: those of the last minutes, as a node reports once a second at most."""
DEAD_EVERY = 10.0
"""Seconds between two counts of dead letters."""
AT_ONCE = 2000
ENDED = ("succeeded", "failed", "rejected", "expired")
LOST = ("failed", "rejected", "expired")


class TaskFigures(NamedTuple):
    """Of one task, or of all. Rates are of tasks that ended, a second: ``now`` (ten seconds), of one and five minutes.

    Durations in seconds, of attempts of the last minute or so, None where there were none; ``failed`` and ``retried``
    count those of the last five minutes.
    """

    task: str
    now: float
    m1: float
    m5: float
    running: int
    wait_p50: float | None
    wait_p95: float | None
    run_p50: float | None
    run_p95: float | None
    failed: int
    retried: int


class QueueFigures(NamedTuple):
    """Of one queue. ``age``: seconds that the longest waiting message has been ready, None if none waits."""

    queue: str
    ready: int
    delayed: int
    held: int
    age: float | None
    is_paused: bool
    workers: int
    now: float
    m1: float
    m5: float
    dead: int


class WorkerFigures(NamedTuple):
    """Of one process. ``rss`` in bytes; ``cpu`` of one core, 1.0 is all of it; ``up_for`` in seconds."""

    name: str
    node: str
    kind: str
    is_alive: bool
    is_stopping: bool
    slots: int
    active: int
    held: int
    rss: int
    cpu: float
    now: float
    up_for: float
    queues: Sequence[str]


class RunningFigures(NamedTuple):
    """An attempt that runs, for ``ran_for`` seconds. ``total`` 0: it does not know; ``done`` None: it does not say."""

    id: str
    task: str
    queue: str
    attempt: int
    worker: str
    ran_for: float
    done: float | None
    total: float
    note: str


class Picture(NamedTuple):
    """All of it. ``error``: what could not be asked, "" if all could."""

    now: float
    all: TaskFigures
    tasks: Sequence[TaskFigures]
    queues: Sequence[QueueFigures]
    workers: Sequence[WorkerFigures]
    running: Sequence[RunningFigures]
    error: str = ""


class Minutes:
    """What was counted in the last minutes, by task and queue; each node's newest word of a minute holds."""

    def __init__(self) -> None:
        self._said: dict[tuple[str, int], tuple[int, list[Total]]] = {}
        self._sums: dict[int, dict[Key, Tally]] = {}

    def take(self, said: Iterable[Minute], now: float) -> None:
        """Count it, and forget what is old."""
        oldest = int(now // 60) - MINUTES
        for minute in said:
            if minute.minute < oldest:
                continue
            number, before = self._said.get((minute.node, minute.minute), (0, []))
            if minute.number <= number:
                continue
            try:
                totals = read_totals(minute.totals)
            except ValueError:
                continue  # of a version that we cannot read
            self._said[minute.node, minute.minute] = minute.number, totals
            sums = self._sums.setdefault(minute.minute, {})
            for key, change in difference(totals, before).items():
                sums.setdefault(key, Tally()).merge(change)
        for gone in [key for key in self._said if key[1] < oldest]:
            del self._said[gone]
        for old in [minute for minute in self._sums if minute < oldest]:
            del self._sums[old]

    def sums(self, place: int | None, last: int, now: float) -> dict[str, Tally]:
        """By task (``place`` 0), queue (1), or "" for all of it (None): this minute and the ``last`` ones before it."""
        present = int(now // 60)
        found: dict[str, Tally] = {}
        for minute in range(present - last, present + 1):
            for key, tally in self._sums.get(minute, {}).items():
                found.setdefault("" if place is None else key[place], Tally()).merge(tally)
        return found

    def rates(self, place: int | None, over: int, now: float) -> dict[str, float]:
        """How many ended a second in the last ``over`` minutes, the oldest of which counts as far as it is in them."""
        present = int(now // 60)
        share = 1 - now % 60 / 60
        found: dict[str, float] = {}
        for minute in range(present - over, present + 1):
            weight = share if minute == present - over else 1.0
            for key, tally in self._sums.get(minute, {}).items():
                name = "" if place is None else key[place]
                found[name] = found.get(name, 0.0) + weight * counted(tally, ENDED) / (60.0 * over)
        return found


def counted(tally: Tally, names: Iterable[str]) -> int:
    """How often one of these happened."""
    return sum(tally.counts[COUNTED.index(name)] for name in names)


class Figures:
    """For one thread: ``look`` about once a second."""

    def __init__(self, app: TaskBus, reports: ReportStore) -> None:
        self._app, self._reports = app, reports
        self._live, self._minutes = Live(), Minutes()
        self._seen: dict[str, int] | None = None
        self._dead: Mapping[str, int] = {}
        self._dead_at = 0.0
        self._queues: Sequence[QueueView] = ()

    def look(self) -> Picture:
        """What is now; of what cannot be asked, what was last known. Raises ``StoreError`` without any reports."""
        now = self._app.clock()
        self._reports.watch(now + PATIENCE)
        nodes = self._reports.nodes()
        if self._seen is None:
            self._seen = {node.node: max(0, node.number - BEFORE) for node in nodes}
        said = self._read(self._seen)
        self._live.take(now, said, [])
        self._minutes.take(said, now)
        live = self._live.snapshot(now, nodes)
        error = self._ask_queues(now)
        return Picture(
            now,
            self._tasks(None, live, now)[0],
            self._tasks(0, live, now),
            self._queue_figures(live, now),
            sorted((worker(each, now) for each in live.nodes), key=lambda each: (each.kind != "worker", each.name)),
            [running(each, now) for each in live.running],
            error,
        )

    def _read(self, seen: dict[str, int]) -> list[Minute]:
        found: list[Minute] = []
        while True:
            page = self._reports.minutes(seen, AT_ONCE)
            for each in page:
                seen[each.node] = max(each.number, seen.get(each.node, 0))
            found += page
            if len(page) < AT_ONCE:
                return found

    def _ask_queues(self, now: float) -> str:
        try:
            if now - self._dead_at >= DEAD_EVERY:
                self._dead = dead_by_queue(self._app, [view.name for view in self._queues])
                self._dead_at = now if self._queues else 0.0
            self._queues = queue_views(self._app, self._reports, now, self._dead)
        except TaskBusError as error:
            return str(error)
        return ""

    def _tasks(self, place: int | None, live: LiveSnapshot, now: float) -> list[TaskFigures]:
        """By task, the busiest first; or all of them as one."""
        lately, five = self._minutes.sums(place, 1, now), self._minutes.sums(place, MINUTES, now)
        m1, m5 = self._minutes.rates(place, 1, now), self._minutes.rates(place, MINUTES, now)
        is_all = place is None
        rates = {"": live.rates.succeeded + live.rates.failed} if is_all else {e.task: e.rate for e in live.types}
        busy: dict[str, int] = {"": live.active} if is_all else {}
        for each in () if is_all else live.running:
            busy[each.running.task] = busy.get(each.running.task, 0) + 1
        names = {"", *five} if is_all else {*five, *busy}
        nothing = Tally()
        found = [
            TaskFigures(
                name,
                rates.get(name, 0.0),
                m1.get(name, 0.0),
                m5.get(name, 0.0),
                busy.get(name, 0),
                (waits := lately.get(name, nothing).wait_histogram()).quantile(0.5),
                waits.quantile(0.95),
                (runs := lately.get(name, nothing).run_histogram()).quantile(0.5),
                runs.quantile(0.95),
                counted(five.get(name, nothing), LOST),
                counted(five.get(name, nothing), ("retried",)),
            )
            for name in names
        ]
        return sorted(found, key=lambda each: (-round(each.m5, 2), each.task))

    def _queue_figures(self, live: LiveSnapshot, now: float) -> list[QueueFigures]:
        rates = {each.queue: each.rate for each in live.queues}
        m1, m5 = self._minutes.rates(1, 1, now), self._minutes.rates(1, MINUTES, now)
        return [
            QueueFigures(
                view.name,
                view.ready,
                view.delayed,
                view.held,
                max(0.0, now - view.oldest_at) if view.oldest_at is not None else None,
                view.is_paused,
                view.workers,
                rates.get(view.name, 0.0),
                m1.get(view.name, 0.0),
                m5.get(view.name, 0.0),
                view.dead,
            )
            for view in self._queues
        ]


def worker(node: LiveNode, now: float) -> WorkerFigures:
    """A process that reports."""
    state = node.state
    return WorkerFigures(
        state.name or node.node,
        node.node,
        state.kind,
        node.is_alive,
        state.is_stopping,
        state.slots,
        state.active,
        state.held,
        state.rss,
        node.cpu_share,
        node.rate,
        max(0.0, now - state.started_at) if state.started_at else 0.0,
        list(state.queues),
    )


def running(each: LiveRunning, now: float) -> RunningFigures:
    """An attempt that runs."""
    told = each.running
    done, total, note = (*told.progress, 0.0, "")[:3] if len(told.progress) >= 3 else (None, 0.0, "")
    ran_for = max(0.0, now - told.since)
    return RunningFigures(told.id, told.task, told.queue, told.attempt, each.worker, ran_for, done, total, note)
