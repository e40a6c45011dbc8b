"""Workflows: how far they are, their graphs; to call one off, and to run again what failed in one."""

from collections.abc import Iterable, Sequence
from itertools import islice

from taskbus.steering import flows as acts
from taskbus.steering.refusal import Refusal
from taskbus.steering.showing import Showing
from taskbus.store.flows import FlowView, NodeState, NodeView
from taskbus.store.where import parse_flows
from taskbus.web.api.paging import after, position
from taskbus.web.house import Visit
from taskbus.web.routes import Routes
from taskbus.web.shapes.basis import Changed, Found, Listing, Nothing
from taskbus.web.shapes.records import Flow, FlowDetail, FlowGroup, FlowNode
from taskbus.workflow.counts import counts_of

flows = Routes("flows")
MOST_NODES = 2000
"""Tasks of a workflow that are shown: more are no picture."""


@flows.get("/flows")
def list_all(visit: Visit, query: Found) -> Listing[Flow]:
    """Workflows that match, the newest first. ``count`` is of this page: there may be millions."""
    house = visit.house
    wanted = parse_flows(query.where, house.clock())
    page, rest = acts.find_flows(house.app, wanted, limit=query.limit, before=position(query.after))
    note = "" if rest is None or len(page) == query.limit else f"not all were looked at: {acts.MOST_SEEN:,} at a time"
    following = after(*rest) if rest is not None else None
    items = [shape_of(view) for view in page]
    return Listing(items=items, next=following, count=len(page), is_capped=bool(following), note=note)


@flows.get("/flows/{id}")
def show(visit: Visit, id: str) -> FlowDetail:
    """One workflow as a graph."""
    app = visit.house.app
    view = acts.find_flow(app, id)
    nodes = list(islice(acts.nodes_of(app, id), MOST_NODES + 1))
    shown = nodes[:MOST_NODES]
    showing = Showing(app)
    secrets = showing.secrets(acts.letters_of(app, shown))
    note = "" if shown == nodes else f"the first {MOST_NODES:,} of its tasks are shown, by their ids"
    return FlowDetail(
        flow=shape_of(view),
        nodes=[_node(each, showing, secrets) for each in shown],
        edges=edges_of(shown),
        groups=[_group(each) for each in shown if each.node.is_join],
        note=note,
    )


@flows.post("/flows/{id}/cancel")
def cancel(visit: Visit, id: str, body: Nothing) -> Changed:
    """Revoke what has not started of a workflow; what runs goes on to its end."""
    done = acts.cancel(visit.house.app, id)
    visit.note(target=id, count=done.count)
    return Changed(changed=done.changed, count=done.count)


@flows.post("/flows/{id}/retry")
def retry(visit: Visit, id: str, body: Nothing) -> Changed:
    """Run again what failed in a workflow, and go on from there."""
    tried = acts.retry(visit.house.app, id)
    refused = [each for each in tried if each.refused]
    sent = len(tried) - len(refused)
    visit.note(target=id, count=sent)
    if refused and not sent:
        raise Refusal(f"none of {len(refused)} tasks was sent again: {refused[0].task_id}: {refused[0].refused}")
    return Changed(changed=sent > 0, count=sent)


def shape_of(view: FlowView) -> Flow:
    """A workflow as it is sent."""
    counts = counts_of(view)
    return Flow(
        id=view.flow.id,
        name=view.flow.name,
        state=str(view.state),
        done=counts.ended,
        total=counts.total,
        dead=counts.dead,
        created_at=view.flow.sent_at or None,
        ended_at=view.ended_at or None,
    )


def edges_of(nodes: Iterable[NodeView]) -> list[tuple[str, str]]:
    """What waits for what: a task for the one before it, a join for its members. Only between ids that are there.

    Nor for what its members wait for themselves: a join's own ``after`` is drawn where it has none.
    """
    nodes = list(nodes)
    known = {view.node.id for view in nodes}
    joined = {view.node.join for view in nodes}
    edges = [(view.node.after, view.node.id) for view in nodes if view.node.after and view.node.id not in joined]
    edges += [(view.node.id, view.node.join) for view in nodes if view.node.join]
    return [(start, end) for start, end in dict.fromkeys(edges) if start in known and end in known]


def _node(view: NodeView, showing: Showing, secrets: Sequence[str]) -> FlowNode:
    node, failure = view.node, view.failure
    return FlowNode(
        id=node.id,
        task=node.task,
        kind="join" if node.is_join else "task",
        state=str(view.state),
        started_at=view.started_at or None,
        ended_at=view.ended_at or None,
        error=showing.text(f"{failure.type}: {failure.message}", secrets) if failure is not None else "",
        group=node.join,
    )


def _group(view: NodeView) -> FlowGroup:
    total = max(0, view.node.size)
    has_failed = view.state is NodeState.FAILURE
    return FlowGroup(
        id=view.node.id, name=view.node.path, total=total, done=max(0, total - view.left), dead=int(has_failed)
    )
