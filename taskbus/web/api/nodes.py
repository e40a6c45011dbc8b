"""Nodes: workers, beats and web servers; to grow, shrink, stop, limit and ask them."""

from collections.abc import Mapping
from typing import Any

from taskbus.history.shapes import LiveNode, LiveRunning
from taskbus.steering import commanding
from taskbus.steering.nodes import SeenNode, find_node, seen_nodes
from taskbus.steering.tracing import RunningTask, running_of
from taskbus.store.where import parse_nodes
from taskbus.web import picture
from taskbus.web.api.paging import page_of
from taskbus.web.house import House, Visit
from taskbus.web.routes import Routes
from taskbus.web.shapes import work
from taskbus.web.shapes.basis import Found, Listing, Nothing, Role

nodes = Routes("nodes")
TIMEOUT = 10.0
"""Seconds to wait for an answer: a worker that nobody watches hears of an order within two."""


@nodes.get("/nodes")
def list_all(visit: Visit, query: Found) -> Listing[work.Node]:
    """Every process that reports and matches, by name."""
    house, wanted = visit.house, parse_nodes(query.where)
    shares = _shares(house)
    seen = [each for each in seen_nodes(house.reports, house.clock()) if commanding.is_meant(each, wanted)]
    found = [shape_of(each, shares) for each in seen]
    page, following = page_of(found, query, lambda node: node.node)
    return Listing(items=list(page), next=following, count=len(found))


@nodes.get("/nodes/{name}")
def show(visit: Visit, name: str) -> work.NodeDetail:
    """One of them: what it runs, knows, and holds back."""
    house = visit.house
    seen = find_node(house.reports, name, house.clock())
    state = seen.state
    return work.NodeDetail(
        node=shape_of(seen, _shares(house)),
        running=[running_shape(each) for each in running_of(seen)],
        tasks=list(state.tasks),
        runners=[work.Runner(pid=pid, rss=rss) for pid, rss, *_ in state.runners],
        limits={task: text for task, text, *_ in state.limits},
    )


@nodes.post("/nodes/{name}/grow")
def grow(visit: Visit, name: str, body: work.Many) -> work.Answer:
    """Have so many runners more."""
    visit.note(target=name, detail=f"by {body.n}")
    return _resized(visit, body.n, commanding.grow(visit.house.reports, name, body.n, **_waiting(visit)))


@nodes.post("/nodes/{name}/shrink")
def shrink(visit: Visit, name: str, body: work.Many) -> work.Answer:
    """Have so many runners less, once they have finished what they run."""
    visit.note(target=name, detail=f"by {body.n}")
    return _resized(visit, body.n, commanding.shrink(visit.house.reports, name, body.n, **_waiting(visit)))


@nodes.post("/nodes/{name}/stop", role=Role.ADMIN)
def stop(visit: Visit, name: str, body: Nothing) -> work.Answer:
    """Stop a worker in good order: what it runs is finished, or given back."""
    visit.note(target=name)
    return _answer(commanding.stop(visit.house.reports, name, **_waiting(visit)))


@nodes.post("/nodes/{name}/limit")
def limit(visit: Visit, name: str, body: work.Limit) -> work.Answer:
    """Let a task start so often there; an empty rate ends the limit."""
    visit.note(target=name, detail=f"{body.task} {body.rate or 'without a limit'}")
    return _answer(commanding.limit(visit.house.reports, name, body.task, body.rate, **_waiting(visit)))


@nodes.post("/nodes/{name}/add_queue")
def add_queue(visit: Visit, name: str, body: work.QueueName) -> work.Answer:
    """Have a worker fetch from one more queue."""
    visit.note(target=name, detail=body.queue)
    return _answer(commanding.add_queue(visit.house.reports, name, body.queue, **_waiting(visit)))


@nodes.post("/nodes/{name}/cancel_queue")
def cancel_queue(visit: Visit, name: str, body: work.QueueName) -> work.Answer:
    """Have a worker fetch from a queue no longer."""
    visit.note(target=name, detail=body.queue)
    return _answer(commanding.cancel_queue(visit.house.reports, name, body.queue, **_waiting(visit)))


@nodes.post("/nodes/{name}/ask")
def ask(visit: Visit, name: str, body: work.Command) -> work.Answer:
    """Ask a worker something that changes nothing: ping, stats, active, reserved, registered."""
    visit.note(target=name, detail=body.command)
    return _answer(commanding.question(visit.house.reports, name, body.command, **_waiting(visit)))


def _waiting(visit: Visit) -> dict[str, Any]:
    return {"timeout": TIMEOUT, "clock": visit.house.clock}


def _resized(visit: Visit, n: int, reply: Any) -> work.Answer:
    """The answer; so many runners were changed, unless it says why not."""
    answer = _answer(reply)
    visit.note(count=0 if answer.error else n)
    return answer


def _answer(reply: Any) -> work.Answer:
    match reply:
        case {"error": error}:
            return work.Answer(error=str(error))
        case {"ok": value}:
            return work.Answer(ok=value)
        case _:
            return work.Answer(ok=reply)


def _shares(house: House) -> Mapping[str, float]:
    """What each uses of a core, by node, as far as somebody has measured it."""
    live = house.snapshot
    return {each.node: each.cpu_share for each in live.nodes} if live is not None else {}


def shape_of(seen: SeenNode, shares: Mapping[str, float]) -> work.Node:
    """A node as it is sent."""
    return picture.node(LiveNode(seen.node, seen.state, seen.at, seen.is_alive, shares.get(seen.node, 0.0), 0.0))


def running_shape(each: RunningTask) -> work.Running:
    """A running attempt as it is sent."""
    return picture.running(LiveRunning(each.seen.name, each.running))
