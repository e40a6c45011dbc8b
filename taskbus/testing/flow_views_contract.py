"""The part of the contract of flows about what is asked of them: starts, views, their end; and many who ask at once."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from taskbus.message import Recorded
from taskbus.store.base import Store
from taskbus.store.flows import AddNodes, BeginFlow, EndNode, Flow, FlowState, Policy, SealFlow, Start, Verdict, When
from taskbus.testing.clock import START, MovableClock
from taskbus.testing.flow_records import (
    FAILED,
    READY,
    STARTED,
    SUCCESS,
    TTL,
    WAITING,
    FlowBasis,
    FlowUnderTest,
    group,
    ids_of,
    join,
    task,
)
from taskbus.testing.records import DEADLINE, FAILURE, saved


class StartsContract(FlowBasis):
    """Of many messages of a node only one is run."""

    def test_a_ready_node_is_started_by_one_copy_as_often_as_that_comes(self, flow: FlowUnderTest) -> None:
        flow.begin(task("a"))
        assert [flow.start("a", copy).verdict for copy in ("x", "y", "x", "")] == [
            "run",
            "duplicate",
            "run",
            "duplicate",
        ]
        assert flow.states("a") == [STARTED]
        assert flow.nodes()["a"].started_at == START

    def test_what_has_ended_is_not_run_by_any_copy(self, flow: FlowUnderTest) -> None:
        flow.begin(task("a"), task("b", after="a"))
        flow.start("a", "x")
        flow.end("a", state=FAILED)
        assert {flow.start(id, copy).verdict for id in "ab" for copy in "xy"} == {Verdict.ENDED}

    def test_what_is_not_there_is_unknown(self, flow: FlowUnderTest) -> None:
        assert flow.start("a").verdict is Verdict.UNKNOWN
        flow.begin(task("a"))
        assert flow.start("b").verdict is Verdict.UNKNOWN

    def test_many_are_begun_at_once_and_answered_in_their_order(self, store: Store, flow: FlowUnderTest) -> None:
        other = FlowUnderTest(store, flow.clock, "other")
        flow.begin(task("z"), *(task(f"a{number:03}", after="z") for number in range(300)))
        other.begin(task("b"))
        flow.end("z")
        starts = [Start(flow.id, f"a{number:03}", "x", START) for number in range(300)]
        asked = [*starts, Start("other", "b", "", START), starts[0]._replace(copy="y"), Start("none", "a", "", START)]
        begun = store.begin(asked)
        assert [each.verdict for each in begun] == ["run"] * 301 + ["duplicate", "unknown"]
        assert {getattr(each.inputs, "node", None) for each in begun[:300]} == {"z"}
        assert [each.inputs for each in begun[300:]] == [None] * 3
        assert store.begin([]) == []

    def test_a_node_started_again_is_given_the_same(self, flow: FlowUnderTest) -> None:
        flow.begin(*group("g", 2), task("b", after="g"))
        flow.end("g-0", "g-1")
        assert [flow.given("b") for _ in range(3)] == [["g-0", "g-1"]] * 3


class ViewsContract(FlowBasis):
    """What can be looked at, and for how long."""

    def test_a_flow_is_seen_as_it_was_begun(self, store: Store, flow: FlowUnderTest) -> None:
        assert store.flow("flow") is None
        flow.begin(task("a"), join("g", 0), name="import", last="a", ttl=7.0)
        view = flow.view()
        assert view.flow == Flow("flow", "import", "a", START, 7.0)
        assert (view.state, view.is_cancelled, view.ended_at) == (FlowState.RUNNING, False, 0.0)
        assert {state: count for state, count in view.counts.items() if count} == {READY: 1}

    def test_nodes_are_seen_as_they_were_planned(self, flow: FlowUnderTest) -> None:
        planned = (
            join("g", 2, join="h", place=3, policy=Policy.COLLECT, path="1.0"),
            join("h", -1, policy=Policy.TALLY),
            task("a", join="g", queue="slow", priority=7, keeps=False, result_ttl=0.0, path="1.0.0"),
            task("b", after="a", when=When.ALWAYS, join="g", place=1, due_at=START + 0.25, delay=1.5),
            task("c", after="b", when=When.FAILURE, takes=False),
        )
        flow.begin(*planned)
        nodes = flow.nodes()
        assert [nodes[node.id].node._replace(wire=b"") for node in planned] == [
            node._replace(wire=b"") for node in planned
        ]
        assert (nodes["g"].left, nodes["h"].left) == (2, 1)

    def test_nodes_tell_when_and_how(self, flow: FlowUnderTest) -> None:
        flow.begin(task("a"), last="a")
        flow.clock.advance(1.5)
        flow.start("a")
        flow.clock.advance(2.25)
        flow.end("a", state=FAILED)
        node = flow.nodes()["a"]
        assert (node.state, node.started_at, node.ended_at) == (FAILED, START + 1.5, START + 3.75)
        assert (node.failure, node.cause) == (FAILURE, "")

    def test_nodes_come_in_pages_by_their_ids(self, store: Store, flow: FlowUnderTest) -> None:
        ids = [f"n{number:02}" for number in range(25)]
        flow.begin(*map(task, reversed(ids)))
        FlowUnderTest(store, flow.clock, "other").begin(task("n00"), task("n99"))
        seen: list[str] = []
        while page := store.nodes(flow.id, limit=10, after=max(seen, default="")):
            assert len(page) <= 10
            seen += [view.node.id for view in page]
        assert seen == ids
        assert store.nodes("missing", limit=10) == []

    def test_flows_come_in_pages_newest_first(self, store: Store, clock: MovableClock) -> None:
        for number in range(25):
            FlowUnderTest(store, clock, f"f{number:02}").begin(task("a"))
            clock.advance(number % 3 == 0)
        seen: list[str] = []
        before: tuple[float, str] | None = None
        while page := store.flows(limit=4, before=before):
            assert len(page) <= 4
            seen += [view.flow.id for view in page]
            before = page[-1].flow.sent_at, page[-1].flow.id
        assert seen == [f"f{number:02}" for number in reversed(range(25))]

    def test_a_flow_is_kept_for_a_while_after_its_end(self, store: Store, flow: FlowUnderTest) -> None:
        long = FlowUnderTest(store, flow.clock, "long")
        running = FlowUnderTest(store, flow.clock, "running")
        flow.begin(*(task(f"n{number}") for number in range(1200)), ttl=10.0)
        for each in (long, running):
            each.begin(task("a"), ttl=20.0)
        flow.clock.advance(1000)
        for each, ids in ((flow, [f"n{number}" for number in range(1200)]), (long, ["a"])):
            each.end(*ids)
        flow.clock.advance(9.9)
        self.sweep(store, flow.clock())
        assert (flow.view().state, len(flow.nodes())) == (FlowState.SUCCESS, 1200)
        flow.clock.advance(0.2)
        self.sweep(store, flow.clock())
        assert (store.flow(flow.id), store.nodes(flow.id, limit=10)) == (None, [])
        assert [view.flow.id for view in store.flows(limit=10)] == ["running", "long"]
        assert (flow.start("n0").verdict, flow.end("n0")) == (Verdict.UNKNOWN, [])
        flow.clock.advance(20)
        self.sweep(store, flow.clock())
        assert (store.flow("long"), running.states("a")) == (None, [READY])

    def sweep(self, store: Store, now: float) -> None:
        """Sweep until nothing is left to."""
        for _ in range(20):
            if not store.sweep(now):
                return
        raise AssertionError("there is always something to sweep")

    def test_names_may_be_in_any_script(self, store: Store, clock: MovableClock) -> None:
        flow = FlowUnderTest(store, clock, "поток «日本»")
        flow.begin(task("задача 💥"), task("ключ ' \" % ; -- \\", after="задача 💥", queue="очередь"), name="名前")
        assert flow.end("задача 💥") == ["ключ ' \" % ; -- \\"]
        assert flow.given("ключ ' \" % ; -- \\") == "задача 💥"
        assert store.flows(limit=1)[0].flow.name == "名前"


class CompanyContract(FlowBasis):
    """Flows are changed together with results, and by many at once."""

    def test_results_and_flows_are_recorded_together(self, store: Store, flow: FlowUnderTest) -> None:
        flow.begin(task("a"), task("b", after="a"))
        assert flow.apply(saved("a", value=b"1"), flow.ended("a")) == ["b"]
        assert store.results(["a"])["a"].value == b"1"

    def test_a_flow_is_begun_added_to_and_ended_in_one_set(self, flow: FlowUnderTest) -> None:
        begun = BeginFlow(
            Flow(flow.id, "", "b", START, TTL), [join("g", -1), task("a", join="g"), task("b", after="g", takes=False)]
        )
        more = AddNodes(flow.id, [task("c", join="g"), task("d", after="c", join="g")])
        assert flow.apply(begun, more, SealFlow(flow.id, "g"), flow.ended("c"), flow.ended("a")) == ["d"]
        assert flow.states("a", "b", "c", "d") == [SUCCESS, WAITING, SUCCESS, READY]
        assert (flow.end("d"), flow.end("b"), flow.view().state) == (["b"], [], FlowState.SUCCESS)

    def test_nodes_of_many_flows_end_in_one_set(self, store: Store, clock: MovableClock) -> None:
        flows = [FlowUnderTest(store, clock, f"f{number}") for number in range(60)]
        for each in flows:
            each.begin(task(f"{each.id}-a"), task(f"{each.id}-b", after=f"{each.id}-a"), last=f"{each.id}-b")
        for step in "ab":
            ended = [each.ended(f"{each.id}-{step}", FAILED if each.id == "f7" else SUCCESS) for each in flows]
            recorded = store.apply(ended)
            assert recorded is not None
            expected = {f"{each.id}-b" for each in flows if each.id != "f7"} if step == "a" else set()
            assert set(ids_of(recorded.ready)) == expected
        states = [each.view().state for each in flows]
        assert [number for number, state in enumerate(states) if state is not FlowState.SUCCESS] == [7]

    @pytest.mark.parametrize("parts", [2, 8])
    def test_of_members_that_end_at_the_same_time_one_is_the_last(
        self, store: Store, clock: MovableClock, tmp_path: Path, parts: int
    ) -> None:
        together = threading.Barrier(parts)

        def end(opened: Store, flow: str, member: int) -> Recorded | None:
            together.wait(DEADLINE)
            return opened.apply([EndNode(flow, f"g-{member}", SUCCESS, START, b"%d" % member)])

        with ExitStack() as stack, ThreadPoolExecutor(parts) as pool:
            stores = [stack.enter_context(closing(self.open(tmp_path, clock))) for _ in range(parts)]
            for number in range(15):
                flow = FlowUnderTest(store, clock, f"f{number}")
                flow.begin(*group("g", parts), task("body", after="g"), last="body")
                ended = list(pool.map(end, stores, [flow.id] * parts, range(parts)))
                assert [id for each in ended if each for id in ids_of(each.ready)] == ["body"]
                assert flow.given("body") == [str(member) for member in range(parts)]

    def test_of_copies_that_come_at_the_same_time_one_is_run(
        self, store: Store, clock: MovableClock, tmp_path: Path
    ) -> None:
        flow = FlowUnderTest(store, clock)
        nodes = [f"n{number}" for number in range(20)]
        flow.begin(*map(task, nodes))
        with ExitStack() as stack, ThreadPoolExecutor(4) as pool:
            stores = [stack.enter_context(closing(self.open(tmp_path, clock))) for _ in range(4)]
            starts = [[Start(flow.id, node, copy, START) for node in nodes] for copy in "wxyz"]
            begun = list(pool.map(lambda opened, asked: opened.begin(asked), stores, starts))
        for answers in zip(*begun, strict=True):
            assert sorted(each.verdict.value for each in answers) == ["duplicate"] * 3 + ["run"]
        assert {view.state for view in flow.nodes().values()} == {STARTED}

    def test_many_may_end_nodes_of_the_same_flows_in_any_order(
        self, store: Store, clock: MovableClock, tmp_path: Path
    ) -> None:
        flows = [FlowUnderTest(store, clock, f"f{number:02}") for number in range(30)]
        for each in flows:
            each.begin(*group("g", 4), task(f"{each.id}-body", after="g"))

        def end(opened: Store, member: int) -> list[str]:
            mixed = random.Random(member).sample(flows, len(flows))  # noqa: S311 (the same every time)
            ended = [EndNode(each.id, f"g-{member}", SUCCESS, START) for each in mixed]
            parts = [opened.apply(ended[start : start + 10]) for start in range(0, len(ended), 10)]
            return [id for each in parts if each for id in ids_of(each.ready)]

        with ExitStack() as stack, ThreadPoolExecutor(4) as pool:
            stores = [stack.enter_context(closing(self.open(tmp_path, clock))) for _ in range(4)]
            found = [id for ready in pool.map(end, stores, range(4)) for id in ready]
        assert sorted(found) == [f"{each.id}-body" for each in flows]

    def test_a_flow_begun_by_many_is_begun_once(self, store: Store, clock: MovableClock, tmp_path: Path) -> None:
        together = threading.Barrier(4)

        def begin(opened: Store, number: int) -> Recorded | None:
            together.wait(DEADLINE)
            nodes = [task("a"), task(f"of {number}")]
            return opened.apply([BeginFlow(Flow("flow", str(number), "a", START, TTL), nodes)])

        with ExitStack() as stack, ThreadPoolExecutor(4) as pool:
            stores = [stack.enter_context(closing(self.open(tmp_path, clock))) for _ in range(4)]
            assert None not in list(pool.map(begin, stores, range(4)))
        flow = FlowUnderTest(store, clock)
        assert flow.nodes().keys() == {"a", f"of {flow.view().flow.name}"}
