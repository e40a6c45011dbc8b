"""The part of the contract of flows about second thoughts: what is repeated and what is revived."""

from collections.abc import Sequence
from typing import Any

import pytest

from taskbus.store.base import Store
from taskbus.store.flows import (
    AddNodes,
    CancelFlow,
    Flow,
    FlowChange,
    FlowState,
    PauseNode,
    Policy,
    ReplaceNode,
    ReviveNode,
    SealFlow,
    Verdict,
    When,
)
from taskbus.testing.clock import START
from taskbus.testing.flow_records import (
    FAILED,
    READY,
    STARTED,
    SUCCESS,
    TTL,
    WAITING,
    FlowBasis,
    FlowUnderTest,
    blamed,
    group,
    join,
    task,
    wire,
)

CHORD = (*group("g", 2), task("body", after="g"), task("then", after="body"))
FLOW = Flow("flow", "", "", START, TTL)


class RepeatsContract(FlowBasis):
    """A step that was done is asked for again, as it is not known whether it was."""

    @pytest.fixture
    def half(self, flow: FlowUnderTest) -> FlowUnderTest:
        """A chord whose first member has ended."""
        flow.begin(*CHORD, last="then")
        flow.start("g-0")
        flow.start("g-1")
        flow.end("g-0")
        return flow

    def test_an_end_repeated_publishes_again_what_was_not_started_since(self, half: FlowUnderTest) -> None:
        assert half.end("g-1") == ["body"]
        before = half.nodes()
        assert (half.end("g-1"), half.end("g-1", state=FAILED)) == (["body"], ["body"])
        assert half.nodes() == before
        half.start("body")
        assert half.end("g-1") == []
        assert half.end("body") == ["then"]
        assert (half.end("g-1"), half.end("body")) == ([], ["then"])

    def test_ends_repeated_together_publish_each_once(self, store: Store, half: FlowUnderTest) -> None:
        half.end("g-1")
        recorded = store.apply([half.ended("g-0"), half.ended("g-1"), half.ended("g-1")])
        assert recorded is not None and [sealed.wire for sealed in recorded.ready] == [wire("body")]

    def test_a_failure_repeated_publishes_again_what_it_led_to(self, flow: FlowUnderTest) -> None:
        flow.begin(*CHORD, task("e", after="then", when=When.FAILURE))
        assert flow.end("g-0", state=FAILED) == ["e"]
        before = flow.nodes()
        assert (flow.end("g-0", state=FAILED), flow.nodes() == before) == (["e"], True)
        flow.start("e")
        assert flow.end("g-0", state=FAILED) == []

    def test_a_death_repeated_is_told_again_until_that_is_started(self, flow: FlowUnderTest) -> None:
        flow.begin(*group("g", 2, policy=Policy.TALLY), task("d", after="g", when=When.DEATH))
        assert (flow.end("g-0", state=FAILED), flow.end("g-0", state=FAILED)) == (["d"], ["d"])
        flow.start("d")
        assert flow.end("g-0", state=FAILED) == []

    def test_a_flow_begun_again_is_left_alone(self, flow: FlowUnderTest) -> None:
        nodes = (*CHORD, join("none", 0), task("at once", after="none"))
        assert flow.begin(*nodes, last="then") == ["at once"]
        flow.end("g-0")
        before = flow.nodes()
        assert flow.begin(*nodes, last="then") == ["at once"]
        flow.start("at once")
        assert flow.begin(*nodes, task("another"), last="then") == []
        assert {**flow.nodes(), "at once": before["at once"]} == before

    def test_a_seal_repeated_publishes_again_what_was_not_started_since(self, flow: FlowUnderTest) -> None:
        flow.begin(join("g", -1), task("b", after="g", takes=False))
        assert [flow.apply(SealFlow(flow.id, "g")) for _ in range(3)] == [["b"]] * 3
        flow.start("b")
        assert flow.apply(SealFlow(flow.id, "g")) == []

    @pytest.mark.parametrize(
        "change",
        [
            AddNodes("flow", [task("m0", join="open"), task("m1", after="m0", join="open")]),
            SealFlow("flow", "open"),
            ReviveNode("flow", "f", is_sent=True),
            ReplaceNode(FLOW, [task("s", wire=wire("s")), task("s2", after="s", wire=wire("s2"))]),
            PauseNode("flow", "s"),
            CancelFlow("flow", ["m", "open", "s"]),
        ],
        ids=lambda change: type(change).__name__,
    )
    def test_a_change_made_twice_is_made_once(self, flow: FlowUnderTest, change: FlowChange) -> None:
        flow.begin(join("open", -1), task("m", join="open"), task("f"), task("g", after="f"), task("s"))
        flow.start("s")
        flow.end("f", state=FAILED)
        flow.apply(change)
        before = flow.view(), flow.nodes()
        flow.store.apply([change])
        assert (flow.view(), flow.nodes()) == before


