"""The named case about a large workflow; the steps of workflows are ``grid_of_flows``'s."""

from taskbus import chord
from taskbus.store.flows import FlowState

from .checker import Verdict
from .flow_sending import Parts
from .grid_of_flows import ENDS_WITHIN
from .harness import Cell
from .place import Place
from .registry import Cases

case = Cases()
MEMBERS = 200
DOOMED = (50, 150)
"""Which members fail for good."""


@case(
    "62",
    "a chord with members that fail for good, while a runner is killed, then the worker: bodies and callbacks run once",
    apart=True,
)
def large_chord(place: Place) -> Verdict:
    with Cell(place, ENDS_WITHIN) as cell:
        failing = cell.send_flow(lambda part: _chord(part, collects=False))
        collecting = cell.send_flow(lambda part: _chord(part, collects=True))
        worker = cell.worker()
        cell.until(lambda: len(cell.of("end")) >= MEMBERS // 4, "some members to have ended")
        cell.strike(worker, "kill9", "runner")
        cell.until(lambda: len(cell.of("end")) >= MEMBERS, "half of the members to have ended", 40.0)
        cell.strike(worker, "kill9", "group")
        cell.until(lambda: not worker.is_alive, "the worker to die", 5.0)
        cell.worker()
        verdict = cell.finish()
        states = [cell.eye.flow(result.flow_id).state for result in (failing, collecting)]
        assert states == [FlowState.FAILURE, FlowState.SUCCESS], states
        for result in (failing, collecting):
            counts = cell.eye.flow(result.flow_id).counts()
            assert (counts.pending, counts.running) == (0, 0), counts
        return verdict


def _chord(part: Parts, *, collects: bool) -> object:
    members = [part("doomed", expect="dead") if number in DOOMED else part("quick") for number in range(MEMBERS)]
    if collects:
        body = part("tallied", MEMBERS - len(DOOMED), len(DOOMED), takes=True).link(part("quick"))
        return chord(members, body, collect=True)
    body = part("joined", MEMBERS, takes=True, expect="blocked").link_error(part("told", "never", takes=True))
    return chord(members, body)
