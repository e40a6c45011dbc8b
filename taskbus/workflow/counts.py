"""How far a workflow is, in numbers."""

from dataclasses import dataclass

from taskbus.store.flows import FlowView, NodeState


@dataclass(frozen=True, slots=True)
class Counts:
    """Tasks of a workflow by how they stand, each in one of six; of a batch its members' tasks, not its callbacks.

    ``failed``: buried as dead letters, which are the ``dead`` among them, or not run because of one. ``skipped``:
    callbacks of what did not happen.
    """

    pending: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    revoked: int = 0
    skipped: int = 0
    dead: int = 0

    @property
    def total(self) -> int:
        return self.pending + self.running + self.ended

    @property
    def ended(self) -> int:
        return self.succeeded + self.failed + self.revoked + self.skipped


def counts_of(view: FlowView) -> Counts:
    """As a flow has them."""
    states = view.counts
    return Counts(
        pending=states.get(NodeState.WAITING, 0) + states.get(NodeState.READY, 0),
        running=states.get(NodeState.STARTED, 0),
        succeeded=states.get(NodeState.SUCCESS, 0),
        failed=states.get(NodeState.FAILURE, 0),
        revoked=states.get(NodeState.REVOKED, 0),
        skipped=states.get(NodeState.SKIPPED, 0),
        dead=view.dead,
    )
