"""Prometheus's page of a process, made of ``Figures`` when it is asked for; nothing is counted here, nor for it.

celery-exporter's names and labels, so that its dashboards and alerts work, and ``taskbus_`` for what Celery has not.
One process, one page: no multiprocess mode, as runners tell their supervisor what they did anyway.

Needs prometheus-client, the extra ``metrics``: import it by ``taskbus.monitor.exposing``, which says so where it is not
installed. Labels are bounded: tasks, queues and exceptions get a name first come first served, so that no count ever
moves from one series to another; those that come late are together under ``other``.
"""

import platform
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from threading import Lock

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from taskbus import __version__
from taskbus.monitor.figures import Figures, QueueFigures
from taskbus.monitor.histogram import Histogram
from taskbus.monitor.naming import host_of
from taskbus.monitor.report import NodeState, Total

OTHER = "other"
"""The label of those for which there is no room."""
LONGEST = 200
"""Characters of a label."""
RUNTIME_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""The default buckets of Prometheus's client, as celery-exporter has them."""
WAIT_BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2000.0)
COUNTERS: dict[str, tuple[tuple[str, ...], str]] = {
    "celery_task_received": (
        ("received",),
        "Deliveries that workers took off their queues, also of what was given back.",
    ),
    "celery_task_started": (("started",), "Attempts that were started."),
    "celery_task_succeeded": (("succeeded",), "Tasks that succeeded."),
    "celery_task_retried": (("retried",), "Attempts that failed and will be repeated."),
    "celery_task_rejected": (("rejected",), "Tasks that refused to be done, and are dead letters now."),
    "celery_task_revoked": (("revoked", "expired"), "Tasks that were called off, or came too late."),
    "taskbus_task_failed": (("failed",), "Tasks that failed for good, of whatever exception."),
    "taskbus_task_expired": (("expired",), "Tasks that came too late; among those revoked, too."),
    "taskbus_task_crashed": (("crashed",), "Attempts that took their runner along."),
    "taskbus_task_given_back": (
        ("given_back",),
        "Deliveries that were given back to start elsewhere; received again, then.",
    ),
}
"""Names of counters, without ``_total``, with what they count by the names of ``report.COUNTED``, and their help.

They are told from 0 on, so that Prometheus sees the first of each as an increase. ``celery_task_failed`` cannot be: its
exceptions are not known before; hence the other one.
"""
Labels = tuple[str, ...]


