"""Workflows: to find one, call it off, and run again what failed in it."""

from collections.abc import Iterable, Iterator, Sequence

from taskbus.app import TaskBus
from taskbus.steering.queues import Changed
from taskbus.steering.refusal import NotThere, Refusal
from taskbus.store.base import DeadLetter, Filter
from taskbus.store.cancelling import cancel as cancel_flow
from taskbus.store.dead_letters import Replayed
from taskbus.store.filters import FlowFilter
from taskbus.store.flows import FlowState, FlowView, NodeState, NodeView

PAGE = 1000
MOST_SEEN, FEWEST = 5000, 200
"""Workflows that one search looks at; and those that it reads at once."""
MOST_LETTERS = 100
"""Dead letters of one workflow in which secret arguments are looked for."""


def find_flow(app: TaskBus, flow_id: str) -> FlowView:
    """The workflow of that id. Raises ``NotThere``."""
    flow = app.store.flow(flow_id)
    if flow is None:
        raise NotThere(
            f"there is no workflow {flow_id!r}",
            "it was never begun, or ended longer than flow_ttl ago; see: taskbus flow list",
        )
    return flow


def find_flows(
    app: TaskBus, where: FlowFilter, *, limit: int, before: tuple[float, str] | None = None
) -> tuple[Sequence[FlowView], tuple[float, str] | None]:
    """Workflows that match, the newest first, and where to go on (None: there are no more).

    ``before``: what a former answer said of where to go on. It looks at ``MOST_SEEN`` workflows at most: an answer may
    be short, even empty, and there still be more.
    """
    found: list[FlowView] = []
    seen = 0
    while len(found) < limit and seen < MOST_SEEN:
        page = app.store.flows(limit=max(limit - len(found), FEWEST if where != FlowFilter() else 1), before=before)
        for view in page:
            flow, seen, before = view.flow, seen + 1, (view.flow.sent_at, view.flow.id)
            if where.matches(id=flow.id, name=flow.name, state=str(view.state), sent_at=flow.sent_at):
                found.append(view)
                if len(found) == limit:
                    break
        if not page:
            return found, None
    return found, before if app.store.flows(limit=1, before=before) else None


def nodes_of(app: TaskBus, flow_id: str) -> Iterator[NodeView]:
    """Its tasks and joins, by their ids; read page by page as they are asked for."""
    after = ""
    while page := app.store.nodes(flow_id, limit=PAGE, after=after):
        yield from page
        after = page[-1].node.id


def cancel(app: TaskBus, flow_id: str) -> Changed:
    """Revoke what has not started of a workflow; what runs goes on. ``count``: the tasks that will not run."""
    flow = find_flow(app, flow_id)
    cancel_flow(app.store, flow_id)
    left = flow.counts.get(NodeState.WAITING, 0) + flow.counts.get(NodeState.READY, 0)
    return Changed(flow.state is FlowState.RUNNING and not flow.is_cancelled, left)


def letters_of(app: TaskBus, nodes: Iterable[NodeView]) -> Sequence[DeadLetter]:
    """Dead letters of those of these tasks that failed by themselves, ``MOST_LETTERS`` at most."""
    ids = tuple(view.node.id for view in nodes if can_be_retried(view))[:MOST_LETTERS]
    return app.store.dead_letters(Filter(task_ids=ids), limit=len(ids)) if ids else ()


def can_be_retried(view: NodeView) -> bool:
    """Whether a task has failed by itself."""
    return bool(view.node.task) and not view.cause and view.state in (NodeState.FAILURE, NodeState.REVOKED)


def failed_of(app: TaskBus, flow_id: str, node: str | None = None) -> Sequence[NodeView]:
    """The tasks of a workflow that failed by themselves, or the one of that id. Raises ``NotThere``."""
    find_flow(app, flow_id)
    failed = [view for view in nodes_of(app, flow_id) if can_be_retried(view) and node in (None, view.node.id)]
    if node is not None and not failed:
        raise NotThere(f"no task {node!r} of workflow {flow_id} has failed by itself")
    return failed


def retry(app: TaskBus, flow_id: str, node: str | None = None) -> Sequence[Replayed]:
    """Run again what failed by itself, or that one task, and go on from there: what became of each.

    Raises ``NotThere``, and ``Refusal`` for a workflow that was cancelled.
    """
    if find_flow(app, flow_id).is_cancelled:
        raise Refusal(f"workflow {flow_id} was cancelled, so that nothing of it runs any more", "send it anew")
    return list(app.flow(flow_id).retried(node))
