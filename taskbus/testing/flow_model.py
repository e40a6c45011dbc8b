"""Random workflows, ended in a random order with repeats, in a store and in a model that says what must be.

The model knows nothing of steps: of what was told so far it works out how each node stands, from the graph alone.
"""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taskbus.store.base import Store
from taskbus.store.cancelling import cancel
from taskbus.store.flows import FlowState, Node, NodeState, Policy, When, task_state
from taskbus.testing.clock import MovableClock
from taskbus.testing.flow_records import (
    FAILED,
    READY,
    REVOKED,
    SKIPPED,
    STARTED,
    SUCCESS,
    WAITING,
    FlowBasis,
    FlowUnderTest,
    join,
    task,
    values,
)

EXAMPLES = 50
BAD = (FAILED, REVOKED)
_numbers = itertools.count(1)

# --- graphs ---------------------------------------------------------------------------------------------------------

TREES: Any = st.recursive(
    st.just("task"),
    lambda inner: (
        st.tuples(st.just("chain"), st.lists(inner, min_size=1, max_size=3))
        | st.tuples(st.sampled_from(list(Policy)), st.lists(inner, max_size=4))
    ),
    max_leaves=12,
)
"""A task; ``("chain", trees)``; or a policy and the members of a group."""
CALLBACKS = st.lists(st.tuples(st.integers(0, 99), st.sampled_from(list(When))), max_size=3)
"""Of which node, and upon what."""


class Graph:
    """The nodes of a tree, and of callbacks."""

    def __init__(self, prefix: str, tree: Any, callbacks: Sequence[tuple[int, When]]) -> None:
        self.prefix = prefix
        self.nodes: list[Node] = []
        self.last = self._add(tree, after="", join="", place=0)
        for at, when in callbacks:
            before = self.nodes[at % len(self.nodes)]
            is_death = when is When.DEATH
            if not is_death or before.policy is Policy.TALLY:
                self.nodes.append(task(self._id(), after=before.id, when=when, takes=not is_death))

    def _id(self) -> str:
        return f"{self.prefix}-{len(self.nodes):02}"

    def _add(self, tree: Any, **place: Any) -> str:
        """Add a tree; returns the node that ends it."""
        if tree == "task":
            self.nodes.append(task(self._id(), **place))
            return self.nodes[-1].id
        kind, inner = tree
        if kind == "chain":
            after = place["after"]
            for each in inner[:-1]:
                after = self._add(each, after=after, join="", place=0)
            return self._add(inner[-1], **{**place, "after": after})
        id = self._id()
        self.nodes.append(join(id, len(inner), policy=kind, **place))
        for number, each in enumerate(inner):
            self._add(each, after=place["after"], join=id, place=number)
        return id


# --- the model ------------------------------------------------------------------------------------------------------


class End(NamedTuple):
    """``causes``: any of these may be its cause, as they failed at once."""

    state: NodeState
    tick: int
    causes: frozenset[str] = frozenset()


