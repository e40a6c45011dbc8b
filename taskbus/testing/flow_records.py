"""What the contract of flows is written with: nodes by a line each, and a flow under test."""

from collections.abc import Sequence
from typing import Any

import pytest

from taskbus.message import Recorded, Sealed
from taskbus.outcome import Failure
from taskbus.store.base import AnyChange, Store
from taskbus.store.flows import (
    BeginFlow,
    Begun,
    EndNode,
    Flow,
    FlowView,
    Inputs,
    Kept,
    Node,
    NodeState,
    NodeView,
    Start,
)
from taskbus.testing.clock import MovableClock
from taskbus.testing.records import FAILURE, Basis

SUCCESS, FAILED, REVOKED, SKIPPED = NodeState.SUCCESS, NodeState.FAILURE, NodeState.REVOKED, NodeState.SKIPPED
WAITING, READY, STARTED = NodeState.WAITING, NodeState.READY, NodeState.STARTED
TTL = 100.0


def task(id: str, **fields: Any) -> Node:
    """A task that keeps its value and a result; those that wait for another are given its value, and have a wire."""
    waits = bool(fields.get("after"))
    given: dict[str, Any] = {
        "queue": f"queue-{id}", "keeps": True, "takes": waits, "wire": wire(id) if waits else b"", "result_ttl": 60.0,
    }  # fmt: skip
    return Node(id, f"tasks.{id}", **{**given, **fields})


def join(id: str, size: int, **fields: Any) -> Node:
    """A join of so many members."""
    return Node(id, size=size, **fields)


def group(id: str, count: int, **fields: Any) -> list[Node]:
    """A join and its members, ``id-0``, ``id-1`` and so on, which ``fields`` are about."""
    policy = {"policy": fields.pop("policy")} if "policy" in fields else {}
    members = [task(f"{id}-{place}", join=id, place=place, **fields) for place in range(count)]
    return [join(id, count, **policy), *members]


def wire(id: str) -> bytes:
    """What is published for a node."""
    return b"\x00wire of " + id.encode()


def blamed(id: str, message: str = FAILURE.message) -> Failure:
    """What is said of those that end because a task failed."""
    return Failure("taskbus.errors.FlowFailed", f"task tasks.{id} ({id}) failed: {message}")


def ids_of(ready: Sequence[Sealed]) -> list[str]:
    """The nodes whose messages these are."""
    return [sealed.wire.removeprefix(b"\x00wire of ").decode() for sealed in ready]


def values(inputs: Inputs | None) -> Any:
    """Inputs as lists of values; what is no success as its state."""
    if inputs is None:
        return None
    if not isinstance(inputs, Kept):
        return [values(each) for each in inputs]
    return inputs.value.decode() if inputs.state is SUCCESS else inputs.state.value


class FlowUnderTest:
    """One flow in a store."""

    def __init__(self, store: Store, clock: MovableClock, id: str = "flow") -> None:
        self.store, self.clock, self.id = store, clock, id

    def apply(self, *changes: AnyChange) -> list[str]:
        """What becomes READY, in no order."""
        recorded = self.store.apply(changes)
        assert isinstance(recorded, Recorded)
        return sorted(ids_of(recorded.ready))

    def refuses(self, *changes: AnyChange) -> None:
        """It refuses these changes, and nothing happens."""
        before = self.nodes()
        assert self.store.apply(changes) is None
        assert self.nodes() == before

    def begin(self, *nodes: Node, last: str = "", ttl: float = TTL, name: str = "") -> list[str]:
        """Begin it, with these nodes."""
        return self.apply(BeginFlow(Flow(self.id, name, last, self.clock(), ttl), nodes))

    def ended(self, id: str, state: NodeState = SUCCESS, failure: Failure | None = FAILURE) -> EndNode:
        """The end of a node, whose value is its id."""
        failure = failure if state is FAILED else None
        return EndNode(self.id, id, state, self.clock(), id.encode() if state is SUCCESS else b"", "msgpack", failure)

    def end(self, *ids: str, state: NodeState = SUCCESS) -> list[str]:
        """End nodes, all at once."""
        return self.apply(*(self.ended(id, state) for id in ids))

    def start(self, id: str, copy: str = "") -> Begun:
        """Begin a node."""
        (begun,) = self.store.begin([Start(self.id, id, copy, self.clock())])
        return begun

    def given(self, id: str, copy: str = "") -> Any:
        """What a node is given that is READY."""
        begun = self.start(id, copy)
        assert begun.verdict == "run"
        return values(begun.inputs)

    def view(self) -> FlowView:
        """The flow as it stands."""
        view = self.store.flow(self.id)
        assert view is not None
        return view

    def nodes(self) -> dict[str, NodeView]:
        """Its nodes as they stand."""
        found: dict[str, NodeView] = {}
        while page := self.store.nodes(self.id, limit=1000, after=max(found, default="")):
            found.update((view.node.id, view) for view in page)
        return found

    def states(self, *ids: str) -> list[NodeState]:
        """How these stand."""
        nodes = self.nodes()
        return [nodes[id].state for id in ids]


class FlowBasis(Basis):
    """A flow in the store under test."""

    @pytest.fixture
    def flow(self, store: Store, clock: MovableClock) -> FlowUnderTest:
        return FlowUnderTest(store, clock)