class RevivalContract(FlowBasis):
    """A dead letter is replayed, and its flow goes on."""

    def test_a_revived_node_is_ready_and_all_that_failed_with_it_waits(self, store: Store, flow: FlowUnderTest) -> None:
        flow.begin(task("z"), task("a", after="z"), task("b", after="a"), task("c", after="b"), last="c")
        flow.end("z")
        flow.start("a", "copy")
        flow.end("a", state=FAILED)
        assert flow.view().state is FlowState.FAILURE
        assert store.results(["b", "c"]).keys() == {"b", "c"}
        assert flow.apply(ReviveNode(flow.id, "a", is_sent=True)) == []
        nodes = flow.nodes()
        assert [nodes[id].state for id in "abc"] == [READY, WAITING, WAITING]
        assert {nodes[id][2:6] for id in "abc"} == {(0.0, 0.0, None, "")}
        assert (store.results(["a", "b", "c"]), flow.view().state) == ({}, FlowState.RUNNING)
        assert flow.start("a", "another copy").verdict is Verdict.RUN
        assert (flow.end("a"), flow.end("b"), flow.end("c")) == (["b"], ["c"], [])
        assert flow.view().state is FlowState.SUCCESS

    def test_who_revives_publishes_unless_the_flow_is_to(self, flow: FlowUnderTest) -> None:
        flow.begin(task("z"), task("a", after="z"))
        flow.end("z")
        flow.end("a", state=FAILED)
        assert flow.apply(ReviveNode(flow.id, "a", is_sent=False)) == ["a"]
        assert flow.states("a") == [READY]

    @pytest.mark.parametrize("policy", [Policy.FAIL_FAST, Policy.TALLY])
    def test_the_body_of_a_chord_runs_after_all_when_its_member_does(self, flow: FlowUnderTest, policy: Policy) -> None:
        flow.begin(*group("g", 3, policy=policy), task("body", after="g"), task("then", after="body"), last="then")
        flow.end("g-0", state=FAILED)
        flow.end("g-1")
        flow.apply(ReviveNode(flow.id, "g-0", is_sent=True))
        assert (flow.states("body", "then"), flow.states("g")[0].has_ended) == ([WAITING, WAITING], False)
        assert (flow.nodes()["g"].left, flow.end("g-0")) == (2, [])
        assert flow.end("g-2") == ["body"]
        assert flow.given("body") == ["g-0", "g-1", "g-2"]

    def test_one_of_two_failed_members_is_not_enough(self, flow: FlowUnderTest) -> None:
        flow.begin(*group("g", 2), task("body", after="g"), last="body")
        flow.end("g-0", state=FAILED)
        flow.end("g-1", state=FAILED)
        flow.apply(ReviveNode(flow.id, "g-0", is_sent=True))
        assert (flow.end("g-0"), flow.states("body")) == ([], [FAILED])
        flow.apply(ReviveNode(flow.id, "g-1", is_sent=True))
        assert flow.end("g-1") == ["body"]

    def test_a_revived_member_that_fails_again_fails_its_join_again(self, flow: FlowUnderTest) -> None:
        flow.begin(*group("g", 2), task("body", after="g"), last="body")
        flow.end("g-1")
        for _ in range(3):
            assert flow.end("g-0", state=FAILED) == []
            assert (flow.states("g", "body"), flow.nodes()["body"].failure) == ([FAILED, FAILED], blamed("g-0"))
            flow.apply(ReviveNode(flow.id, "g-0", is_sent=True))
        assert flow.end("g-0") == ["body"]

    def test_joins_around_joins_go_on_too(self, flow: FlowUnderTest) -> None:
        inner = [join("h", 1, join="g"), task("m"), task("n", after="m", join="h")]
        flow.begin(join("g", 2), *inner, task("x", join="g", place=1), task("body", after="g"), last="body")
        flow.end("x")
        flow.end("m", state=FAILED)
        assert flow.states("n", "h", "g", "body") == [FAILED] * 4
        flow.apply(ReviveNode(flow.id, "m", is_sent=True))
        assert (flow.end("m"), flow.end("n")) == (["n"], ["body"])
        assert flow.given("body") == [["n"], "x"]

    def test_what_ran_because_of_the_failure_stays_as_it_is(self, flow: FlowUnderTest) -> None:
        callbacks = task("e", after="a", when=When.FAILURE), task("f", after="b", when=When.ALWAYS, takes=False)
        flow.begin(task("a"), task("b", after="a"), *callbacks, last="b")
        assert flow.end("a", state=FAILED) == ["e", "f"]
        flow.start("e")
        flow.end("e")
        flow.start("f")
        flow.apply(ReviveNode(flow.id, "a", is_sent=True))
        assert flow.states("b", "e", "f") == [WAITING, SUCCESS, STARTED]
        assert (flow.end("a"), flow.end("f"), flow.end("b")) == (["b"], [], [])
        assert flow.view().state is FlowState.SUCCESS

    def test_what_ran_because_of_the_failure_and_failed_itself_stays_so(self, flow: FlowUnderTest) -> None:
        flow.begin(task("a"), task("e", after="a", when=When.FAILURE), last="a")
        flow.end("a", state=FAILED)
        flow.start("e")
        flow.end("e", state=FAILED)
        flow.apply(ReviveNode(flow.id, "a", is_sent=True))
        assert flow.states("a", "e") == [READY, FAILED]

    def test_what_fails_and_is_revived_in_one_set_leaves_no_result(self, store: Store, flow: FlowUnderTest) -> None:
        flow.begin(task("a"), task("b", after="a"), last="b")
        assert flow.apply(flow.ended("a", FAILED), ReviveNode(flow.id, "a", is_sent=True)) == []
        assert (flow.states("a", "b"), store.results(["b"])) == ([READY, WAITING], {})

    def test_nothing_of_a_cancelled_flow_is_revived(self, flow: FlowUnderTest) -> None:
        flow.begin(task("a"), task("b"), last="a")
        flow.end("a", state=FAILED)
        flow.apply(CancelFlow(flow.id))
        flow.refuses(ReviveNode(flow.id, "a", is_sent=True))
        assert flow.states("a", "b") == [FAILED, READY]

    def test_what_is_not_there_cannot_be_revived(self, flow: FlowUnderTest) -> None:
        flow.refuses(ReviveNode(flow.id, "a", is_sent=True))
        flow.begin(task("a"), last="a", ttl=10.0)
        flow.refuses(ReviveNode(flow.id, "missing", is_sent=True))
        flow.end("a", state=FAILED)
        flow.clock.advance(10)
        flow.refuses(ReviveNode(flow.id, "a", is_sent=True))

    def test_a_join_that_collected_the_failure_stays_as_it_is(self, flow: FlowUnderTest) -> None:
        flow.begin(*group("g", 1, policy=Policy.COLLECT), task("body", after="g"), last="body")
        assert flow.end("g-0", state=FAILED) == ["body"]
        flow.start("body")
        flow.end("body")
        flow.apply(ReviveNode(flow.id, "g-0", is_sent=True))
        assert (flow.end("g-0"), flow.states("g", "body")) == ([], [SUCCESS, SUCCESS])

    @pytest.mark.parametrize("when", [When.FAILURE, When.ALWAYS])
    def test_a_failure_cannot_be_taken_back_from_a_task_that_is_given_it(self, flow: FlowUnderTest, when: When) -> None:
        flow.begin(task("a"), task("b", after="a"), task("e", after="b", when=when), last="b")
        assert flow.end("a", state=FAILED) == ["e"]
        revival = ReviveNode(flow.id, "a", is_sent=True)
        flow.refuses(revival)
        given: Any = flow.start("e").inputs
        assert given.failure == blamed("a")
        flow.refuses(revival)  # its worker may die, and then it is given it once more
        flow.end("e")
        assert (flow.apply(revival), flow.states("a", "b", "e")) == ([], [READY, WAITING, SUCCESS])

    @pytest.mark.parametrize("ends", [(), ("x",)])
    def test_nor_from_one_that_is_given_it_among_the_values_of_groups(
        self, flow: FlowUnderTest, ends: Sequence[str]
    ) -> None:
        inner = [join("h", 1, join="g", policy=Policy.COLLECT), task("m"), task("n", after="m", join="h")]
        flow.begin(join("g", 2), *inner, task("x", join="g", place=1), task("body", after="g"), last="body")
        flow.end("m", state=FAILED)
        revival = ReviveNode(flow.id, "m", is_sent=True)
        if not ends:
            assert flow.apply(revival) == []
            return
        assert flow.end(*ends) == ["body"]
        flow.refuses(revival)
        flow.start("body")
        flow.end("body")
        assert flow.apply(revival) == []

    def test_but_from_one_that_is_not(self, flow: FlowUnderTest) -> None:
        flow.begin(task("a"), task("e", after="a", when=When.FAILURE, takes=False), last="a")
        assert flow.end("a", state=FAILED) == ["e"]
        assert flow.apply(ReviveNode(flow.id, "a", is_sent=True)) == []
        assert flow.states("a", "e") == [READY, READY]

    def test_only_what_failed_by_itself_is_revived(self, flow: FlowUnderTest) -> None:
        flow.begin(task("a"), task("b", after="a"), task("c"), task("d"))
        flow.end("a", state=FAILED)
        flow.end("c")
        before = flow.nodes()
        for id in ("b", "c", "d"):
            assert flow.apply(ReviveNode(flow.id, id, is_sent=True)) == []
        assert flow.nodes() == before
