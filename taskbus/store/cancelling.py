"""Cancelling a flow of any size, by steps of a bounded one."""

from collections.abc import Sequence
from typing import Protocol

from taskbus.failpoint import failpoint
from taskbus.message import Recorded
from taskbus.store.base import AnyChange
from taskbus.store.flows import CancelFlow, FlowState, FlowStore, NodeState

PAGE = 1000
"""Nodes called off in one step."""


class Applying(FlowStore, Protocol):
    """What is needed of a store."""

    def apply(self, changes: Sequence[AnyChange]) -> Recorded | None: ...


def cancel(store: Applying, flow_id: str) -> None:
    """Revoke what has not started of a flow: all of that has ended when this returns, and nothing starts any more.

    Dying in between leaves a flow that is cancelled, some tasks of which are called off only when their messages come,
    or by cancelling it again. Nothing happens to a flow that has ended, or is not there.
    """
    failpoint("cancel.before")
    store.apply([CancelFlow(flow_id)])
    failpoint("cancel.inside")
    after = ""
    while _is_running(store, flow_id) and (page := store.nodes(flow_id, limit=PAGE, after=after)):
        after = page[-1].node.id
        left = [view.node.id for view in page if view.state in (NodeState.READY, NodeState.STARTED)]
        if left:
            store.apply([CancelFlow(flow_id, left)])
    failpoint("cancel.after")


def _is_running(store: Applying, flow_id: str) -> bool:
    view = store.flow(flow_id)
    return view is not None and view.state is FlowState.RUNNING
