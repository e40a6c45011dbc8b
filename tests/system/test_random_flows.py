"""Random workflows, run by real workers, beside a reference interpreter that says what must come out.

``RANDOM_FLOWS=500 pytest tests/system/test_random_flows.py`` plays so many examples of one to three workflows on each
broker, other ones each time, and makes those that fail small; by default there are few, the same each time.
"""

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import random_flows_app as program
from flow_interpreter import End, Failed, Interpreter, Value, is_as_expected
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from random_flows_app import Shape, told
from worker_process import Worker, wait_until

from taskbus import TaskBus
from taskbus.errors import ResultError
from taskbus.store.flows import FlowState
from taskbus.worker import inspection
from taskbus.worker.options import WorkerOptions
from taskbus.worker.supervisor import run as run_worker
from tests.crash.grounds import GROUNDS
from tests.crash.town import Town

ASKED = int(os.environ.get("RANDOM_FLOWS", "0"))
FEW = {"memory": 30, "sqlite": 30, "redis": 30, "rabbitmq": 8}
MANY = 300
SOON = 60.0
"""Seconds within which a workflow has ended that a worker is there for."""

# --- what is played --------------------------------------------------------------------------------------------------


def _call(failures: int, takes: bool, is_async: bool, delay: float, instead: Shape | None) -> Shape:
    own = {"key": "", "failures": failures, "takes": takes, "is_async": is_async, "delay": delay, "instead": instead}
    return {"is": "call", "links": [], "errors": [], **own}


PLAIN = _call(0, True, False, 0.0, None)
CALLS = st.builds(
    _call,
    st.sampled_from([0, 0, 0, 0, 0, 1, 2, 3]), st.booleans(), st.booleans(), st.sampled_from([0.0] * 9 + [0.05]),
    st.none(),
)  # fmt: skip
REPEATED = st.fixed_dictionaries(
    {
        "is": st.sampled_from(["map", "starmap", "chunks"]),
        "items": st.lists(
            st.fixed_dictionaries({"key": st.just(""), "failures": st.sampled_from([0, 0, 0, 1, 3])}), max_size=4
        ),
        "size": st.integers(1, 3),
        "is_async": st.booleans(),
        "links": st.just([]),
        "errors": st.just([]),
    }
)  # fmt: skip


def _larger(inner: st.SearchStrategy[Shape]) -> st.SearchStrategy[Shape]:
    bare: dict[str, st.SearchStrategy[Any]] = {"links": st.just([]), "errors": st.just([])}
    chains = st.fixed_dictionaries(
        {"is": st.just("chain"), "steps": st.lists(inner, min_size=1, max_size=4), "is_piped": st.booleans(), **bare}
    )
    members: dict[str, st.SearchStrategy[Any]] = {"members": st.lists(inner, max_size=4), "collects": st.booleans()}
    groups = st.fixed_dictionaries({"is": st.just("group"), **members, **bare})
    chords = st.fixed_dictionaries({"is": st.just("chord"), **members, "body": inner, **bare})
    linked = st.builds(
        lambda shape, links, errors: {**shape, "links": links, "errors": errors},
        inner, st.lists(inner, max_size=1), st.lists(inner, max_size=1),
    )  # fmt: skip
    replaced = st.builds(
        lambda shape: _call(0, True, False, 0.0, {**_chain(shape, PLAIN)}),
        inner,
    )
    return chains | groups | chords | chains | groups | linked | replaced


def _chain(*steps: Shape) -> Shape:
    return {"is": "chain", "steps": list(steps), "is_piped": False, "links": [], "errors": []}


SHAPES = st.recursive(CALLS | REPEATED, _larger, max_leaves=12)


def numbered(shape: Shape, numbers: Iterator[int]) -> Shape:
    """A copy in which every call has a key of its own."""
    copy = dict(shape)
    if "key" in copy:
        copy["key"] = f"k{next(numbers)}"
    for name in ("steps", "members", "items", "links", "errors"):
        if name in copy:
            copy[name] = [numbered(each, numbers) for each in copy[name]]
    for name in ("body", "instead"):
        if copy.get(name) is not None:
            copy[name] = numbered(copy[name], numbers)
    return copy


# --- where it is played ----------------------------------------------------------------------------------------------


