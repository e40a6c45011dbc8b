"""The part of the grid that only workflows have: who begins one, fills a batch or calls one off is killed at each step.

The steps of a worker that settles a member (``faults``: W5, recorded and not published: ``flow.recorded``, where broker
and results are two; W6, published and not acked: ``settle.inside``; W12, in the middle of a join: the same at the
``nth`` settlement) are played with ordinary workflows by the grid itself (``flows@1``, ``flows@3``), and here with
batches, with tasks that are replaced, and with results whose time to live is over at once. In all of them no workflow
may be left that has not ended, but for those that nobody was told of.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product

from taskbus import TaskBus, chord
from taskbus.store.flows import FlowState, NodeState

from . import flow_sending
from .checker import Verdict
from .flow_sending import FILL, PRODUCED, Parts
from .grid import GATE, RULES
from .grounds import Ground
from .harness import Cell
from .ledger import now
from .place import Place

ENDS_WITHIN = replace(RULES, drain=30.0, slack=10.0, runner_death=10.0)
"""Nothing is pending half a minute after all that was accepted could have ended. How soon a lost task runs again is for
the rest of the grid to see."""
OUTCOMES = ("before", "inside", "after")
BEGINS, EACH = 4, 6
"""Workflows that a producer begins, and the calls in each."""
IDLE_FOR = 2.0
TOGETHER = 5
SEAL = 2 + FILL // TOGETHER
"""The last step of a producer that fills a batch: it begins it, sends its members ``TOGETHER`` at once, seals it."""


@dataclass(frozen=True, slots=True)
class FlowSquare:
    """A cell. ``is_apart``: only where results are kept on another server (True) or on the broker's (False)."""

    name: str
    run: Callable[[Place], Verdict]
    is_apart: bool | None = None

    def exists_on(self, ground: Ground) -> bool:
        return self.is_apart in (None, bool(ground.results))


# --- producers -------------------------------------------------------------------------------------------------------


def _steps(nths: tuple[int, ...]) -> Iterator[tuple[str, int, bool]]:
    """The failpoints on the way of a step that a producer takes: of one transaction, or of a record and a publish."""
    for (kind, is_apart), when, nth in product((("settle", False), ("publish", True)), OUTCOMES, nths):
        yield f"{kind}.{when}", nth, is_apart


def _begins(place: Place, point: str, nth: int, action: str) -> Verdict:
    """A producer is struck while it begins a workflow: that runs as a whole, or its end does not run."""
    with Cell(place, ENDS_WITHIN) as cell:
        asked = {"kind": "line", "count": BEGINS}
        process = cell.produce(flows=asked, faults=f"{point}:{action}.self@{nth}")
        cell.until(cell.faults, f"the strike at {point}")
        if action == "stop":
            cell.wake_after(1.0)
        _up(cell)
        cell.until(lambda: process.poll() is not None, "the producer to end")
        cell.until(lambda: not _torn(cell), "all of a workflow to have run whose end has", 30.0)
        return cell.finish()


def _torn(cell: Cell) -> list[str]:
    """Workflows whose end has run, while not all of their tasks have; in one database also those begun by half."""
    ended = _ran(cell)
    ids = _sent(cell)
    torn = []
    for start in range(0, len(ids), EACH):
        of_one = set(ids[start : start + EACH])
        is_whole_or_none = len(of_one & ended) in (0, len(of_one))
        if not is_whole_or_none and (not cell.place.results or ids[start : start + EACH][-1] in ended):
            torn.append(ids[start])
    return torn


def _fills(place: Place, point: str, nth: int, action: str) -> Verdict:
    """A producer is killed while it fills a batch: what it had sent runs, the callbacks only if it was sealed."""
    with Cell(place, ENDS_WITHIN) as cell:
        asked = {"kind": "large_batch", "count": 1, "together": TOGETHER}
        process = cell.produce(flows=asked, faults=f"{point}:{action}.self@{nth}")
        cell.until(cell.faults, f"the strike at {point}")
        cell.until(lambda: process.poll() is not None, "the producer to end")
        callbacks = set(_sent(cell)[:3])
        _up(cell)
        sent = min(FILL, TOGETHER * (nth - 1 if point.startswith("publish") else nth - 2))
        cell.until(lambda: len(_ran(cell) - callbacks) >= sent and not cell.open_runs(), "what was sent to have run")
        _stays_idle(cell)
        verdict = cell.finish()
        ran = _ran(cell)
        is_sealed = point == "settle.after" and nth == SEAL
        if is_sealed:
            assert len(ran & callbacks) == 2, ran & callbacks
        elif point != "settle.inside" or nth != SEAL:
            assert not ran & callbacks, ran & callbacks
        return verdict


