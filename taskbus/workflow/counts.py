"""How far a workflow is, in numbers."""

from collections.abc import Mapping
from typing import NamedTuple

from taskbus.store.flows import NodeState


class Counts(NamedTuple):
    """Tasks of a workflow by how they stand. ``failed``: buried as dead letters, or not run because of one.

    ``skipped``: callbacks of what did not happen.
    """

    pending: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    revoked: int = 0
    skipped: int = 0

    @property
    def total(self) -> int:
        return sum(self)

    @property
    def ended(self) -> int:
        return self.succeeded + self.failed + self.revoked + self.skipped


def counts_of(states: Mapping[NodeState, int]) -> Counts:
    """As ``FlowView.counts`` has them."""
    return Counts(
        pending=states.get(NodeState.WAITING, 0) + states.get(NodeState.READY, 0),
        running=states.get(NodeState.STARTED, 0),
        succeeded=states.get(NodeState.SUCCESS, 0),
        failed=states.get(NodeState.FAILURE, 0),
        revoked=states.get(NodeState.REVOKED, 0),
        skipped=states.get(NodeState.SKIPPED, 0),
    )
