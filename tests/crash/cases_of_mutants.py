"""One cell for each mutant: the suite must see what the missing mechanism costs, and call it by its name."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from taskbus.broker.transports.redis.claiming import CLAIM

from . import producer
from .cases import GATE, RULES, is_complete, running, stale_settle
from .checker import Verdict
from .harness import Cell
from .ledger import now
from .place import Place

BRIEF = replace(RULES, drain=6.0, wedge=60.0)


@dataclass(frozen=True, slots=True)
class Mutation:
    """A mutant, the scenario in which it must show, and the violations it must show as (one of them is enough)."""

    name: str
    scenario: Callable[[Place, str], Verdict]
    shows_as: tuple[str, ...]
    is_quick: bool = False
    on: tuple[str, ...] = ("sqlite",)

    def play(self, place: Place) -> Verdict:
        """The verdict on the suite: valid if the healthy worker passes the scenario and the mutant does not."""
        healthy = self.scenario(place.within("healthy"), "")
        assert healthy.valid, f"the scenario fails without the mutant: {healthy.violations}"
        broken = self.scenario(place.within("broken"), self.name)
        assert broken.violations.keys() & set(self.shows_as), (
            f"the suite is blind to {self.name!r}: expected one of {self.shows_as}, found {dict(broken.violations)}"
        )
        return replace(broken, valid=True)


def killed_in_the_middle(place: Place, mutant: str) -> Verdict:
    with Cell(place, BRIEF) as cell:
        cell.send("hold", GATE, count=2)
        worker = cell.worker(mutant=mutant)
        running(cell, 2)
        cell.strike(worker, "kill9")
        cell.worker(mutant=mutant)
        cell.open(GATE)
        return cell.finish()


def longer_than_the_lease(place: Place, mutant: str) -> Verdict:
    with Cell(place, BRIEF) as cell:
        cell.send("brief", 1.6 * BRIEF.lease, count=2)
        cell.worker(mutant=mutant)
        running(cell, 2)
        cell.worker(mutant=mutant)
        return cell.finish(10.0)


def clock_jumps_ahead(place: Place, mutant: str) -> Verdict:
    with Cell(place, BRIEF) as cell:
        cell.send("hold", GATE, count=2)
        workers = [cell.worker(mutant=mutant), cell.worker(mutant=mutant)]
        cell.until(lambda: all(is_complete(worker)() for worker in workers), "both workers")
        running(cell, 2)
        cell.move_clock(3600.0)
        begin = now()
        cell.until(lambda: now() - begin > 2 * cell.rules.lease, "two leases to pass")
        cell.open(GATE)
        return cell.finish()


def killed_while_retrying(place: Place, mutant: str) -> Verdict:
    with Cell(place, BRIEF) as cell:
        cell.send("flaky", count=4)
        faults = "mutant.between:kill9.group" if mutant else "settle.after:kill9.group"
        worker = cell.worker(faults=faults, mutant=mutant)
        cell.until(lambda: not worker.is_alive, "the strike")
        cell.worker(mutant=mutant)
        return cell.finish()


def poisoned(place: Place, mutant: str) -> Verdict:
    with Cell(place, BRIEF) as cell:
        cell.send("segfault", expect="dead")
        cell.send("quick", count=10)
        cell.worker(mutant=mutant)
        return cell.finish(3.0)


def stopped_with_work_in_hand(place: Place, mutant: str) -> Verdict:
    with Cell(place, replace(BRIEF, lease=6.0, handover=2.5, sigterm_interrupts=True)) as cell:
        cell.send("hold", GATE, count=2)
        worker = cell.worker(mutant=mutant, grace=0.5)
        running(cell, 2)
        cell.worker(mutant=mutant)
        cell.strike(worker, "term", "supervisor")
        cell.until(lambda: not worker.is_alive, "the worker to leave", 5.0)
        cell.open(GATE)
        return cell.finish(15.0)


def lost_claim(place: Place, mutant: str) -> Verdict:
    """The reply is lost to a claim that brought something."""
    pattern = CLAIM.sha.encode()
    with place.wired() as (place, proxy), Cell(place, BRIEF) as cell:
        worker = cell.worker(mutant=mutant)
        cell.until(is_complete(worker), "the worker")
        for _ in range(3):
            lost = proxy.lose_reply(pattern)
            producer.send(cell.eye, cell.ledger, "quick", cell.new_id())
            cell.until(lambda lost=lost: lost.is_over, "a reply to be lost", 10.0)
            begin = now()
            cell.until(lambda begin=begin: now() - begin > 0.3, "the worker to be connected again")
        return cell.finish()


LEASED = ("sqlite", "redis", "postgresql")
"""Brokers where a lease is a record, not a connection."""
MUTATIONS = (
    Mutation("no fence", stale_settle, ("stale_accepted",), on=("sqlite", "redis")),
    Mutation("early ack", killed_in_the_middle, ("gone",), is_quick=True, on=(*LEASED, "rabbitmq")),
    Mutation("no reaper", killed_in_the_middle, ("parked", "gone"), on=LEASED),
    Mutation("no renewal", longer_than_the_lease, ("overlap",), on=LEASED),
    Mutation("hasty reaper", clock_jumps_ahead, ("overlap", "extra_start")),
    Mutation("torn retry", killed_while_retrying, ("gone",), on=(*LEASED, "rabbitmq")),
    Mutation("no crash count", poisoned, ("parked", "gone"), on=(*LEASED, "rabbitmq")),
    Mutation("no give back", stopped_with_work_in_hand, ("slow",), on=LEASED),
    Mutation("no second look", lost_claim, ("parked",), on=("redis",)),
)
