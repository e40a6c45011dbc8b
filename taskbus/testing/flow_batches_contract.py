"""Joins that members are added to: open, sealed, counted."""

from taskbus.store.base import Store
from taskbus.store.flows import AddNodes, BeginFlow, Flow, FlowState, Policy, ReviveNode, SealFlow, When
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
    blamed,
    join,
    task,
)
from taskbus.testing.records import saved

BATCH = (
    join("g", -1, policy=Policy.TALLY),
    task("good", after="g", takes=False),
    task("all", after="g", when=When.ALWAYS, takes=False),
    task("death", after="g", when=When.DEATH, takes=False),
)


class BatchesContract(FlowBasis):
    """Open joins, and callbacks each exactly once."""

    def add(self, flow: FlowUnderTest, *ids: str) -> AddNodes:
        """Members."""
        return AddNodes(flow.id, [task(id, join="g", keeps=False) for id in ids])

    def test_an_open_join_waits_until_it_is_sealed(self, flow: FlowUnderTest) -> None:
        assert flow.begin(*BATCH, last="g") == []
        assert (flow.apply(self.add(flow, "a", "b")), flow.end("a", "b")) == ([], [])
        assert (flow.states("g")[0].has_ended, flow.view().state) == (False, FlowState.RUNNING)
        assert flow.apply(SealFlow(flow.id, "g")) == ["all", "good"]
        assert flow.states("g", "death") == [SUCCESS, SKIPPED]

    def test_a_sealed_join_ends_with_its_last_member(self, flow: FlowUnderTest) -> None:
        flow.begin(*BATCH, last="g")
        assert flow.apply(self.add(flow, "a", "b"), SealFlow(flow.id, "g")) == []
        assert (flow.end("a"), flow.nodes()["g"].left, flow.end("b")) == ([], 1, ["all", "good"])

    def test_an_empty_batch_ends_when_it_is_sealed(self, flow: FlowUnderTest) -> None:
        flow.begin(*BATCH, last="g")
        assert flow.apply(SealFlow(flow.id, "g")) == ["all", "good"]

    def test_a_member_may_add_members_to_a_sealed_join(self, flow: FlowUnderTest) -> None:
        flow.begin(*BATCH, last="g")
        flow.apply(self.add(flow, "a"), SealFlow(flow.id, "g"))
        flow.apply(self.add(flow, "b"))
        assert (flow.end("a"), flow.end("b")) == ([], ["all", "good"])

    def test_members_that_are_there_are_left_alone(self, flow: FlowUnderTest) -> None:
        flow.begin(*BATCH, last="g")
        flow.apply(self.add(flow, "a", "b"))
        flow.start("a")
        flow.apply(self.add(flow, "b", "a", "c"))
        assert (flow.states("a", "b", "c"), flow.nodes()["g"].left) == ([STARTED, READY, READY], 3)
        assert (flow.end("a", "b", "c"), flow.apply(SealFlow(flow.id, "g"))) == ([], ["all", "good"])

    def test_nothing_can_be_added_to_what_has_ended_or_is_not_there(self, store: Store, flow: FlowUnderTest) -> None:
        assert store.apply([saved("r1"), self.add(flow, "a")]) is None
        flow.begin(*BATCH, last="g")
        flow.apply(SealFlow(flow.id, "g"))
        assert store.apply([saved("r2"), self.add(flow, "a")]) is None
        assert store.results(["r1", "r2"]) == {}
        assert "a" not in flow.nodes()

    def test_what_was_begun_with_a_refused_change_is_not_there(self, store: Store, flow: FlowUnderTest) -> None:
        other = FlowUnderTest(store, flow.clock, "other")
        flow.begin(*BATCH)
        flow.apply(SealFlow(flow.id, "g"))
        begun = BeginFlow(Flow(other.id, "", "", flow.clock(), 60.0), [task("other-a")])
        assert store.apply([begun, self.add(flow, "a")]) is None
        assert store.flow("other") is None
        assert other.apply(begun) == []
        assert store.flow("other") is not None

    def test_the_first_death_is_told_at_once_and_once(self, flow: FlowUnderTest) -> None:
        flow.begin(*BATCH, last="g")
        flow.apply(self.add(flow, "a", "b", "c"))
        assert flow.end("a", state=FAILED) == ["death"]
        flow.clock.advance(1)
        assert flow.end("b", state=FAILED) == []
        flow.start("death")
        flow.end("death")
        assert (flow.apply(SealFlow(flow.id, "g")), flow.end("c")) == ([], ["all"])
        nodes = flow.nodes()
        assert (nodes["g"].state, nodes["g"].cause, nodes["good"].state) == (FAILED, "a", FAILED)
        assert (nodes["good"].cause, nodes["good"].failure) == ("a", blamed("a"))
        assert (flow.end("all"), flow.view().state) == ([], FlowState.FAILURE)

    def test_an_open_join_keeps_its_flow_open(self, flow: FlowUnderTest) -> None:
        flow.begin(join("g", -1))
        assert flow.view().state is FlowState.RUNNING
        flow.apply(SealFlow(flow.id, "g"))
        assert flow.view().state is FlowState.SUCCESS

    def test_a_batch_names_the_task_to_blame_not_the_member(self, flow: FlowUnderTest) -> None:
        flow.begin(*BATCH, task("x"), task("y", after="x", join="g"), last="g")
        assert (flow.end("x", state=FAILED), flow.apply(SealFlow(flow.id, "g"))) == (["death"], ["all"])
        assert (flow.nodes()["g"].cause, flow.nodes()["good"].failure) == ("x", blamed("x"))

    def test_a_revoked_member_fails_a_batch(self, flow: FlowUnderTest) -> None:
        flow.begin(*BATCH, task("x", join="g"), last="g")
        flow.apply(SealFlow(flow.id, "g"))
        assert flow.end("x", state=REVOKED) == ["all", "death"]
        assert (flow.states("g", "good"), flow.nodes()["good"].failure) == ([FAILED, FAILED], blamed("x", "REVOKED"))

    def test_chains_are_added_as_a_whole(self, flow: FlowUnderTest) -> None:
        flow.begin(*BATCH, last="g")
        chain = [task("x"), task("y", after="x", join="g")]
        assert flow.apply(AddNodes(flow.id, chain), SealFlow(flow.id, "g")) == []
        assert (flow.end("x"), flow.end("y")) == (["y"], ["all", "good"])

    def test_counts_follow_a_batch(self, flow: FlowUnderTest) -> None:
        callbacks = [task(f"on_{when}", after="g", when=when, takes=False, size=-1) for when in When]
        more = task("more", after="on_always", size=-1), task("later", after="more", size=-1)
        flow.begin(join("g", -1, policy=Policy.TALLY), *callbacks, *more, last="g")
        flow.apply(self.add(flow, *"abcdef"), AddNodes(flow.id, [task("x"), task("y", after="x", join="g")]))
        flow.start("a")
        flow.start("b")
        flow.end("b", "c")
        assert flow.end("d", "x", state=FAILED) == ["on_death"]
        assert (flow.view().counts, flow.view().dead) == ({READY: 2, STARTED: 1, SUCCESS: 2, FAILED: 3}, 2)
        flow.start("on_death")
        flow.end("on_death")
        flow.end("a", "e", "f")
        assert flow.apply(SealFlow(flow.id, "g")) == ["on_always", "on_failure"]
        flow.start("on_always")
        assert flow.end("on_always") == ["more"]
        flow.end("more", state=FAILED)
        flow.end("on_failure")
        assert (flow.view().counts, flow.view().dead) == ({SUCCESS: 5, FAILED: 3}, 2)
        assert flow.view().state is FlowState.FAILURE
        flow.apply(ReviveNode(flow.id, "x", is_sent=True))
        assert (flow.view().counts, flow.view().dead) == ({SUCCESS: 5, FAILED: 1, READY: 1, WAITING: 1}, 1)
        assert flow.view().state is FlowState.RUNNING

    def test_what_is_not_counted_keeps_its_flow_open_all_the_same(self, flow: FlowUnderTest) -> None:
        flow.begin(join("g", 1), task("a", join="g"), task("b", after="g", size=-1), last="g")
        assert (flow.end("a"), flow.view().state, flow.view().counts) == (["b"], FlowState.RUNNING, {SUCCESS: 1})
        flow.start("b")
        assert (flow.end("b"), flow.view().state, flow.view().counts) == ([], FlowState.SUCCESS, {SUCCESS: 1})
