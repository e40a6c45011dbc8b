"""Everything the suite can run, by name: grid, named cases, mutants, on each broker; and what is not run and why."""

import json
import os
import shutil
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.servers.server import INSTALL

from . import (
    cases,
    cases_of_beats,
    cases_of_celery,
    cases_of_clocks,
    cases_of_flows,
    cases_of_networks,
    cases_of_postgresql,
    cases_of_rabbitmq,
    cases_of_redis,
    cases_of_results,
    cases_of_storage,
    cases_of_workers,
)
from .cases_of_mutants import MUTATIONS
from .checker import Verdict
from .grid import GRID, Square
from .grid_of_flows import FLOWS
from .grounds import GROUNDS, Ground
from .place import Place
from .registry import Case
from .town import Town

MODULES = (
    cases,
    cases_of_workers,
    cases_of_storage,
    cases_of_networks,
    cases_of_results,
    cases_of_clocks,
    cases_of_beats,
    cases_of_redis,
    cases_of_rabbitmq,
    cases_of_postgresql,
    cases_of_flows,
    cases_of_celery,
)
CASES: list[Case] = [case for module in MODULES for case in module.case.all]
QUICK_SQUARES = (
    "publish.inside:single/producer/kill9",
    "fetch.after/group/kill9",
    "runner.body_done/runner/kill9",
    "settle.before:plain/supervisor/kill9",
    "settle.inside:retries/group/kill9",
    "release.before/supervisor/kill9",
)
"""The part of the grid that every run of the tests plays on SQLite."""
QUICK_FLOWS = (
    "flows begun settle.inside@2/producer/kill9",
    "flows filled settle.after@3/producer/kill9",
    "flows batches settle.inside@3/supervisor/kill9",
)
"""The same of workflows."""
QUICK_ELSEWHERE: dict[str, tuple[str, ...]] = {
    "redis": (
        "grid publish.inside:single/producer/kill9",
        "grid fetch.inside/group/kill9",
        "grid settle.inside:retries/group/kill9",
        "grid settle.inside:plain/supervisor/cut",
        "grid reap.inside/supervisor/kill9",
        "grid release.before/supervisor/kill9",
        "case 6b:",
        "case 8:",
        "case 22b:",
        "case 24:",
        "case 24b:",
        "case 29b:",
        "case 33:",
        "case 77:",
        "case 77d:",
        "grid flows filled settle.inside@3/producer",
    ),
    "postgresql": (
        "grid fetch.inside/group/kill9",
        "grid settle.inside:retries/group/kill9",
        "grid settle.inside:plain/supervisor/cut",
        "case 24b:",
        "case 46:",
    ),
    "mysql": ("grid settle.inside:retries/group/kill9", "case 24b:"),
    "rabbitmq": (
        "grid fetch.after/group/kill9",
        "grid settle.inside:retries/group/kill9",
        "grid settle.inside:plain/supervisor/cut",
        "case 77:",
        "case 77e:",
    ),
    "rabbitmq+redis": ("grid settle.inside:plain/group/kill9", "grid flows replaced flow.recorded@3/supervisor"),
}
"""What every run of the tests plays on the other brokers; names of cells, or how they begin."""

NEEDS = {
    "wheels of two releases": "69",
    "memory limits of the supervisor alone, as `systemd` sets them": "17",
}
ELSEWHERE = {
    "14": "played by the grid's SIGTERM squares",
    "44": "a file, or its -wal, deleted or replaced under a running process: tests of the SQL transport and the worker",
    "51": "played by the unit tests of cron lines, against an oracle in every zone",
    "52": "played by the unit tests of cron lines",
    "54": "played by case 53",
    "57": "played by case 55 and the property tests of the codec and the wire",
    "58": "only Celery's wire has compression: played by its unit tests",
    "59": "played by the unit tests of sending",
    "60": "a worker's memory: `benchmarks/capacity.py --delayed 1000000`; that none starts early: every cell",
    "61": "played by `benchmarks/capacity.py --backlog 1000000`: a long queue drains as fast as a short one",
    "63": "played by tests/system/test_random_flows.py",
}
NOT_RUN = {
    "68": "no command is cancelled half-way: async sends run in a thread of their own, to their end",
    "73": "sending inside the caller's transaction, its rollback and its commit, are tests of the transports",
    "70": "workers remember what is revoked, brokers do not: what they promise is in tests/interop/test_control.py",
    "76": "hostile arguments are tests of the page; a page ended beside busy workers is benchmarks/page_under_load.py",
    "75": "commands to one worker, to none and forged ones are tests of remote control; there is none of a flood",
    "64": "queues have no length limit yet",
    "67": "fork safety is a system test of the runners' server",
    "74": "reload is a system test of the command line",
}

