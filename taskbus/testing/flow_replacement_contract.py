"""The part of the contract of flows about tasks that put a flow in their own place."""

from collections.abc import Sequence

import pytest

from taskbus.store.flows import Flow, FlowState, Node, ReplaceNode, ReviveNode, Verdict
from taskbus.testing.clock import START
from taskbus.testing.flow_records import (
    FAILED,
    READY,
    SKIPPED,
    STARTED,
    SUCCESS,
    TTL,
    WAITING,
    FlowBasis,
    FlowUnderTest,
    group,
    join,
    task,
    wire,
)

FLOW = Flow("flow", "", "", START, TTL)


class ReplacementContract(FlowBasis):
    """A task puts a flow in its own place."""

    def replace(self, flow: FlowUnderTest, *nodes: Node) -> list[str]:
        return flow.apply(self.change(flow, nodes))

    def change(self, flow: FlowUnderTest, nodes: Sequence[Node]) -> ReplaceNode:
        given = [node._replace(wire=wire(node.id)) if node.task else node for node in nodes]
        return ReplaceNode(Flow(flow.id, "", "", flow.clock(), TTL), given)

    def test_what_waited_for_the_task_waits_for_what_replaces_it(self, flow: FlowUnderTest) -> None:
        flow.begin(*group("g", 3), task("body", after="g"), last="body")
        flow.start("g-2")
        assert self.replace(flow, task("x"), task("g-2", after="x")) == ["x"]
        assert flow.states("x", "g-2") == [READY, WAITING]
        assert (flow.end("g-0", "g-1"), flow.end("x")) == ([], ["g-2"])
        assert flow.given("g-2", "1/copy") == "x"
        assert flow.end("g-2") == ["body"]
        assert flow.given("body") == ["g-0", "g-1", "g-2"]

    def test_a_chord_may_replace_a_task(self, flow: FlowUnderTest) -> None:
        flow.begin(task("z"), task("a", after="z"), task("b", after="a"), last="b")
        flow.end("z")
        flow.start("a")
        assert self.replace(flow, *group("g", 3), task("a", after="g")) == ["g-0", "g-1", "g-2"]
        assert (flow.end("g-0", "g-1", "g-2"), flow.given("a", "1/copy")) == (["a"], ["g-0", "g-1", "g-2"])
        assert (flow.end("a"), flow.end("b"), flow.view().state) == (["b"], [], FlowState.SUCCESS)

    @pytest.mark.parametrize("path", ["1.0", "", "9." * 99 + "9"])
    def test_what_replaces_a_task_is_drawn_in_its_place(self, flow: FlowUnderTest, path: str) -> None:
        flow.begin(task("a", path=path), last="a")
        flow.start("a")
        self.replace(flow, task("a", path="0"))
        assert flow.nodes()["a"].node.path == path
        flow.start("a", "1/copy")
        members = [node._replace(path=f"0.{n}" if n else "0") for n, node in enumerate(group("g", 2))]
        self.replace(flow, *members, task("a", after="g", path="1"))
        inside = f"{path}." if len(path) == 3 else ""
        paths = {id: view.node.path for id, view in flow.nodes().items()}
        expected = {"g": "0", "g-0": "0.1", "g-1": "0.2", "a": "1"}
        assert paths == {id: f"{inside}{each}" if inside else path for id, each in expected.items()}
        assert flow.end("g-0", "g-1") == ["a"]

    def test_one_task_may_replace_another_and_be_replaced(self, flow: FlowUnderTest) -> None:
        flow.begin(task("z"), task("a", after="z"), task("b", after="a"), last="b")
        flow.end("z")
        for number in range(3):
            assert flow.given("a", f"{number}/copy") == "z"
            new = task("a", wire=wire("a") + b"%d" % number, takes=True)
            recorded = flow.store.apply([ReplaceNode(FLOW, [new])])
            assert recorded is not None and [sealed.wire for sealed in recorded.ready] == [new.wire]
            assert flow.states("a") == [READY]
        flow.start("a", "3/copy")
        assert (flow.apply(ReplaceNode(FLOW, [new])), flow.states("a")) == ([], [STARTED])
        assert flow.end("a") == ["b"]

    def test_a_failure_of_what_replaces_it_is_the_failure_of_all(self, flow: FlowUnderTest) -> None:
        flow.begin(task("a"), task("b", after="a"), last="b")
        flow.start("a")
        self.replace(flow, task("x"), task("a", after="x"))
        assert flow.end("x", state=FAILED) == []
        assert [flow.nodes()[id].cause for id in "ab"] == ["x", "x"]
        assert flow.view().state is FlowState.FAILURE

    def test_a_task_that_was_in_no_flow_begins_one(self, flow: FlowUnderTest) -> None:
        assert self.replace(flow, *group("g", 2), task("a", after="g")) == ["g-0", "g-1"]
        assert flow.end("g-0", "g-1") == ["a"]
        assert (flow.given("a"), flow.end("a"), flow.view().state) == (["g-0", "g-1"], [], FlowState.SUCCESS)

    @pytest.mark.parametrize("is_known", [True, False])
    def test_replaced_again_publishes_what_was_not_started_since(self, flow: FlowUnderTest, is_known: bool) -> None:
        if is_known:
            flow.begin(task("a"), task("b", after="a"), last="b")
            flow.start("a")
        change = self.change(flow, [*group("g", 2), task("a", after="g")])
        assert [flow.apply(change) for _ in range(2)] == [["g-0", "g-1"]] * 2
        before = flow.nodes()
        flow.apply(change)
        assert flow.nodes() == before
        flow.start("g-0")
        assert flow.apply(change) == ["g-1"]
        flow.end("g-0", "g-1")
        assert flow.apply(change) == ["a"]
        flow.start("a", "1/copy")
        assert flow.apply(change) == []
        flow.end("a")
        assert (flow.apply(change), flow.states("a")) == ([], [SUCCESS])

    def test_a_message_of_a_replaced_task_that_comes_again_runs_nothing(self, flow: FlowUnderTest) -> None:
        """As when its worker died between the record and the publish."""
        flow.begin(task("a"), last="a")
        flow.start("a", "old")
        assert self.replace(flow, *group("g", 2), task("a", after="g")) == ["g-0", "g-1"]
        assert flow.start("a", "old").verdict is Verdict.ENDED
        flow.start("g-0")
        assert flow.end("a", state=SKIPPED) == ["g-1"]
        assert flow.states("a", "g-0", "g-1") == [WAITING, STARTED, READY]
        flow.start("g-1")
        assert flow.end("g-0", "g-1") == ["a"]
        for copy in ("old", "late"):  # the other came of a worker that died before: it waited all the time
            assert flow.start("a", copy).verdict is Verdict.ENDED, "what is READY now is another task"
        assert (flow.end("a", state=SKIPPED), flow.states("a")) == (["a"], [READY])
        assert flow.start("a", "1/new").verdict is Verdict.RUN
        assert (flow.end("a", state=SKIPPED), flow.states("a")) == ([], [STARTED])
        assert (flow.end("a"), flow.view().state) == ([], FlowState.SUCCESS)

    def test_nor_does_one_of_a_task_that_another_replaced(self, flow: FlowUnderTest) -> None:
        flow.begin(task("z"), task("a", after="z"), task("b", after="a"), last="b")
        flow.end("z")
        flow.start("a", "old")
        for number, name in ((1, "another"), (2, "and another")):
            assert flow.apply(ReplaceNode(FLOW, [task("a", wire=wire(name), takes=False)])) == [name]
            for copy in ("old", "late", f"{number - 1}/late"):
                assert flow.start("a", copy).verdict is Verdict.ENDED
            assert (flow.end("a", state=SKIPPED), flow.states("a")) == ([name], [READY])
            assert flow.start("a", f"{number}/new").verdict is Verdict.RUN
            assert flow.start("a", "old").verdict is Verdict.DUPLICATE
        assert (flow.end("a"), flow.end("b"), flow.view().state) == (["b"], [], FlowState.SUCCESS)

    def test_nor_does_one_that_comes_when_what_replaced_its_task_was_revived(self, flow: FlowUnderTest) -> None:
        flow.begin(task("a"), last="a")
        flow.start("a", "old")
        self.replace(flow, task("a"))
        flow.start("a", "1/dead")
        flow.end("a", state=FAILED)
        flow.apply(ReviveNode(flow.id, "a", is_sent=True))
        assert flow.start("a", "late").verdict is Verdict.ENDED
        assert flow.start("a", "1/replayed").verdict is Verdict.RUN

    def test_a_task_that_was_in_no_flow_is_replaced_once_by_a_single_one(self, flow: FlowUnderTest) -> None:
        nodes = [task("a"), join("mark", 0)]
        assert self.replace(flow, *nodes) == ["a"]
        again = ReplaceNode(self.change(flow, nodes).flow, [task("a", wire=b"sent later"), join("mark", 0)])
        assert flow.apply(again) == ["a"]
        assert flow.start("a", "x").verdict is Verdict.RUN
        assert (flow.apply(again), flow.states("a")) == ([], [STARTED])
        assert (flow.end("a"), flow.view().state, flow.view().counts[SUCCESS]) == ([], FlowState.SUCCESS, 1)