class Model:
    """How all nodes stand after what was told. ``tick`` counts what was told."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = {node.id: node for node in nodes}
        self.members = {
            id: sorted((node for node in nodes if node.join == id), key=lambda node: node.place) for id in self.nodes
        }
        self.told: dict[str, End] = {}
        self.copies: dict[str, str] = {}
        self.called_off: set[str] = set()
        self.cancelled_at: int | None = None
        self.tick = 0

    def tell(self, id: str, state: NodeState) -> None:
        """Its task has ended."""
        self.told[id] = End(state, self.tick)

    def cancel(self) -> None:
        """Its flow is cancelled; what is READY ends by that."""
        self.cancelled_at = self.tick
        self.tick += 1
        for id, node in self.nodes.items():
            if node.task and self.state(id) is READY:
                self.tell(id, REVOKED)
                self.called_off.add(id)
        self.look()

    def look(self) -> None:
        """Work it all out anew."""
        self._ends: dict[str, End | None] = {}
        self._readied: dict[str, int] = {}
        for id in self.nodes:
            self.end(id)

    def end(self, id: str) -> End | None:
        """How it ended, None if it has not."""
        if id not in self._ends:
            self._ends[id] = None  # a node is never before itself
            self._ends[id] = self._end(self.nodes[id])
        return self._ends[id]

    def _end(self, node: Node) -> End | None:
        readied: End | int | None = self._ready(node) if node.after else 0
        if isinstance(readied, int):
            if self.cancelled_at is not None and readied > self.cancelled_at:
                return End(REVOKED, readied)
            self._readied[node.id] = readied
        if node.id in self.told:
            return self.told[node.id]
        if not isinstance(readied, int):
            return readied
        return None if node.task else self._join(node, readied)

    def _ready(self, node: Node) -> End | int | None:
        """When it was made READY, or how it ended instead; None: neither yet."""
        before = self.end(node.after)
        if node.when is When.DEATH and (failed := self._failed(node.after)):
            return failed[0].tick
        if before is None:
            return None
        bad = before.state in BAD
        fits = {When.SUCCESS: not bad, When.FAILURE: bad, When.ALWAYS: True, When.DEATH: False}[node.when]
        if before.state is SKIPPED or (not fits and node.when is not When.SUCCESS):
            return End(SKIPPED, before.tick)
        return before.tick if fits else End(before.state, before.tick, before.causes or frozenset([node.after]))

    def _failed(self, id: str) -> list[End]:
        """The failed members of a join that failed first, if any, each with the tasks to blame."""
        ends = [(self.end(member.id), member.id) for member in self.members[id]]
        failed = [(end, end.causes or frozenset([member])) for end, member in ends if end and end.state in BAD]
        first = min((end.tick for end, _ in failed), default=0)
        causes = frozenset[str]().union(*(causes for end, causes in failed if end.tick == first))
        return [End(end.state, first, causes) for end, _ in failed if end.tick == first]

    def _join(self, node: Node, readied: int) -> End | None:
        ends = [self.end(member.id) for member in self.members[node.id]]
        failed = self._failed(node.id)
        if failed and node.policy is Policy.FAIL_FAST:
            return failed[0]
        if None in ends:
            return None
        tick = max([readied, *(end.tick for end in ends if end)])
        if failed and node.policy is Policy.TALLY:
            return End(FAILED, tick, failed[0].causes)
        return End(SUCCESS, tick)

    def state(self, id: str) -> NodeState:
        """How it stands."""
        end = self.end(id)
        if end is not None:
            return end.state
        if id not in self._readied:
            return WAITING
        return STARTED if id in self.copies else READY

    def waiting_messages(self) -> set[str]:
        """What was published for by the store and has not been started."""
        return {id for id, node in self.nodes.items() if node.task and node.after and self.state(id) is READY}

    def value(self, id: str) -> Any:
        """What a node gives to the one after it."""
        state = self.state(id)
        if self.nodes[id].task or state is not SUCCESS:
            return id if state is SUCCESS else state.value
        return [self.value(member.id) for member in self.members[id]]


# --- both, side by side ---------------------------------------------------------------------------------------------


class Race:
    """A flow in a store, and the model of it."""

    def __init__(self, flow: FlowUnderTest, graph: Graph) -> None:
        self.flow = flow
        self.graph = graph
        self.model = Model(graph.nodes)
        self.model.look()
        self.steps: list[tuple[dict[str, NodeState], set[str]]] = []
        """What ended together, and what became READY by it."""
        assert set(flow.begin(*graph.nodes, last=graph.last)) == self.model.waiting_messages()
        self.compare()

    def tasks(self, *states: NodeState) -> list[str]:
        return [id for id, node in self.model.nodes.items() if node.task and self.model.state(id) in states]

    def end(self, ends: dict[str, NodeState]) -> None:
        """These end together."""
        before = self.model.waiting_messages()
        self.model.tick += 1
        for id, state in ends.items():
            self.model.tell(id, state)
        self.model.look()
        ready = self.model.waiting_messages() - before
        assert set(self.flow.apply(*(self.flow.ended(id, state) for id, state in ends.items()))) == ready
        self.steps.append((ends, ready))
        self.compare()

    def repeat(self, number: int) -> None:
        """A step is asked for again."""
        ends, ready = self.steps[number % len(self.steps)]
        again = set(self.flow.apply(*(self.flow.ended(id, state) for id, state in ends.items())))
        waiting = self.model.waiting_messages()
        assert ready & waiting <= again <= waiting
        self.compare()

    def start(self, id: str, copy: str) -> None:
        """A message of a node comes."""
        state, is_cancelled = self.model.state(id), self.model.cancelled_at is not None
        begun = self.flow.start(id, copy)
        if state is READY:
            assert begun.verdict == ("revoked" if is_cancelled else "run")
        elif state is STARTED and self.model.copies[id] != copy:
            assert begun.verdict == "duplicate"
        elif state is STARTED:
            assert begun.verdict == ("revoked" if is_cancelled else "run")
        else:
            assert begun.verdict == "ended"
        if begun.verdict == "run":
            self.model.copies[id] = copy
            node = self.model.nodes[id]
            expected = self.model.value(node.after) if node.takes else None
            assert values(begun.inputs) == expected
        self.compare()

    def cancel(self) -> None:
        """Nothing more is to be made READY."""
        is_running = self.flow.view().state is FlowState.RUNNING
        cancel(self.flow.store, self.flow.id)
        if is_running and self.model.cancelled_at is None:
            self.model.cancel()
        self.compare()

    def compare(self) -> None:
        """Every node, and the flow itself, stand as the model says."""
        nodes, model = self.flow.nodes(), self.model
        assert nodes.keys() == model.nodes.keys()
        counts: dict[NodeState, int] = {}
        for id, node in nodes.items():
            expected, end = model.state(id), model.end(id)
            if model.nodes[id].task:
                assert node.state is expected, id
                counts[expected] = counts.get(expected, 0) + 1
            else:
                assert (node.state if node.state.has_ended else None) is (end.state if end else None), id
            if model.cancelled_at is None:  # then any of those revoked at once may be the cause
                assert node.cause in (end.causes if end and end.causes else ("",)), id
        view = self.flow.view()
        assert {state: count for state, count in view.counts.items() if count} == counts
        last = model.state(self.graph.last)
        is_over = all(model.end(id) for id in model.nodes)
        assert view.state == (last.value if is_over else "RUNNING")

    def finish(self) -> None:
        """End all there is, and see that nothing is left over."""
        while open_ := self.tasks(READY, STARTED):
            self.end(dict.fromkeys(open_, SUCCESS) if self.model.cancelled_at is None else {open_[0]: SUCCESS})
        assert self.flow.view().state is not FlowState.RUNNING
        unrun = {
            id: self.model.state(id)
            for id in self.tasks(*NodeState)
            if id in self.model.called_off or id not in self.model.told
        }
        found = self.flow.store.results(self.tasks(*NodeState))
        assert {id: result.state for id, result in found.items()} == {
            id: task_state(state) for id, state in unrun.items()
        }


class ModelContract(FlowBasis):
    """Whatever the graph, and in whatever order it ends."""

    def test_any_flow_goes_as_the_model_says(self, store: Store, clock: MovableClock) -> None:
        @settings(deadline=None, max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow])
        @given(st.data(), TREES, CALLBACKS)
        def check(data: st.DataObject, tree: Any, callbacks: list[tuple[int, When]]) -> None:
            prefix = f"r{next(_numbers)}"
            run(Race(FlowUnderTest(store, clock, prefix), Graph(prefix, tree, callbacks)), data)

        check()


def run(race: Race, data: st.DataObject) -> None:
    """Some steps in a random order, then all there is."""
    # Of members that fail at once any may be the first; a join that tallies makes FAILURE of REVOKED meanwhile.
    can_revoke = all(node.policy is not Policy.TALLY for node in race.graph.nodes)
    for _ in range(data.draw(st.integers(4, 16))):
        open_ = race.tasks(READY, STARTED)
        act = data.draw(st.sampled_from(["end", "end", "start", "start", "repeat", "fail", "cancel"]))
        if act == "start":
            known = race.tasks(*(state for state in NodeState if state is not WAITING))
            if known:
                race.start(data.draw(st.sampled_from(known)), data.draw(st.sampled_from(["", "x"])))
        elif act == "repeat" and race.steps:
            race.repeat(data.draw(st.integers(0, 99)))
        elif act in ("end", "fail") and open_:
            together = data.draw(st.permutations(open_))[: data.draw(st.integers(1, 4))]
            if race.model.cancelled_at is not None:
                together = together[:1]  # what comes together has no order
            ends = dict.fromkeys(together, SUCCESS)
            if act == "fail":
                ends[data.draw(st.sampled_from(together))] = data.draw(st.sampled_from(BAD if can_revoke else BAD[:1]))
            race.end(ends)
        elif act == "cancel" and can_revoke and data.draw(st.booleans()):
            race.cancel()
    race.finish()
