"""The named cases about clocks that are wrong: the broker's, a worker's, a producer's; moved live, by a shim in C."""

import shutil
import struct
import subprocess
from dataclasses import replace
from pathlib import Path

from taskbus.broker.transports.broker_clock import GOOD_FOR
from tests.servers.server import INSTALL, humble, own_folder

from .cases import GATE, RULES, is_complete, running
from .cases_of_networks import lasts
from .checker import Verdict
from .harness import Cell
from .place import Place
from .registry import NETWORK, Cases

case = Cases(NETWORK)
SOURCE = Path(__file__).parent / "clockshift.c"
HOUR = 3600.0
LATE = 10.0
"""Seconds; much less than any clock here is off, and more than a busy worker may keep a message waiting."""


def no_compiler() -> str:
    """Why the shim cannot be made, or empty."""
    return "" if shutil.which("cc") else f"it takes a shim in C, and cc {INSTALL}"


class Shift:
    """A clock that is off by as much as was last set; ``environment`` puts a process on it."""

    def __init__(self, folder: Path, name: str, seconds: float = 0.0) -> None:
        self._file = folder / f"shift-{name}"
        library = folder / "clockshift.so"
        if not library.exists():
            command = ["cc", "-shared", "-fPIC", "-O2", "-o", str(library), str(SOURCE), "-ldl"]
            subprocess.run(command, check=True, capture_output=True)
        self._file.write_bytes(struct.pack("d", seconds))
        self.environment = {"LD_PRELOAD": str(library), "CRASH_SHIFT": str(self._file)}

    def set(self, seconds: float) -> None:
        with self._file.open("r+b") as file:  # in place: it is mapped
            file.write(struct.pack("d", seconds))


@case("49c", "a worker's clock jumps an hour ahead and an hour back: nothing comes of it", obstacle=no_compiler)
def workers_clock(place: Place) -> Verdict:
    """RabbitMQ has no clock to ask: there fencing tokens are by the hosts' clocks, as in case 50."""
    with Cell(place, replace(RULES, fences_grow=place.kind != "rabbitmq")) as cell:
        shift = Shift(cell.folder, "worker")
        cell.send("hold", GATE, count=2)
        wrong, right = cell.worker(environment=shift.environment), cell.worker()
        cell.until(lambda: is_complete(wrong)() and is_complete(right)(), "both workers")
        running(cell, 2)
        for seconds in (HOUR, -HOUR, 0.0):
            shift.set(seconds)
            cell.send("quick", countdown=0.5, count=3)
            cell.send("flaky", count=2)
            if place.kind != "rabbitmq":
                cell.send("quick", expires=30.0, count=2)
            lasts(cell, 1.5 * cell.rules.lease)
        cell.open(GATE)
        verdict = cell.finish()
        assert verdict.reruns == 0 and verdict.late < LATE, verdict
        return verdict


@case(
    "49d", "a producer's clock is an hour off, either way: delays and expiries are the broker's", obstacle=no_compiler
)
def producers_clock(place: Place) -> Verdict:
    with Cell(place) as cell:
        cell.worker()
        for name, seconds in (("ahead", HOUR), ("behind", -HOUR)):
            shift = Shift(cell.folder, name, seconds)
            sends = [("quick", cell.new_id(), {"countdown": 0.7}) for _ in range(3)]
            if place.kind != "rabbitmq":  # has no clock that could be asked: expiry is by the hosts'
                sends += [("quick", cell.new_id(), {"expires": 30.0}) for _ in range(3)]
            process = cell.produce(sends, environment=shift.environment)
            cell.until(lambda process=process: process.poll() is not None, "the producer to end")
            assert process.returncode == 0
        verdict = cell.finish()
        assert verdict.late < LATE, verdict
        return verdict


@case("49e", "the broker's clock jumps an hour ahead: tasks may run twice, none is lost", obstacle=no_compiler)
def brokers_clock_ahead(place: Place) -> Verdict:
    return _brokers_clock(place, HOUR)


@case("49f", "the broker's clock falls back an hour: tasks may be late, none is lost", obstacle=no_compiler)
def brokers_clock_back(place: Place) -> Verdict:
    return _brokers_clock(place, -HOUR)


def shift_of_server(kind: str) -> Shift:
    """One that a server of this kind can read, whatever user it runs as where the tests are root."""
    accounts = {"postgresql": "postgres", "mysql": "mysql"}
    return Shift(own_folder("clock", humble(accounts[kind]) if kind in accounts else None), "server")


def _brokers_clock(place: Place, seconds: float) -> Verdict:
    shift = shift_of_server(place.kind)
    with place.alone(environment=shift.environment) as (place, _), Cell(place, replace(RULES, slack=10.0)) as cell:
        cell.send("hold", GATE, count=2)
        workers = [cell.worker(), cell.worker()]
        cell.until(lambda: all(is_complete(worker)() for worker in workers), "both workers")
        running(cell, 2)
        with cell.outage("the broker's clock"):
            shift.set(seconds)
            lasts(cell, 2 * cell.rules.lease)
            shift.set(0.0)
            lasts(cell, max(cell.rules.lease, GOOD_FOR))
        cell.open(GATE)
        cell.send("quick", count=5)
        cell.send("flaky", count=2)
        cell.send("quick", countdown=0.5, count=2)
        return cell.finish()


@case("50", "three workers whose clocks differ by ten minutes", obstacle=no_compiler)
def differing_clocks(place: Place) -> Verdict:
    """RabbitMQ has no clock to ask: there expiries are by the hosts' clocks, and so are fencing tokens."""
    with Cell(place, replace(RULES, fences_grow=place.kind != "rabbitmq")) as cell:
        cell.send("hold", GATE, count=4)
        for name, seconds in (("behind", -600.0), ("right", 0.0), ("ahead", 600.0)):
            cell.worker(processes=2, environment=Shift(cell.folder, name, seconds).environment)
        running(cell, 4)
        cell.send("brief", count=12)
        cell.send("flaky", count=4)
        cell.send("quick", countdown=0.5, count=4)
        if place.kind != "rabbitmq":
            cell.send("quick", expires=20.0, count=4)
        lasts(cell, 2 * cell.rules.lease)
        cell.open(GATE)
        verdict = cell.finish()
        assert verdict.reruns == 0 and verdict.late < LATE, verdict
        return verdict
