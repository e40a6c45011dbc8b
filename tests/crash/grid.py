"""The generated grid: every step of the protocol, every victim, every action. Nothing in it is written by hand.

A step is a failpoint, the load that leads there, and which hit of it counts. The victim is struck when the step is
reached; a standby then does what a restarted or second worker would do, and everything accepted must come to an end.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product

from taskbus import chain, chord

from . import flow_sending
from .checker import Verdict
from .harness import Cell
from .history import Rules
from .place import Place
from .victim import Worker

ACTIONS = ("kill9", "stop", "term")
VICTIMS = ("runner", "supervisor", "group")
GATE = "open"
RULES = Rules()


def plain(cell: Cell) -> None:
    """Tasks of every kind that succeed, some of them delayed."""
    cell.send("brief", count=4)
    cell.send("quick", count=6)
    cell.send("aquick", count=4)
    cell.send("quick", countdown=0.8, count=2)


def retries(cell: Cell) -> None:
    """Tasks that fail once or twice first."""
    cell.send("flaky", count=6)
    cell.send("flaky", 2, count=2)


def deaths(cell: Cell) -> None:
    """Tasks that end as dead letters, some at once, some after a retry."""
    cell.send("rejected", "never", count=4, expect="dead")
    cell.send("doomed", count=4, expect="dead")


def delayed(cell: Cell) -> None:
    """Tasks that wait in the broker first."""
    cell.send("quick", countdown=1.0, count=4)
    cell.send("quick", countdown=1.5, count=4)


def held(cell: Cell) -> None:
    """Tasks that are still running when the strike comes, and others that wait behind them."""
    cell.send("hold", GATE, count=2)
    cell.send("ahold", GATE, count=2)
    cell.send("quick", count=4)


def held_only(cell: Cell) -> None:
    """Nothing but tasks that are still running when the worker has to stop."""
    cell.send("hold", GATE, count=2)
    cell.send("ahold", GATE, count=2)


def flows(cell: Cell) -> None:
    """Workflows: a chord in a chain, with a member that fails first, with one that fails for good, and a chain."""
    cell.send_flow(flow_sending.line)
    cell.send_flow(lambda part: chord([part("flaky"), part("brief")], part("joined", 2, takes=True)))
    cell.send_flow(flow_sending.doomed_line)
    cell.send_flow(lambda part: chain(part("quick"), part("aquick"), part("quick")))


def crashes(cell: Cell) -> None:
    """Tasks that kill their runner once."""
    cell.send("suicide", count=2)
    cell.send("quick", count=4)


@dataclass(frozen=True, slots=True)
class Step:
    """A place in the protocol. ``point`` empty: in the middle of a task's body."""

    name: str
    point: str
    load: Callable[[Cell], None]
    nth: int = 1


STEPS = (
    Step("fetch.inside", "fetch.inside", plain),
    Step("fetch.after", "fetch.after", plain),
    Step("promote.inside", "promote.inside", delayed),
    Step("dispatch.before", "dispatch.before", plain, 2),
    Step("runner.start", "runner.start", plain, 2),
    Step("body", "", held),
    Step("runner.body_done", "runner.body_done", plain, 2),
    Step("runner.sent", "runner.sent", plain),
    *(
        Step(f"settle.{when}:{load.__name__}", f"settle.{when}", load)
        for load in (plain, retries, deaths)
        for when in ("before", "inside", "after")
    ),
    Step("settle.inside:crashes", "settle.inside", crashes),
    *(
        Step(f"{point}:flows@{nth}", point, flows, nth)
        for point in ("flow.begun", "flow.recorded", "settle.before", "settle.inside", "settle.after")
        for nth in (1, 3)
    ),
    Step("reap.inside", "reap.inside", held),
    Step("renew.before", "renew.before", held, 2),
    Step("release.before", "release.before", held),
    Step("settle.inside:release", "settle.inside", held_only),
)
STOPPING = ("release.before", "settle.inside:release")
"""Steps that come when a worker stops with work in hand."""
LACKING: dict[str, tuple[str, ...]] = {"rabbitmq": ("promote.inside", "reap.inside")}
"""Steps that the protocol of a broker does not have."""
PRODUCER_STEPS = ("publish.before", "publish.inside", "publish.after")


