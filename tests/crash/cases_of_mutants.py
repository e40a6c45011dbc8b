"""One cell for each mutant: the suite must see what the missing mechanism costs, and call it by its name."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from .cases import GATE, RULES, is_complete, running, stale_settle
from .checker import Verdict
from .harness import Cell
from .ledger import now

BRIEF = replace(RULES, drain=6.0, wedge=60.0)


@dataclass(frozen=True, slots=True)
class Mutation:
    """A mutant, the scenario in which it must show, and the violations it must show as (one of them is enough)."""

    name: str
    scenario: Callable[[Path, str], Verdict]
    shows_as: tuple[str, ...]
    is_quick: bool = False

    def play(self, folder: Path) -> Verdict:
        """The verdict on the suite: valid if the healthy worker passes the scenario and the mutant does not."""
        healthy = self.scenario(folder / "healthy", "")
        assert healthy.valid, f"the scenario fails without the mutant: {healthy.violations}"
        broken = self.scenario(folder / "broken", self.name)
        assert broken.violations.keys() & set(self.shows_as), (
            f"the suite is blind to {self.name!r}: expected one of {self.shows_as}, found {dict(broken.violations)}"
        )
        return replace(broken, valid=True)


def killed_in_the_middle(folder: Path, mutant: str) -> Verdict:
    with Cell(folder, BRIEF) as cell:
        cell.send("hold", GATE, count=2)
        worker = cell.worker(mutant=mutant)
        running(cell, 2)
        cell.strike(worker, "kill9")
        cell.worker(mutant=mutant)
        cell.open(GATE)
        return cell.finish()


def longer_than_the_lease(folder: Path, mutant: str) -> Verdict:
    with Cell(folder, BRIEF) as cell:
        cell.send("brief", 1.6 * BRIEF.lease, count=2)
        cell.worker(mutant=mutant)
        running(cell, 2)
        cell.worker(mutant=mutant)
        return cell.finish(10.0)


def clock_jumps_ahead(folder: Path, mutant: str) -> Verdict:
    with Cell(folder, BRIEF) as cell:
        cell.send("hold", GATE, count=2)
        workers = [cell.worker(mutant=mutant), cell.worker(mutant=mutant)]
        cell.until(lambda: all(is_complete(worker)() for worker in workers), "both workers")
        running(cell, 2)
        cell.move_clock(3600.0)
        begin = now()
        cell.until(lambda: now() - begin > 2 * cell.rules.lease, "two leases to pass")
        cell.open(GATE)
        return cell.finish()


def killed_while_retrying(folder: Path, mutant: str) -> Verdict:
    with Cell(folder, BRIEF) as cell:
        cell.send("flaky", count=4)
        faults = "mutant.between:kill9.group" if mutant else "settle.after:kill9.group"
        worker = cell.worker(faults=faults, mutant=mutant)
        cell.until(lambda: not worker.is_alive, "the strike")
        cell.worker(mutant=mutant)
        return cell.finish()


def poisoned(folder: Path, mutant: str) -> Verdict:
    with Cell(folder, BRIEF) as cell:
        cell.send("segfault", expect="dead")
        cell.send("quick", count=10)
        cell.worker(mutant=mutant)
        return cell.finish(3.0)


def stopped_with_work_in_hand(folder: Path, mutant: str) -> Verdict:
    with Cell(folder, replace(BRIEF, lease=6.0, handover=2.5, sigterm_interrupts=True)) as cell:
        cell.send("hold", GATE, count=2)
        worker = cell.worker(mutant=mutant, grace=0.5)
        running(cell, 2)
        cell.worker(mutant=mutant)
        cell.strike(worker, "term", "supervisor")
        cell.until(lambda: not worker.is_alive, "the worker to leave", 5.0)
        cell.open(GATE)
        return cell.finish(15.0)


MUTATIONS = (
    Mutation("no fence", stale_settle, ("stale_accepted",)),
    Mutation("early ack", killed_in_the_middle, ("gone",), is_quick=True),
    Mutation("no reaper", killed_in_the_middle, ("parked", "gone")),
    Mutation("no renewal", longer_than_the_lease, ("overlap",)),
    Mutation("hasty reaper", clock_jumps_ahead, ("overlap", "extra_start")),
    Mutation("torn retry", killed_while_retrying, ("gone",)),
    Mutation("no crash count", poisoned, ("parked", "gone")),
    Mutation("no give back", stopped_with_work_in_hand, ("slow",)),
)
