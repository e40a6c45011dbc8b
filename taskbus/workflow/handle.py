"""A workflow that was begun: how far it is, and what may be done about it."""

from collections.abc import Iterator, Sequence

from taskbus.errors import ConfigError
from taskbus.store.base import Filter
from taskbus.store.dead_letters import DeadLetters, Replayed, not_yet
from taskbus.store.flows import FlowState, FlowView, NodeState, NodeView, ReviveNode
from taskbus.workflow.counts import Counts, counts_of
from taskbus.workflow.flows import Flows, Refused

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
        """How many of its tasks wait, run and have ended; of a batch, without its callbacks."""
        view = self.view()
        return Counts() if view is None else counts_of(view)

    def nodes(self) -> Iterator[NodeView]:
        """Its tasks and groups as they stand, by their ids; read page by page as they are asked for."""
        after = ""
        while page := self._flows.home.store.nodes(self.id, limit=PAGE, after=after):
            yield from page
            after = page[-1].node.id

    def cancel(self) -> None:
        """Revoke what has not started, or waits for another attempt: that has ended when this returns.

        What runs goes on to its end; nothing happens to what has ended. Raises ``PublishFailed`` where the store cannot
        be asked: it may be cancelled in part, and may be cancelled again.
        """
        self._flows.cancel(self.id)

    def retry(self, node: str | None = None) -> Sequence[str]:
        """Run again what failed by itself, or only the task of that id, and go on from there.

        What succeeded is not run again. Returns the ids of the tasks that were sent again; what could not be is left
        out, and ``retried`` says why.

        Raises:
            ConfigError: it was cancelled.
            PublishFailed: the broker refused; what is not reported stays as it is.
        """
        return [each.task_id for each in self.retried(node) if not each.refused]

    def retried(self, node: str | None = None) -> Iterator[Replayed]:
        """As ``retry``, one at a time as they are asked for, with the reason where one is refused.

        They are sent from their dead letters, or else by the messages that the workflow keeps: of all tasks but those
        that were sent when it began.
        """
        view = self.view()
        if view is not None and view.is_cancelled:
            raise ConfigError(f"workflow {self.id} was cancelled, so that nothing of it runs any more; send it anew")
        letters = self._flows.letters()
        return (self._again(each, letters) for each in self._to_retry(node))

    def _to_retry(self, node: str | None) -> Iterator[NodeView]:
        for each in self.nodes():
            if not each.node.task or node not in (None, each.node.id):
                continue
            has_failed = each.state in (NodeState.FAILURE, NodeState.REVOKED) and not each.cause
            # Only copies that can be told apart may be sent while another one may be on its way.
            is_lost = node is not None and each.state is NodeState.READY and not self._flows.home.shares_database
            if has_failed or is_lost:
                yield each

    def _again(self, view: NodeView, letters: DeadLetters) -> Replayed:
        node, refused = view.node, ""
        for replayed in letters.replay(Filter(task_ids=(node.id,))):
            return replayed
        if not (node.wire or node.after):  # the message of a root is not kept: whoever began the flow published it
            refused = "its dead letter is gone, and workflows keep no message of what they begin with; send it anew"
        else:
            try:
                self._flows.change(ReviveNode(self.id, node.id, is_sent=False))
            except Refused:
                refused = not_yet(self.id)
        return Replayed(node.id, node.task, node.queue, refused)

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
