"""The part of the contract of flows that is about what follows when a node ends: chains and joins."""

from typing import Any

import pytest

from taskbus.message import Sealed
from taskbus.outcome import Failure, State
from taskbus.store.base import Store, StoredResult
from taskbus.store.flows import FlowState, NodeState, Policy, When
from taskbus.testing.clock import START
from taskbus.testing.flow_records import (
    FAILED,
    READY,
    REVOKED,
    SKIPPED,
    SUCCESS,
    WAITING,
    FlowBasis,
    FlowUnderTest,
    blamed,
    group,
    join,
    task,
    wire,
)
from taskbus.testing.records import FAILURE

CHAIN = (task("a"), task("b", after="a"), task("c", after="b"))


class ChainsContract(FlowBasis):
    """One after the other."""

    def test_what_waits_for_nothing_is_ready_and_published_by_who_begins_it(self, flow: FlowUnderTest) -> None:
        assert flow.begin(*CHAIN, last="c") == []
        assert flow.states("a", "b", "c") == [READY, WAITING, WAITING]
        assert flow.view().state is FlowState.RUNNING

    def test_the_end_of_one_publishes_the_next(self, store: Store, flow: FlowUnderTest) -> None:
        flow.begin(task("a"), task("b", after="a", queue="slow", priority=7), last="b")
        recorded = store.apply([flow.ended("a")])
        assert recorded is not None
        assert list(recorded.ready) == [Sealed("slow", 7, wire("b"))]
        assert flow.states("a", "b") == [SUCCESS, READY]

    def test_a_node_may_have_to_wait_for_its_time_too(self, store: Store, flow: FlowUnderTest) -> None:
        due_at = START + 500.0
        flow.begin(task("a"), task("b", after="a", due_at=due_at), task("c", after="a", delay=60.0), last="b")
        recorded = store.apply([flow.ended("a")])
        assert recorded is not None
        assert {sealed.wire: sealed.due_at for sealed in recorded.ready} == {wire("b"): due_at, wire("c"): START + 60}

    def test_a_chain_ends_with_its_last_node(self, store: Store, flow: FlowUnderTest) -> None:
        flow.begin(*CHAIN, last="c")
        assert (flow.end("a"), flow.end("b"), flow.view().state) == (["b"], ["c"], FlowState.RUNNING)
        assert flow.end("c") == []
        assert (flow.view().state, flow.view().ended_at) == (FlowState.SUCCESS, START)
        assert store.results(["a", "b", "c"]) == {}  # what has run has its result recorded by whoever ran it

    @pytest.mark.parametrize("state", [FAILED, REVOKED])
    def test_what_follows_one_that_failed_ends_like_it(self, flow: FlowUnderTest, state: NodeState) -> None:
        flow.begin(*CHAIN, last="c")
        flow.start("a")
        flow.clock.advance(5)
        assert flow.end("a", state=state) == []
        nodes = flow.nodes()
        assert [(nodes[id].state, nodes[id].cause, nodes[id].ended_at) for id in "abc"] == [
            (state, "", START + 5), (state, "a", START + 5), (state, "a", START + 5),
        ]  # fmt: skip
        assert nodes["a"].failure == (FAILURE if state is FAILED else None)
        assert nodes["c"].failure == (blamed("a") if state is FAILED else None)
        assert flow.view().state is FlowState(state.value)

    @pytest.mark.parametrize("state", [FAILED, REVOKED])
    def test_what_never_ran_has_its_result_recorded(self, store: Store, flow: FlowUnderTest, state: NodeState) -> None:
        flow.begin(*CHAIN, task("d", after="c", result_ttl=0.0), last="c")
        flow.end("a", state=state)
        failure = blamed("a") if state is FAILED else None
        found = store.results(["a", "b", "c", "d"])
        assert found == {
            id: StoredResult(id, f"tasks.{id}", State(state.value), failure=failure, finished_at=START) for id in "bc"
        }
        flow.clock.advance(60)
        assert store.results(["b", "c"]) == {}

    @pytest.mark.parametrize(
        ("when", "expected"),
        [
            (When.SUCCESS, {SUCCESS: READY, FAILED: FAILED, REVOKED: REVOKED}),
            (When.FAILURE, {SUCCESS: SKIPPED, FAILED: READY, REVOKED: READY}),
            (When.ALWAYS, {SUCCESS: READY, FAILED: READY, REVOKED: READY}),
        ],
    )
    @pytest.mark.parametrize("state", [SUCCESS, FAILED, REVOKED])
    def test_a_node_runs_upon_the_end_it_waits_for(
        self, flow: FlowUnderTest, when: When, expected: dict[NodeState, NodeState], state: NodeState
    ) -> None:
        flow.begin(task("a"), task("b", after="a", when=when), last="a")
        assert flow.end("a", state=state) == (["b"] if expected[state] is READY else [])
        assert flow.states("b") == [expected[state]]

    @pytest.mark.parametrize("when", [When.SUCCESS, When.FAILURE, When.ALWAYS])
    def test_after_what_is_skipped_everything_is(self, store: Store, flow: FlowUnderTest, when: When) -> None:
        flow.begin(task("a"), task("b", after="a", when=When.FAILURE), task("c", after="b", when=when), last="a")
        assert flow.end("a") == []
        assert flow.states("b", "c") == [SKIPPED, SKIPPED]
        assert [store.results(["b", "c"])[id].state for id in "bc"] == [State.REVOKED, State.REVOKED]
        assert flow.view().state is FlowState.SUCCESS

    def test_an_error_task_is_given_what_failed_directly_or_not(self, flow: FlowUnderTest) -> None:
        flow.begin(*CHAIN, *(task(f"e{id}", after=id, when=When.FAILURE) for id in "ac"), last="c")
        assert flow.end("a", state=FAILED) == ["ea", "ec"]
        for id, failure in (("a", FAILURE), ("c", blamed("a"))):
            given: Any = flow.start(f"e{id}").inputs
            assert (given.node, given.task, given.state, given.failure) == (id, f"tasks.{id}", FAILED, failure)

    def test_all_that_follow_one_are_ready_at_once(self, flow: FlowUnderTest) -> None:
        flow.begin(task("a"), *(task(f"b{number:03}", after="a") for number in range(300)))
        assert flow.end("a") == [f"b{number:03}" for number in range(300)]

    def test_ends_of_many_nodes_are_taken_at_once(self, flow: FlowUnderTest) -> None:
        flow.begin(*(task(f"a{n}") for n in range(50)), *(task(f"b{n}", after=f"a{n}") for n in range(50)))
        assert flow.end(*(f"a{n}" for n in range(50))) == sorted(f"b{n}" for n in range(50))

    def test_nothing_happens_to_what_is_not_there(self, flow: FlowUnderTest) -> None:
        assert flow.end("a") == []
        flow.begin(*CHAIN)
        assert (flow.end("x"), flow.states("a")) == ([], [READY])

    def test_a_flow_without_a_last_node_fails_if_a_task_failed(self, flow: FlowUnderTest) -> None:
        flow.begin(task("a"), task("b"), task("c"))
        flow.end("a", state=REVOKED)
        flow.end("b", state=FAILED)
        assert flow.view().state is FlowState.RUNNING
        flow.end("c")
        assert flow.view().state is FlowState.FAILURE