def _up(cell: Cell) -> None:
    """Start a worker, and wait until it has run something: that also names the queue to a broker that lists none."""

    def accepted() -> str:
        (id,) = cell.send("quick")
        return id if cell.of("pub_ok", id) else ""  # a producer that was stopped in the middle may hold the file's lock

    id = cell.until(accepted, "a send to be accepted")
    cell.worker()
    cell.until(lambda: cell.of("end", id), "the worker to be up")


def _sent(cell: Cell) -> list[str]:
    """What the producer sent or was about to, in its order."""
    return [event["id"] for event in cell.of("pub_try") if event["id"].startswith(PRODUCED)]


def _ran(cell: Cell) -> set[str]:
    return {event["id"] for event in cell.of("end") if event["id"].startswith(PRODUCED)}


def _stays_idle(cell: Cell) -> None:
    """Wait until nothing has been on a queue and nothing has run for a while: who knows what the dead one had sent."""
    since, runs = now(), 0

    def is_over() -> bool:
        nonlocal since, runs
        with cell.undeterred():
            started = len(cell.of("start"))
            sizes = cell.eye.broker.queues()
            if cell.open_runs() or started != runs or any(size.ready + size.delayed + size.running for size in sizes):
                since, runs = now(), started
        return now() - since > IDLE_FOR

    cell.until(is_over, "nothing to be left to do")


# --- workers ---------------------------------------------------------------------------------------------------------


def _batches(cell: Cell) -> None:
    cell.send_batch(flow_sending.good_batch)
    cell.send_batch(flow_sending.bad_batch)


def _replacements(cell: Cell) -> None:
    for _ in range(2):
        cell.send_flow(flow_sending.unfolding)


def _collections(cell: Cell) -> None:
    for _ in range(2):
        cell.send_flow(flow_sending.collecting)
        cell.send_flow(flow_sending.doomed_line)


def _settles(place: Place, load: Callable[[Cell], None], point: str, nth: int, victim: str) -> Verdict:
    """A worker, or its runner, is killed at a step while it runs such workflows."""
    with Cell(place, ENDS_WITHIN) as cell:
        load(cell)
        cell.worker(faults=f"{point}:kill9.{victim}@{nth}")
        cell.until(cell.faults, f"the strike at {point}")
        return _recovered(cell, victim == "runner")


def _unseen(place: Place, point: str, nth: int, victim: str) -> Verdict:
    """The same with results whose time to live is zero: joins have their values all the same."""
    none = {"TASKBUS_RESULT_TTL": "0"}
    with Cell(place, ENDS_WITHIN) as cell:
        cell.app.close()
        cell.app = TaskBus("crash", broker=place.broker_url, results=place.results_url or None, result_ttl=0.0)
        for _ in range(2):
            cell.send_flow(flow_sending.unseen)
        cell.worker(faults=f"{point}:kill9.{victim}@{nth}", environment=none)
        cell.until(cell.faults, f"the strike at {point}")
        if victim != "runner":
            cell.worker(environment=none)
        return _ended(cell)


def _cancels(place: Place, point: str, victim: str) -> Verdict:
    """A worker is killed while it ends what ran of a workflow that was cancelled: nothing more of it starts."""
    with Cell(place, ENDS_WITHIN) as cell:
        result = cell.send_flow(_held_and_more)
        cell.worker(faults=f"{point}:kill9.{victim}@1")
        cell.until(lambda: len(cell.open_runs()) == 2, "two members to be running")
        flow = cell.eye.flow(result.flow_id)
        flow.cancel()
        cell.open(GATE)
        cell.until(cell.faults, f"the strike at {point}")
        verdict = _recovered(cell, victim == "runner")
        assert flow.state is FlowState.REVOKED, flow.view()
        *_, body, last = cell.of("pub_try")
        assert not cell.of("start", body["id"], last["id"]), "what waited was started"
        return verdict


