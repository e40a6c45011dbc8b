"""The part of the contract of flows about those that are cancelled."""

import pytest

from taskbus.outcome import State
from taskbus.store.base import Store
from taskbus.store.cancelling import cancel
from taskbus.store.flows import (
    AddNodes,
    CancelFlow,
    FlowState,
    PauseNode,
    Policy,
    SealFlow,
    Verdict,
    When,
)
from taskbus.testing.clock import START
from taskbus.testing.flow_records import (
    READY,
    REVOKED,
    STARTED,
    SUCCESS,
    WAITING,
    FlowBasis,
    FlowUnderTest,
    group,
    join,
    task,
)
from taskbus.testing.records import FAILURE, saved

CHORD = (*group("g", 2), task("body", after="g"), task("then", after="body"))


class CancellationContract(FlowBasis):
    """What has not started is revoked, what has started runs on."""

    def test_what_has_not_started_is_refused_and_ends_as_revoked(self, store: Store, flow: FlowUnderTest) -> None:
        flow.begin(*CHORD, last="then")
        flow.start("g-0", "x")
        assert flow.apply(CancelFlow(flow.id)) == []
        assert (flow.view().is_cancelled, flow.view().state) == (True, FlowState.RUNNING)
        assert flow.start("g-1").verdict is Verdict.REVOKED
        assert (flow.end("g-1", state=REVOKED), flow.end("g-0")) == ([], [])
        assert flow.states("g-0", "g-1", "g", "body", "then") == [SUCCESS, REVOKED, REVOKED, REVOKED, REVOKED]
        assert flow.view().state is FlowState.REVOKED
        assert {id: result.state.value for id, result in store.results(["body", "then"]).items()} == {
            "body": "REVOKED", "then": "REVOKED",
        }  # fmt: skip

    def test_what_would_be_ready_is_revoked_instead(self, flow: FlowUnderTest) -> None:
        nodes = (task("a"), task("b", after="a"), task("c", after="b"), task("f", after="c", when=When.ALWAYS))
        flow.begin(*nodes, last="c")
        flow.start("a")
        flow.apply(CancelFlow(flow.id))
        assert flow.end("a") == []
        assert flow.states("a", "b", "c", "f") == [SUCCESS, REVOKED, REVOKED, REVOKED]
        assert flow.view().state is FlowState.REVOKED

    def test_what_was_given_back_does_not_run_again(self, flow: FlowUnderTest) -> None:
        flow.begin(task("a"), last="a")
        flow.start("a", "x")
        flow.apply(CancelFlow(flow.id))
        assert flow.start("a", "y").verdict is Verdict.DUPLICATE
        assert flow.start("a", "x").verdict is Verdict.REVOKED
        assert (flow.end("a", state=REVOKED), flow.view().state) == ([], FlowState.REVOKED)

    def test_what_is_ready_ends_at_once(self, store: Store, flow: FlowUnderTest) -> None:
        flow.begin(*CHORD, task("z", after="then", when=When.ALWAYS), last="then")
        flow.clock.advance(5)
        cancel(store, flow.id)
        assert {view.state for view in flow.nodes().values()} == {REVOKED}
        assert {view.ended_at for view in flow.nodes().values()} == {START + 5}
        assert (flow.view().state, flow.view().is_cancelled) == (FlowState.REVOKED, True)
        results = store.results(["g-0", "g-1", "body", "then", "z"])
        assert {result.state.value for result in results.values()} == {"REVOKED"} and len(results) == 5
        assert flow.start("g-0").verdict is Verdict.ENDED
        assert (flow.end("g-0"), flow.states("g-0", "then")) == ([], [REVOKED, REVOKED])

    def test_what_runs_runs_on(self, store: Store, flow: FlowUnderTest) -> None:
        flow.begin(*group("g", 3, policy=Policy.COLLECT), task("body", after="g"), last="body")
        flow.start("g-0")
        flow.start("g-1")
        flow.end("g-0")
        cancel(store, flow.id)
        assert flow.states("g-0", "g-1", "g-2", "body") == [SUCCESS, STARTED, REVOKED, WAITING]
        assert (flow.view().state, flow.end("g-1"), flow.view().state) == (FlowState.RUNNING, [], FlowState.REVOKED)
        assert flow.states("g-1", "g", "body") == [SUCCESS, SUCCESS, REVOKED]

    def test_more_than_a_page_of_them_end_at_once(self, store: Store, flow: FlowUnderTest) -> None:
        flow.begin(*group("g", 2500), task("body", after="g"), last="body")
        cancel(store, flow.id)
        assert (flow.view().state, flow.view().counts) == (FlowState.REVOKED, {REVOKED: 2501})

    def test_what_one_left_who_died_on_the_way_is_ended_by_the_next(self, store: Store, flow: FlowUnderTest) -> None:
        flow.begin(*group("g", 5), task("body", after="g"), last="body")
        flow.apply(CancelFlow(flow.id))
        flow.apply(CancelFlow(flow.id, ["g-1", "g-0"]))
        assert (flow.view().state, flow.view().counts[READY]) == (FlowState.RUNNING, 3)
        assert flow.start("g-2").verdict is Verdict.REVOKED
        cancel(store, flow.id)
        assert (flow.view().state, flow.view().counts) == (FlowState.REVOKED, {REVOKED: 6})

    @pytest.mark.parametrize("is_cancelled", [False, True])
    def test_what_rests_between_attempts_runs_again_unless_it_is_called_off(
        self, store: Store, flow: FlowUnderTest, is_cancelled: bool
    ) -> None:
        flow.begin(task("a"), task("b", after="a"), last="b")
        flow.start("a", "x")
        flow.apply(PauseNode(flow.id, "a"))
        assert (flow.states("a"), flow.nodes()["a"].left) == ([STARTED], 0)
        if not is_cancelled:
            assert flow.start("a", "x").verdict is Verdict.RUN
            cancel(store, flow.id)  # it runs again
            assert flow.states("a", "b") == [STARTED, WAITING]
            assert (flow.end("a"), flow.view().state) == ([], FlowState.REVOKED)
            return
        cancel(store, flow.id)
        assert (flow.states("a", "b"), flow.view().state) == ([REVOKED, REVOKED], FlowState.REVOKED)
        assert store.results(["a"])["a"].state is State.REVOKED
        assert flow.start("a", "x").verdict is Verdict.ENDED

    def test_what_is_to_rest_in_a_cancelled_flow_ends_instead(self, store: Store, flow: FlowUnderTest) -> None:
        flow.begin(task("a"), task("b", after="a"), last="b")
        flow.start("a")
        cancel(store, flow.id)
        retry = saved("a", State.RETRY, failure=FAILURE)
        assert flow.apply(retry, PauseNode(flow.id, "a")) == []
        assert (flow.states("a", "b"), flow.view().state) == ([REVOKED, REVOKED], FlowState.REVOKED)
        assert store.results(["a"])["a"].state is State.REVOKED

    @pytest.mark.parametrize("is_sealed", [False, True])
    @pytest.mark.parametrize("runs", [False, True])
    def test_a_batch_is_revoked(self, store: Store, flow: FlowUnderTest, is_sealed: bool, runs: bool) -> None:
        callbacks = [task(f"on_{when}", after="b", when=when, takes=False) for when in When]
        flow.begin(join("b", -1, policy=Policy.TALLY), *callbacks, last="b")
        flow.apply(AddNodes(flow.id, [task("m", join="b"), task("n", join="b")]))
        if is_sealed:
            flow.apply(SealFlow(flow.id, "b"))
        if runs:
            flow.start("m")
        cancel(store, flow.id)
        if runs:
            assert (flow.view().state, flow.end("m")) == (FlowState.RUNNING, [])
        states = flow.states("m", "n", "b", "on_success", "on_always")
        assert states == [SUCCESS if runs else REVOKED, *[REVOKED] * 4]
        assert flow.states("on_failure", "on_death") == [REVOKED, REVOKED]
        assert (flow.view().state, flow.apply(SealFlow(flow.id, "b"))) == (FlowState.REVOKED, [])

    def test_nothing_happens_to_a_flow_that_has_ended_or_is_not_there(self, store: Store, flow: FlowUnderTest) -> None:
        cancel(store, flow.id)
        assert flow.apply(CancelFlow(flow.id)) == []
        flow.begin(task("a"), last="a")
        flow.end("a")
        cancel(store, flow.id)
        assert flow.apply(CancelFlow(flow.id, ["a"])) == []
        assert (flow.view().is_cancelled, flow.view().state) == (False, FlowState.SUCCESS)