class JoinsContract(FlowBasis):
    """Side by side, then one."""

    @pytest.mark.parametrize("count", [1, 2, 300])
    def test_the_body_of_a_chord_runs_after_its_last_member_with_all_values_in_order(
        self, flow: FlowUnderTest, count: int
    ) -> None:
        flow.begin(*group("g", count), task("body", after="g"), last="body")
        members = [f"g-{place}" for place in range(count)]
        assert flow.end(*members[1:][::-1]) == []
        assert (flow.nodes()["g"].left, flow.states("body")) == (1, [WAITING])
        assert flow.end(members[0]) == ["body"]
        assert flow.given("body") == members
        assert (flow.end("body"), flow.view().state) == ([], FlowState.SUCCESS)

    def test_a_group_of_none_has_ended_when_it_begins(self, flow: FlowUnderTest) -> None:
        assert flow.begin(join("g", 0), task("body", after="g"), last="body") == ["body"]
        assert flow.given("body") == []

    def test_a_group_of_none_may_come_later(self, flow: FlowUnderTest) -> None:
        flow.begin(task("a"), join("g", 0, after="a"), task("b", after="g"), last="b")
        assert flow.states("g", "b") == [WAITING, WAITING]
        assert flow.end("a") == ["b"]

    def test_a_flow_of_nothing_but_an_empty_group_has_ended(self, flow: FlowUnderTest) -> None:
        assert (flow.begin(join("g", 0), last="g"), flow.view().state) == ([], FlowState.SUCCESS)

    def test_a_group_may_follow_a_task(self, flow: FlowUnderTest) -> None:
        flow.begin(task("a"), *group("g", 2, after="a"), task("b", after="g"), last="b")
        assert flow.end("a") == ["g-0", "g-1"]
        assert [flow.given(id) for id in ("g-0", "g-1")] == ["a", "a"]
        assert flow.end("g-0", "g-1") == ["b"]

    @pytest.mark.parametrize("state", [FAILED, REVOKED])
    @pytest.mark.parametrize("policy", [Policy.FAIL_FAST, Policy.COLLECT])
    @pytest.mark.parametrize("count", [0, 1, 2])
    def test_a_group_after_one_that_failed_ends_like_it_whatever_it_does_with_failed_members(
        self, flow: FlowUnderTest, state: NodeState, policy: Policy, count: int
    ) -> None:
        members = [task(f"g-{place}", after="a", join="g", place=place) for place in range(count)]
        inner = join("h", 0, after="a", join="g", place=count, policy=policy)
        outer = join("g", count + 1, after="a", policy=policy)
        flow.begin(task("a"), outer, *members, inner, task("b", after="g"), last="b")
        assert flow.end("a", state=state) == []
        nodes = flow.nodes()
        ends = ["g", "h", "b", *(member.id for member in members)]
        assert {(nodes[id].state, nodes[id].cause) for id in ends} == {(state, "a")}
        assert nodes["g"].failure == (blamed("a") if state is FAILED else None)
        assert flow.view().state is FlowState(state.value)

    def test_groups_in_groups_give_lists_in_lists(self, flow: FlowUnderTest) -> None:
        inner = [join("h", 2, join="g", place=1), task("h0", join="h", place=0), task("h1", join="h", place=1)]
        empty = join("e", 0, join="g", place=3)
        flow.begin(
            join("g", 4), task("x", join="g", place=0), *inner, task("y", join="g", place=2), empty,
            task("body", after="g"), last="body",
        )  # fmt: skip
        assert (flow.end("y", "h1", "x"), flow.states("h", "g")[0].has_ended) == ([], False)
        assert flow.end("h0") == ["body"]
        assert flow.given("body") == ["x", ["h0", "h1"], "y", []]

    def test_a_chain_is_a_member_by_its_end(self, flow: FlowUnderTest) -> None:
        flow.begin(join("g", 1), task("a", keeps=False), task("b", after="a", join="g"), task("c", after="g"), last="c")
        assert (flow.end("a"), flow.end("b"), flow.given("c")) == (["b"], ["c"], ["b"])

    @pytest.mark.parametrize("state", [FAILED, REVOKED])
    def test_the_first_failed_member_fails_its_join_at_once(self, flow: FlowUnderTest, state: NodeState) -> None:
        flow.begin(*group("g", 3), task("body", after="g"), task("e", after="g", when=When.FAILURE), last="body")
        flow.end("g-0")
        assert flow.end("g-1", state=state) == ["e"]
        nodes = flow.nodes()
        assert [(nodes[id].state, nodes[id].cause) for id in ("g", "body")] == [(state, "g-1")] * 2
        assert nodes["body"].failure == nodes["g"].failure == (blamed("g-1") if state is FAILED else None)
        assert flow.states("g-2") == [READY]
        assert (flow.start("g-2").verdict, flow.end("g-2", state=FAILED)) == ("run", [])
        assert flow.nodes()["g"].cause == "g-1"
        given: Any = flow.start("e").inputs
        assert (given.node, given.task, given.state) == ("g-1", "tasks.g-1", state)
        assert given.failure == (FAILURE if state is FAILED else None)

    def test_a_failure_in_an_inner_group_names_the_task_that_failed(self, flow: FlowUnderTest) -> None:
        inner = [join("h", 1, join="g", place=0), task("m", join="h")]
        flow.begin(join("g", 2), *inner, task("x", join="g", place=1), task("body", after="g"), last="body")
        flow.end("m", state=FAILED)
        assert [flow.nodes()[id].cause for id in ("h", "g", "body")] == ["m", "m", "m"]
        assert flow.nodes()["body"].failure == blamed("m")

    def test_what_runs_because_a_group_failed_is_given_the_task_that_did(self, flow: FlowUnderTest) -> None:
        inner = [join("h", 2, join="g", place=0), task("m"), task("n", after="m", join="h"), task("o", join="h")]
        late = task("e", after="g", when=When.FAILURE)
        flow.begin(join("g", 2), *inner, task("x", join="g", place=1), late, last="g")
        assert flow.end("m", state=FAILED) == ["e"]
        given: Any = flow.start("e").inputs
        assert values_of(given) == ("m", FAILED, FAILURE)

    def test_a_join_that_collects_gives_what_failed_among_its_values(self, flow: FlowUnderTest) -> None:
        flow.begin(*group("g", 3, policy=Policy.COLLECT), task("body", after="g"), last="body")
        assert (flow.end("g-1", state=FAILED), flow.end("g-0", state=REVOKED)) == ([], [])
        assert flow.end("g-2") == ["body"]
        given: Any = flow.start("body").inputs
        assert [(each.node, each.task, each.state, each.value) for each in given] == [
            ("g-0", "tasks.g-0", REVOKED, b""),
            ("g-1", "tasks.g-1", FAILED, b""),
            ("g-2", "tasks.g-2", SUCCESS, b"g-2"),
        ]
        assert given[1].failure == FAILURE
        assert flow.states("g") == [SUCCESS]

    def test_an_inner_group_that_failed_is_one_failure_among_the_values(self, flow: FlowUnderTest) -> None:
        inner = [join("h", 2, join="g", place=0), *(task(f"h{n}", join="h", place=n) for n in range(2))]
        flow.begin(
            join("g", 2, policy=Policy.COLLECT), *inner, task("x", join="g", place=1), task("body", after="g")
        )  # fmt: skip
        flow.end("h0", "x")
        assert flow.end("h1", state=FAILED) == ["body"]
        given: Any = flow.start("body").inputs
        assert tuple(map(values_of, given)) == (("h1", FAILED, FAILURE), ("x", SUCCESS, None))

    def test_a_join_waits_for_what_it_is_after_and_for_its_members(self, flow: FlowUnderTest) -> None:
        flow.begin(task("a"), join("g", 1, after="a"), task("m", join="g"), task("b", after="g"))
        assert (flow.end("m"), flow.end("a"), flow.given("b")) == ([], ["b"], ["m"])

    def test_skipped_members_fail_nothing(self, flow: FlowUnderTest) -> None:
        flow.begin(join("g", 2), task("a", join="g"), task("e", after="a", when=When.FAILURE, join="g", place=1))
        assert (flow.end("a"), flow.states("e", "g")) == ([], [SKIPPED, SUCCESS])

    def test_what_is_not_taken_is_not_given(self, flow: FlowUnderTest) -> None:
        flow.begin(task("a", keeps=False), task("b", after="a", takes=False))
        assert flow.start("a").inputs is None
        flow.end("a")
        assert flow.start("b").inputs is None

    def test_a_value_is_given_as_its_bytes_are(self, store: Store, flow: FlowUnderTest) -> None:
        flow.begin(*CHAIN)
        value = bytes(range(256)) * 4096
        assert flow.apply(flow.ended("a")._replace(value=value, content_type="json")) == ["b"]
        given: Any = flow.start("b").inputs
        assert (given.value, given.content_type) == (value, "json")


def values_of(kept: Any) -> tuple[str, NodeState, Failure | None]:
    """Which node it is, how it ended, and of what."""
    return kept.node, kept.state, kept.failure