class Names:
    """At most ``limit`` keys, first come first served; the place of a key never changes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known: set[Labels] = set()

    def has(self, key: Labels) -> bool:
        """Whether it has a place, or gets one now."""
        if key not in self._known and len(self._known) < self._limit:
            self._known.add(key)
        return key in self._known


class Metrics(Collector):
    """A page of what ``read`` gives. ``limit``: pairs of task and queue, queues, and exceptions that are told apart.

    ``by_host``: histograms get the label ``hostname`` too, which multiplies them.
    """

    def __init__(self, read: Callable[[], Figures], *, limit: int = 200, by_host: bool = False) -> None:
        self._read = read
        self._by_host = by_host
        self._tasks, self._queues, self._errors, self._schedules = (Names(limit) for _ in range(4))
        self._lock = Lock()  # of those who scrape; whoever counts knows nothing of it
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def page(self, accept: str = "") -> tuple[str, bytes]:
        """Content type and text, in the format that ``accept`` asks for."""
        encode, content_type = choose_encoder(accept)
        return content_type, encode(self._registry)

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering it must not read."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Every family, also those without samples: their help is worth having."""
        with self._lock:
            figures = self._read()
            totals = self._bounded(figures.totals)
            families = [
                *self._counters(figures, totals), self._failed(figures, totals), *self._histograms(figures, totals),
                *_workers(figures), *_nodes(figures), *self._of_queues(figures), *_consumers(figures, self._queue),
                *self._of_schedules(figures), *_process(figures),
            ]  # fmt: skip
        yield from families

    # --- tasks ---------------------------------------------------------------------------------------------------

    def _bounded(self, totals: Iterable[Total]) -> dict[Labels, Total]:
        """By task and queue as they are labelled: those without a name of their own added up."""
        found: dict[Labels, list[Total]] = defaultdict(list)
        for total in totals:
            task, queue = _cut(total.task), _cut(total.queue)
            if not total.task or not self._tasks.has((task, queue)):
                task, queue = OTHER, self._queue(queue)
            found[task, queue].append(total)
        return {key: parts[0] if len(parts) == 1 else _sum(key, parts) for key, parts in found.items()}

    def _queue(self, name: str) -> str:
        queue = _cut(name)
        return queue if self._queues.has((queue,)) else OTHER

    def _counters(self, figures: Figures, totals: dict[Labels, Total]) -> Iterator[Metric]:
        sent = CounterMetricFamily(
            "celery_task_sent", "Tasks that were sent, by those who count what they send.",
            labels=("name", "hostname", "queue_name"),
        )  # fmt: skip
        for (task, queue), total in totals.items():
            if count := total.counts.get("sent"):
                sent.add_metric((task, figures.hostname, queue), count)
        yield sent
        for metric, (names, help_text) in COUNTERS.items():
            family = CounterMetricFamily(metric, help_text, labels=("name", "hostname", "queue_name"))
            for (task, queue), total in totals.items():
                count = sum(total.counts.get(name, 0) for name in names)
                family.add_metric((task, figures.hostname, queue), count)
            yield family

    def _failed(self, figures: Figures, totals: dict[Labels, Total]) -> Metric:
        """By exception. A total that does not know of all of them says "" of the rest."""
        family = CounterMetricFamily(
            "celery_task_failed", "Tasks that failed for good, and are dead letters now.",
            labels=("name", "hostname", "queue_name", "exception"),
        )  # fmt: skip
        for (task, queue), total in totals.items():
            counts: dict[str, int] = defaultdict(int)
            for error, count in total.deaths.items():
                name = _cut(error.rpartition(".")[2])
                counts[name if self._errors.has((task, queue, name)) else OTHER] += count
            if (rest := total.counts.get("failed", 0) - sum(counts.values())) > 0:
                counts[""] += rest
            for name, count in counts.items():
                family.add_metric((task, figures.hostname, queue, name), count)
        return family

    def _histograms(self, figures: Figures, totals: dict[Labels, Total]) -> Iterator[Metric]:
        labels = ("name", "hostname", "queue_name") if self._by_host else ("name", "queue_name")
        runtime = HistogramMetricFamily("celery_task_runtime", "Seconds that attempts ran.", labels=labels)
        wait = HistogramMetricFamily(
            "celery_task_queue_wait_time", "Seconds from when a task could start to its start.", labels=labels
        )
        for (task, queue), total in totals.items():
            if total.counts.get("started"):
                own = (task, figures.hostname, queue) if self._by_host else (task, queue)
                runtime.add_metric(own, _buckets(total.runs, RUNTIME_BOUNDS), total.runs.sum)
                wait.add_metric(own, _buckets(total.waits, WAIT_BOUNDS), total.waits.sum)
        yield from (runtime, wait)

    # --- queues and schedules ------------------------------------------------------------------------------------

    def _of_queues(self, figures: Figures) -> Iterator[Metric]:
        length, oldest, unacked, delayed, paused, dead = (
            GaugeMetricFamily(name, help_text, labels=("queue_name",))
            for name, help_text in (
                ("celery_queue_length", "Messages that are ready to be fetched."),
                ("taskbus_queue_oldest_message_age_seconds", "For how long the first ready message waits; 0 if none."),
                ("taskbus_queue_unacked", "Messages that workers hold."),
                ("taskbus_scheduled_tasks", "Messages that wait for their time."),
                ("taskbus_queue_paused", "1 while nobody fetches from the queue."),
                ("taskbus_dlq_messages", "Dead letters that came from the queue."),
            )
        )
        total = GaugeMetricFamily("taskbus_dlq_size", "Dead letters of all queues.", labels=())
        if figures.queues is not None and figures.queues.dead is not None:
            total.add_metric((), figures.queues.dead)
        for name, queue in self._merged(figures.queues.queues if figures.queues is not None else ()).items():
            length.add_metric((name,), queue.ready)
            age = max(0.0, figures.at - queue.oldest_at) if queue.oldest_at is not None else 0.0
            oldest.add_metric((name,), age)
            unacked.add_metric((name,), queue.unacked)
            delayed.add_metric((name,), queue.delayed)
            if queue.is_paused is not None:
                paused.add_metric((name,), queue.is_paused)
            if queue.dead is not None:
                dead.add_metric((name,), queue.dead)
        yield from (length, oldest, unacked, delayed, paused, dead, total)

    def _merged(self, queues: Iterable[QueueFigures]) -> dict[str, QueueFigures]:
        merged: dict[str, QueueFigures] = {}
        for queue in queues:
            name = self._queue(queue.name)
            known = merged.get(name)
            merged[name] = queue if known is None else QueueFigures(
                name, known.ready + queue.ready, known.delayed + queue.delayed, known.unacked + queue.unacked,
                min((at for at in (known.oldest_at, queue.oldest_at) if at is not None), default=None),
                None, None if known.dead is None else known.dead + (queue.dead or 0),
            )  # fmt: skip
        return merged

    def _of_schedules(self, figures: Figures) -> Iterator[Metric]:
        last, late = (
            GaugeMetricFamily(f"taskbus_schedule_{name}", help_text, labels=("schedule",))
            for name, help_text in (
                ("last_run_timestamp_seconds", "When the schedule was last sent."),
                ("lateness_seconds", "How late its last run was sent."),
            )
        )
        sent, missed, skipped = (
            CounterMetricFamily(f"taskbus_schedule_{name}", help_text, labels=("schedule",))
            for name, help_text in (
                ("sent", "Runs that were sent."),
                ("missed", "Runs that came too late to be sent."),
                ("skipped", "Runs left out since the last one was still under way."),
            )
        )
        for each in figures.schedules:
            name = _cut(each.name)
            if not self._schedules.has((name,)):
                continue
            if each.last_sent_at is not None:
                last.add_metric((name,), each.last_sent_at)
                late.add_metric((name,), each.lateness)
            for family, count in ((sent, each.sent), (missed, each.missed), (skipped, each.skipped)):
                family.add_metric((name,), count)
        yield from (last, late, sent, missed, skipped)


