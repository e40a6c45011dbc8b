"""A workflow that was begun: how far it is, and what may be done about it."""

from collections.abc import Iterator, Sequence

from taskbus.errors import ConfigError
from taskbus.store.base import Filter
from taskbus.store.flows import CancelFlow, FlowState, FlowView, NodeState, NodeView, ReviveNode
from taskbus.workflow.counts import Counts, counts_of
from taskbus.workflow.flows import Flows

PAGE = 1000


class FlowHandle:
    """A workflow by its ``id``: see ``app.flow``. Every method asks the store anew."""

    def __init__(self, flow_id: str, flows: Flows) -> None:
        self.id = flow_id
        self._flows = flows

    def view(self) -> FlowView | None:
        """The workflow as it stands; None if there is none of that id (any more)."""
        return self._flows.home.store.flow(self.id)

    @property
    def state(self) -> FlowState | None:
        """How it stands; None if there is none of that id (any more)."""
        view = self.view()
        return None if view is None else view.state

    def counts(self) -> Counts:
        """How many of its tasks wait, run and have ended."""
        view = self.view()
        return Counts() if view is None else counts_of(view.counts)

    def nodes(self) -> Iterator[NodeView]:
        """Its tasks and groups as they stand, by their ids; read page by page as they are asked for."""
        after = ""
        while page := self._flows.home.store.nodes(self.id, limit=PAGE, after=after):
            yield from page
            after = page[-1].node.id

    def cancel(self) -> None:
        """Revoke what has not started. What runs goes on to its end; nothing happens to what has ended."""
        self._flows.change(CancelFlow(self.id))

    def retry(self, node: str | None = None) -> Sequence[str]:
        """Run again what failed by itself, or only the task of that id, and go on from there.

        What succeeded is not run again. Returns the ids of the tasks that were sent again, from their dead letters or
        from the messages that the workflow keeps; a task of which neither is there is left out.

        Raises:
            ConfigError: it was cancelled.
            PublishFailed: the broker refused; what is not reported stays as it is.
        """
        view = self.view()
        if view is not None and view.is_cancelled:
            raise ConfigError(f"workflow {self.id} was cancelled, so that nothing of it runs any more; send it anew")
        return [each.node.id for each in list(self._to_retry(node)) if self._again(each)]

    def _to_retry(self, node: str | None) -> Iterator[NodeView]:
        for each in self.nodes():
            if not each.node.task or node not in (None, each.node.id):
                continue
            has_failed = each.state in (NodeState.FAILURE, NodeState.REVOKED) and not each.cause
            # Only copies that can be told apart may be sent while another one may be on its way.
            is_lost = node is not None and each.state is NodeState.READY and not self._flows.home.shares_database
            if has_failed or is_lost:
                yield each

    def _again(self, view: NodeView) -> bool:
        node, letters = view.node, self._flows.letters()
        if letters.show(node.id) is not None:
            return any(not replayed.refused for replayed in letters.replay(Filter(task_ids=(node.id,))))
        if not (node.wire or node.after):  # the message of a root is not kept: whoever began the flow published it
            return False
        self._flows.change(ReviveNode(self.id, node.id, is_sent=False))
        return True

    def __repr__(self) -> str:
        return f"<FlowHandle {self.id}>"


def listed(flows: Flows, limit: int | None) -> Iterator[FlowView]:
    """See ``TaskBus.flows``."""
    before: tuple[float, str] | None = None
    left = limit
    while left is None or left > 0:
        size = PAGE if left is None else min(PAGE, left)
        page = flows.home.store.flows(limit=size, before=before)
        yield from page
        if len(page) < size:
            return
        before = page[-1].flow.sent_at, page[-1].flow.id
        left = None if left is None else left - len(page)