BETWEEN = "flow.recorded"
"""A step between what a settlement records and what it publishes: only where they are kept apart."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one cell went. ``not_run`` says why it could not be played; then nothing else counts."""

    name: str
    is_good: bool
    took: float
    verdict: Verdict | None = None
    error: str = ""
    not_run: str = ""

    def as_json(self) -> str:
        row = {"case": self.name, "good": self.is_good, "took": round(self.took, 1)}
        if self.not_run:
            return json.dumps({"case": self.name, "not_run": self.not_run})
        return json.dumps(
            row | ({"error": self.error} if self.error else {}) | (self.verdict.as_row() if self.verdict else {})
        )


@dataclass(frozen=True, slots=True)
class Playable:
    """One cell, ready to be played on its ground in a folder of its own."""

    cell: str
    ground: Ground
    run: Callable[[Place], Verdict]
    is_quick: bool
    obstacle: Callable[[], str] = str

    @property
    def name(self) -> str:
        return f"{self.cell}{self.ground.suffix}"

    def play(self, folder: Path, town: Town) -> Outcome:
        """Play it. The folder is removed if all went well, and kept with its ledgers otherwise."""
        lacking = self.ground.obstacle()
        why = lacking or self.obstacle()
        if os.environ.get("CI") and (lacking or INSTALL in why):
            return Outcome(self.name, False, 0.0, error=why)
        if why:
            return Outcome(self.name, True, 0.0, not_run=why)
        begin = time.monotonic()
        try:
            place = self.ground.open(folder, town)
            verdict = self.run(place)
        except Exception as error:
            line = traceback.extract_tb(error.__traceback__)[-1]
            why = f"{type(error).__name__} in {line.name}, `{line.line}`: {error}"
            return Outcome(self.name, False, time.monotonic() - begin, error=why)
        if verdict.valid:
            place.remove()
            shutil.rmtree(folder, ignore_errors=True)
        return Outcome(self.name, verdict.valid, time.monotonic() - begin, verdict)


def playables(grounds: Iterable[Ground] = tuple(GROUNDS.values())) -> list[Playable]:
    """All cells, in the order in which they are reported."""
    return [playable for ground in grounds for playable in _on(ground)]


def _on(ground: Ground) -> list[Playable]:
    squares = [
        square
        for square in GRID
        if square.exists_on(ground.broker)
        and (ground.is_whole or _is_apart(square))
        and (ground.results or square.step.point != BETWEEN)
    ]
    of_flows = [square for square in FLOWS if square.exists_on(ground)]
    named = [case for case in CASES if _is_played(case, ground)]
    mutants = [mutant for mutant in MUTATIONS if ground.is_whole and ground.broker in mutant.on]
    found = [
        *(Playable(f"grid {each.name}", ground, each.run, each.name in QUICK_SQUARES) for each in squares),
        *(Playable(f"grid {each.name}", ground, each.run, each.name in QUICK_FLOWS) for each in of_flows),
        *(Playable(each.name, ground, each.run, each.is_quick, each.obstacle) for each in named),
        *(Playable(f"mutant {each.name}", ground, each.play, each.is_quick) for each in mutants),
    ]
    if ground.name == "sqlite":
        return found
    quick = QUICK_ELSEWHERE.get(ground.name, ())
    return [
        Playable(each.cell, ground, each.run, bool(quick) and each.cell.startswith(quick), each.obstacle)
        for each in found
    ]


def _is_apart(square: Square) -> bool:
    """Whether it matters to this square that results are kept on another server."""
    return square.step.point.startswith(("settle.", "flow.")) and square.victim != "runner" and square.action != "term"


def _is_played(case: Case, ground: Ground) -> bool:
    if case.only_apart:
        return ground.results not in ("", "sqlite")
    return ground.broker in case.on and (ground.is_whole or case.apart)


def not_run() -> list[tuple[str, str]]:
    """The numbers of the fault matrix that no named case here plays, each with the reason."""
    needs = [(number, f"needs {what}") for what, numbers in NEEDS.items() for number in numbers.split()]
    return sorted([*needs, *NOT_RUN.items(), *ELSEWHERE.items()], key=lambda entry: int(entry[0]))