@dataclass(frozen=True, slots=True)
class Square:
    """One cell of the grid: what is struck, where, how."""

    step: Step
    victim: str
    action: str

    @property
    def name(self) -> str:
        return f"{self.step.name}/{self.victim}/{self.action}"

    def exists_on(self, broker: str) -> bool:
        """Whether a broker's protocol has this step, and this can be done to it."""
        if self.action == "cut" and broker == "sqlite":
            return False
        return self.step.point not in LACKING.get(broker, ())

    def run(self, place: Place, mutant: str = "") -> Verdict:
        """Play it in ``place``; the verdict says what was lost."""
        if self.victim == "producer":
            return _run_producer(self, place)
        with Cell(place, _rules(self)) as cell:
            return _run(self, cell, mutant)


def _rules(square: Square) -> Rules:
    if square.step.name not in STOPPING:
        return RULES
    again = RULES.lease + RULES.sweep + RULES.slack  # a worker that is stopping replaces no runner
    return replace(RULES, sigterm_interrupts=True, runner_death=again)


def _run(square: Square, cell: Cell, mutant: str) -> Verdict:
    step = square.step
    if step.point == "reap.inside":
        _leave_a_dead_worker(cell)
    else:
        step.load(cell)
    victim = "self" if square.action == "cut" else square.victim
    struck = f"{step.point}:{square.action}.{victim}@{step.nth}" if step.point else ""
    grace = 0.3 if step.name in STOPPING else 8.0
    worker = cell.worker(faults=struck, mutant=mutant, grace=grace)
    if not step.point or step.name in STOPPING:
        cell.until(lambda: len(cell.open_runs()) >= 4, "four tasks to be running")
    if not step.point:
        cell.strike(worker, square.action, square.victim)
    elif step.name in STOPPING:
        cell.strike(worker, "term", "supervisor")
    cell.until(lambda: _has_struck(square, cell), f"the strike at {step.name}")
    return _recover(square, cell, worker, mutant)


def _has_struck(square: Square, cell: Cell) -> bool:
    why = square.step.point or "harness"
    return any((event["fault"], event["action"]) == (why, square.action) for event in cell.faults())


def _recover(square: Square, cell: Cell, worker: Worker, mutant: str) -> Verdict:
    if square.action == "stop":
        cell.wake_after(1.5 * cell.rules.lease)
    goes_on = square.victim == "runner" or square.action == "cut"
    if not goes_on or square.step.name in STOPPING:
        if square.action == "kill9":
            cell.until(lambda: not worker.is_alive, "the worker to die", 5.0)
        cell.worker(mutant=mutant)
    cell.open(GATE)
    cell.until(lambda: not cell.is_healing, "what was stopped to go on")
    return cell.finish()


def _leave_a_dead_worker(cell: Cell) -> None:
    """A worker that died holding four tasks, for the next one to reap."""
    held(cell)
    first = cell.worker()
    cell.until(lambda: len(cell.open_runs()) >= 4, "four tasks to be running")
    cell.strike(first, "kill9")
    cell.until(lambda: not first.is_alive, "the first worker to die", 5.0)


def _run_producer(square: Square, place: Place) -> Verdict:
    batch = 8 if square.step.load is not plain else 0
    with Cell(place, RULES) as cell:
        sends = [("quick", cell.new_id(), {}) for _ in range(40)]
        faults = f"{square.step.point}:{square.action}.self@{square.step.nth}"
        process = cell.produce(sends, batch=batch, faults=faults)
        cell.until(cell.faults, f"the strike at {square.step.name}")
        if square.action == "stop":
            cell.wake_after(1.0)
        cell.worker()
        cell.until(lambda: process.poll() is not None, "the producer to end")
        return cell.finish()


def _together(cell: Cell) -> None:
    """Marks the steps of a producer that sends in batches."""


GRID = (
    *(Square(step, victim, action) for step, victim, action in product(STEPS, VICTIMS, ACTIONS)),
    *(
        Square(Step(f"{point}:{name}", point, load, nth), "producer", action)
        for point, (name, load, nth), action in product(
            PRODUCER_STEPS, (("single", plain, 20), ("batch", _together, 3)), (*ACTIONS, "cut")
        )
    ),
    *(Square(step, "supervisor", "cut") for step in STEPS if step.point and not step.point.startswith("runner.")),
)