def _gives_back(place: Place, point: str) -> Verdict:
    """A worker is killed while it gives back a member that waited in vain for a slot, and was begun but never ran."""
    with Cell(place, ENDS_WITHIN) as cell:
        cell.send_flow(_waiting_behind)
        cell.worker(faults=f"{point}:kill9.supervisor@1")  # nothing else comes to an end before
        cell.until(cell.faults, f"the strike at {point}")
        cell.open(GATE)
        return _recovered(cell, goes_on=False)


def _waiting_behind(part: Parts) -> object:
    """A member behind as many as there are runners, in retries for long enough to meet its own copy."""
    return chord([part("hold", GATE), part("hold", GATE), part("flaky", 3)], part("joined", 3, takes=True))


def _held_and_more(part: Parts) -> object:
    held = [part("hold", GATE, expect="any") for _ in range(2)]
    members = [*held, *(part("quick", expect="any") for _ in range(4))]
    return chord(members, part("joined", 6, takes=True, expect="any")) | part("quick", expect="any")


def _cancelling(place: Place, point: str) -> Verdict:
    """Who cancels a workflow is killed on the way: it is cancelled or not, and comes to its end."""
    with Cell(place, ENDS_WITHIN) as cell:
        result = cell.send_flow(_held_and_more)
        cell.worker()
        cell.until(lambda: len(cell.open_runs()) == 2, "two members to be running")
        process = cell.produce(flows={"cancel": result.flow_id}, faults=f"{point}:kill9.self@1")
        cell.until(lambda: process.poll() is not None, "the producer to end")
        cell.open(GATE)
        verdict = _ended(cell)
        state = cell.eye.flow(result.flow_id).state
        assert cell.faults(), f"nothing was struck at {point}"
        assert state is (FlowState.SUCCESS if point == "cancel.before" else FlowState.REVOKED), state
        return verdict


def _recovered(cell: Cell, goes_on: bool) -> Verdict:
    if not goes_on:
        cell.worker()
    return _ended(cell)


def _ended(cell: Cell) -> Verdict:
    """The verdict, where every workflow has ended, and nothing of it is left."""
    verdict = cell.finish()
    for view in cell.eye.flows():
        assert view.state is not FlowState.RUNNING, view
        left = {state: count for state, count in view.counts.items() if count and not NodeState(state).has_ended}
        assert not left, (view, left)
    return verdict


def _named(name: str, play: Callable[..., Verdict], *args: object, is_apart: bool | None = None) -> FlowSquare:
    return FlowSquare(f"flows {name}", lambda place: play(place, *args), is_apart)


WORKER_STEPS = (
    ("flow.begun", 2),
    ("flow.recorded", 3),
    ("settle.before", 3),
    ("settle.inside", 3),
    ("settle.after", 3),
)
VICTIMS = ("supervisor", "runner")


def _worker_squares() -> Iterator[FlowSquare]:
    loads = (("batches", _batches), ("replaced", _replacements), ("collecting", _collections))
    for (point, nth), victim in product(WORKER_STEPS, VICTIMS):
        is_apart = True if point == "flow.recorded" else None
        at = f"{point}@{nth}/{victim}/kill9"
        for name, load in loads:
            yield _named(f"{name} {at}", _settles, load, point, nth, victim, is_apart=is_apart)
        yield _named(f"unseen results {at}", _unseen, point, nth, victim, is_apart=is_apart)
        if victim == "supervisor" and point != "flow.begun":  # all that runs when it is cancelled was begun before
            yield _named(f"cancelled {point}/{victim}/kill9", _cancels, point, victim, is_apart=is_apart)


FLOWS = (
    *(
        _named(f"begun {point}@{nth}/producer/{action}", _begins, point, nth, action, is_apart=is_apart)
        for (point, nth, is_apart), action in product(_steps((2,)), ("kill9", "stop", "cut"))
    ),
    *(
        _named(f"filled {point}@{nth}/producer/kill9", _fills, point, nth, "kill9", is_apart=is_apart)
        for point, nth, is_apart in _steps((1, 3, SEAL))
        if not (is_apart and nth == SEAL)  # there a batch is sealed without anything being published
    ),
    *(
        _named(f"called off {point}/producer/kill9", _cancelling, point)
        for point in ("cancel.before", "cancel.inside", "cancel.after")
    ),
    *(
        _named(f"given back {point}/supervisor/kill9", _gives_back, point)
        for point in ("settle.before", "settle.inside", "settle.after")
    ),
    *_worker_squares(),
)