# --- workers, nodes, the process -------------------------------------------------------------------------------------


def _workers(figures: Figures) -> Iterator[Metric]:
    """Added up by host: a worker's own name is new at each start, and so would be its series."""
    up, active, slots, used, held, memory = (
        GaugeMetricFamily(name, help_text, labels=("hostname",))
        for name, help_text in (
            ("celery_worker_up", "1 while the worker lives."),
            ("celery_worker_tasks_active", "Attempts that run now."),
            ("taskbus_worker_pool_size", "Attempts that can run at once."),
            ("taskbus_worker_utilization_ratio", "The share of them that do."),
            ("taskbus_worker_held_messages", "Messages that workers hold, running or not."),
            ("taskbus_worker_resident_memory_bytes", "Memory of all of its processes."),
        )
    )
    dropped = CounterMetricFamily(
        "taskbus_events_dropped", "Events and records that could not be told of.", labels=("hostname",)
    )
    workers = _by_host(node for node in figures.nodes if node.kind == "worker")
    for host, nodes in workers.items():
        running, room = sum(node.active for node in nodes), sum(node.slots for node in nodes)
        up.add_metric((host,), 1)
        active.add_metric((host,), running)
        slots.add_metric((host,), room)
        used.add_metric((host,), running / room if room else 0.0)
        held.add_metric((host,), sum(node.held for node in nodes))
        memory.add_metric((host,), sum(node.rss for node in nodes))
        dropped.add_metric((host,), sum(node.dropped for node in nodes))
    for host in {host_of(name) for name in figures.down} - workers.keys():
        up.add_metric((host,), 0)
    yield from (up, active, slots, used, held, memory, dropped)


def _nodes(figures: Figures) -> Iterator[Metric]:
    leader = GaugeMetricFamily("taskbus_beat_leader", "1 if the beat leads, 0 if it stands by.", labels=("hostname",))
    for host, nodes in _by_host(node for node in figures.nodes if node.kind == "beat").items():
        leader.add_metric((host,), any(node.is_leader for node in nodes))
    yield leader


def _consumers(figures: Figures, label: Callable[[str], str]) -> Iterator[Metric]:
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for node in figures.nodes:
        for queue in map(label, node.queues if node.kind == "worker" else ()):
            counts[queue] = [n + more for n, more in zip(counts[queue], (1, 1, max(1, node.processes)), strict=True)]
    for index, (what, help_text) in enumerate(
        (
            ("consumer", "Consumers of the queue."),
            ("worker", "Workers that consume the queue."),
            ("process", "Their processes that run tasks."),
        )
    ):
        family = GaugeMetricFamily(f"celery_active_{what}_count", help_text, labels=("queue_name",))
        for queue, numbers in counts.items():
            family.add_metric((queue,), numbers[index])
        yield family


def _process(figures: Figures) -> Iterator[Metric]:
    restarts = CounterMetricFamily(
        "taskbus_worker_process_restarts", "Runners that left, by why.", labels=("hostname", "reason")
    )
    for reason, count in figures.departures.items():
        restarts.add_metric((figures.hostname, reason), count)
    yield restarts
    if figures.is_broker_up is not None:
        yield GaugeMetricFamily("taskbus_broker_up", "1 while the broker answers.", value=figures.is_broker_up)
    if figures.broker_errors is not None:
        yield CounterMetricFamily("taskbus_broker_errors", "Calls that the broker failed.", value=figures.broker_errors)
    build = GaugeMetricFamily("taskbus_build_info", "The version, as labels.", labels=("version", "python"))
    build.add_metric((__version__, platform.python_version()), 1)
    yield build


def _by_host(nodes: Iterable[NodeState]) -> dict[str, list[NodeState]]:
    found: dict[str, list[NodeState]] = defaultdict(list)
    for node in nodes:
        found[host_of(node.name)].append(node)
    return found


def _sum(key: Labels, parts: Iterable[Total]) -> Total:
    counts: dict[str, int] = defaultdict(int)
    deaths: dict[str, int] = defaultdict(int)
    waits, runs = Histogram(), Histogram()
    for part in parts:
        for into, found in ((counts, part.counts), (deaths, part.deaths)):
            for name, count in found.items():
                into[name] += count
        waits.merge(part.waits)
        runs.merge(part.runs)
    return Total(key[0], key[1], counts, waits, runs, {}, deaths)


def _buckets(histogram: Histogram, bounds: tuple[float, ...]) -> list[tuple[str, float]]:
    told = [(_SPELLED[bound], float(count)) for bound, count in zip(bounds, histogram.up_to(bounds), strict=True)]
    return [*told, ("+Inf", float(histogram.total))]


_SPELLED = {bound: repr(bound) for bound in (*RUNTIME_BOUNDS, *WAIT_BOUNDS)}


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
