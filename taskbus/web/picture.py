"""From what is known of the moment to what is sent of it: the parts of the live picture, by view."""

from typing import Any

from taskbus.history import shapes as known
from taskbus.monitor.report import Progress as Told
from taskbus.monitor.report import Running as Ran
from taskbus.steering.detail import Row
from taskbus.steering.queues import QueueView
from taskbus.steering.search import row_of
from taskbus.web.gauges import Gauged
from taskbus.web.problems import Seen, problems
from taskbus.web.shapes.basis import Quantiles
from taskbus.web.shapes.picture import LiveType, Rates, Snapshot, ViewName
from taskbus.web.shapes.tasks import TaskRow
from taskbus.web.shapes.work import Node, Progress, Queue, Running

PARTS: dict[ViewName, frozenset[str]] = {
    "overview": frozenset({"queues", "nodes", "types", "running", "problems"}),
    "queues": frozenset({"queues", "problems"}),
    "nodes": frozenset({"nodes", "running", "problems"}),
    "tasks": frozenset({"running", "tail", "types"}),
}
"""What each view shows besides rates and durations."""
MOST_QUEUES, MOST_NODES, MOST_TYPES = 500, 500, 500
"""A snapshot goes to every client once a second: beyond these a list asks for pages."""
LONGEST_TEXT = 300


def snapshot(seen: Seen, view: ViewName) -> Snapshot:
    """The parts of the picture that a view shows; what it leaves out is empty."""
    live, parts = seen.live, PARTS[view]
    return Snapshot(
        now=seen.now,
        rates=Rates(*live.rates),
        wait=quantiles(live.wait),
        run=quantiles(live.run),
        queues=queues(live, seen.gauged)[:MOST_QUEUES] if "queues" in parts else [],
        nodes=[node(each) for each in live.nodes[:MOST_NODES]] if "nodes" in parts else [],
        types=[LiveType(*each) for each in live.types[:MOST_TYPES]] if "types" in parts else [],
        running=[running(each) for each in live.running] if "running" in parts else [],
        problems=problems(seen) if "problems" in parts else [],
        tail=[row(each) for each in live.tail] if "tail" in parts else [],
        tail_hidden=live.tail_hidden if "tail" in parts else 0,
    )


def quantiles(found: known.Quantiles) -> Quantiles:
    """As they are sent."""
    return Quantiles(p50=found.p50, p95=found.p95, p99=found.p99, count=found.count)


def queues(live: known.LiveSnapshot, gauged: Gauged) -> list[Queue]:
    """Every queue, by name: how full it is as the broker says, how fast it goes as its workers say."""
    rates = {each.queue: each for each in live.queues}
    return [queue(view, rates.get(view.name), gauged.growth.get(view.name, 0.0)) for view in gauged.queues]


def queue(view: QueueView, live: known.LiveQueue | None, growth: float) -> Queue:
    """One of them. What comes in is what goes out, and what it grows by."""
    rate_out = live.rate if live is not None else 0.0
    return Queue(
        name=view.name,
        ready=view.ready,
        delayed=view.delayed,
        held=view.held,
        oldest_at=view.oldest_at,
        is_paused=view.is_paused,
        workers=view.workers,
        rate_in=max(0.0, rate_out + growth),
        rate_out=rate_out,
        dead=view.dead,
    )


def node(found: known.LiveNode) -> Node:
    """A process that reports, as it is sent."""
    state = found.state
    return Node(
        name=state.name or found.node,
        node=found.node,
        at=found.at,
        is_alive=found.is_alive,
        cpu_share=found.cpu_share,
        queues=list(state.queues),
        **{name: getattr(state, name) for name in _SAME},
    )


_SAME = (
    "kind", "host", "pid", "version", "app", "started_at", "is_stopping", "pool", "processes", "slots", "active",
    "held", "rss", "load", "sampled", "dropped", "http", "is_leader",
)  # fmt: skip
"""What a node says and what is sent of it have these by the same names."""


def running(found: known.LiveRunning) -> Running:
    """An attempt that runs, as it is sent."""
    ran: Ran = found.running
    return Running(
        id=ran.id,
        task=ran.task,
        queue=ran.queue,
        attempt=ran.attempt,
        since=ran.since,
        worker=found.worker,
        pid=ran.pid,
        progress=progress(ran.progress),
        flow=ran.flow,
    )


def progress(said: Any) -> Progress | None:
    """How far it has come, None if it does not say."""
    if not said:
        return None
    told = Told(*said[: len(Told._fields)])
    return Progress(done=told.done, total=told.total, note=told.note, at=told.at)


def row(found: known.TaskRow) -> TaskRow:
    """A record of the tail, as it is sent: its texts cut, as there are many."""
    cut = {name: getattr(found, name)[:LONGEST_TEXT] for name in ("args", "kwargs", "message")}
    return row_shape(row_of(found._replace(**cut)))


def row_shape(row: Row) -> TaskRow:
    """A task in one line, as it is sent."""
    return TaskRow(**{name: getattr(row, name) for name in Row.__dataclass_fields__})