class Played:
    """A workflow that was sent."""

    def __init__(self, bus: TaskBus, shape: Shape, path: Path) -> None:
        self.bus, self.shape, self.path = bus, shape, path
        interpreter = Interpreter()
        self.expected: End = interpreter.end(shape)
        self.runs = interpreter.runs
        self.result = program.canvas(shape, str(path)).delay()

    def check(self) -> None:
        """Wait for its end, and see that it is the right one."""
        flow = self.bus.flow(self.result.flow_id)
        if self.result.flow_id:
            wait_until(lambda: flow.state is not FlowState.RUNNING, timeout=SOON, what=f"the end of {self.shape}")
            state = FlowState.SUCCESS if isinstance(self.expected, Value) else FlowState.FAILURE
            assert flow.state is state, self.shape
            assert (flow.counts().pending, flow.counts().running) == (0, 0), self.shape
        found = self._outcome()
        if isinstance(self.expected, Failed):
            assert isinstance(found, Failed), (found, self.expected, self.shape)
            assert found.causes <= self.expected.causes, self.shape
        else:
            assert isinstance(found, Value), (found, self.expected, self.shape)
            assert is_as_expected(found.value, self.expected.value), (found, self.expected, self.shape)
        if not self.result.flow_id:  # a lone task may have been replaced by a workflow that goes on after its result
            wait_until(lambda: len(program.ran(self.path)) >= self.runs.total(), timeout=SOON, what=f"{self.runs}")
        self.check_runs()

    def check_runs(self) -> None:
        """Every body ran as often as it had to, by a record that the queue knows nothing of."""
        assert Counter(program.ran(self.path)) == self.runs, self.shape

    def _outcome(self) -> Value | Failed:
        try:
            return Value(told(self.result.get(timeout=SOON)))
        except (ResultError, ValueError) as error:  # Python's own errors come as they are
            return Failed(frozenset([program.blamed(str(error))]))


class Stage:
    """Where random workflows are played by a worker that is there already."""

    def __init__(
        self, bus: TaskBus, folder: Path, meanwhile: Callable[[Callable[[], None]], None] = lambda do: do()
    ) -> None:
        """``meanwhile``: do something while the worker works."""
        self.bus, self.folder, self.meanwhile = bus, folder, meanwhile
        self.played: list[Played] = []
        self._numbers = count()

    def play(self, examples: int) -> None:
        """Play so many examples, then see that nothing came late."""

        @settings(
            max_examples=ASKED or examples,
            derandomize=not ASKED,
            database=None,
            deadline=None,
            phases=(Phase.generate, Phase.shrink) if ASKED else (Phase.generate,),
            suppress_health_check=list(HealthCheck),
        )
        @given(st.lists(SHAPES, min_size=1, max_size=3))
        def together(shapes: list[Shape]) -> None:
            sent = [
                Played(self.bus, numbered(shape, count()), self.folder / f"ran-{next(self._numbers)}")
                for shape in shapes
            ]

            def check() -> None:
                for each in sent:
                    each.check()

            self.meanwhile(check)
            self.played += sent

        together()
        wait_until(self._is_drained, timeout=SOON, what="the queues to be empty")
        for each in self.played:
            each.check_runs()

    def _is_drained(self) -> bool:
        return all(size.ready + size.delayed + size.running == 0 for size in self.bus.broker.queues())


@pytest.fixture(scope="module")
def town() -> Iterator[Town]:
    """The servers of this module's tests."""
    with Town() as town:
        yield town


def adopted(bus: TaskBus) -> TaskBus:
    for task in program.app.tasks.values():
        bus._adopt(task)
    return bus


def play_on(name: str, folder: Path, town: Town, examples: int) -> None:
    ground = GROUNDS[name]
    if why := ground.obstacle():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(why)
    place = ground.open(folder / "place", town)
    with ExitStack() as stack:
        stack.callback(place.remove)
        bus = TaskBus(
            "random_flows", broker=place.broker_url, results=place.results_url or None, unknown_task_grace=0, sweep=0.5
        )
        adopted(stack.enter_context(bus))
        stack.enter_context(
            Worker(
                bus.broker_url, folder, "-c", "2", "--coroutines", "10",
                app="random_flows_app:app", TASKBUS_RESULTS=bus.results_url,
            )
        )  # fmt: skip
        Stage(bus, folder).play(examples)


def play_in_memory(folder: Path, monkeypatch: pytest.MonkeyPatch, examples: int) -> None:
    """Nobody else reaches what is in this process's memory: it is the worker itself, for each example anew."""
    monkeypatch.setattr(inspection, "must_be_shared", lambda broker: None)
    with TaskBus("random_flows", broker="memory://random_flows", unknown_task_grace=0, sweep=0.5) as bus:
        monkeypatch.setattr(program, "in_memory", adopted(bus), raising=False)
        Stage(bus, folder, work_while).play(examples)


def work_while(do: Callable[[], None]) -> None:
    """Be the worker, in the main thread, as signals want it, until ``do`` has returned in another one."""

    def act() -> None:
        try:
            do()
        except BaseException as error:
            raised.append(error)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    raised: list[BaseException] = []
    other = threading.Thread(target=act)
    run_worker(WorkerOptions(app="random_flows_app:in_memory", pool="solo"), on_ready=lambda _: other.start())
    other.join()
    if raised:
        raise raised[0]


everywhere = pytest.mark.parametrize("broker", FEW)


@everywhere
@pytest.mark.timeout(0 if ASKED else 300)
def test_random_workflows_give_what_the_interpreter_says(
    broker: str, town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if broker == "memory":
        play_in_memory(tmp_path, monkeypatch, FEW[broker])
    else:
        play_on(broker, tmp_path, town, FEW[broker])


@everywhere
@pytest.mark.slow
@pytest.mark.timeout(0)
def test_many_random_workflows_give_what_the_interpreter_says(
    broker: str, town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if broker == "memory":
        play_in_memory(tmp_path, monkeypatch, MANY)
    else:
        play_on(broker, tmp_path, town, MANY)
