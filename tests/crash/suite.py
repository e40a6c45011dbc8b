"""Everything the suite can run, by name: the grid, the named cases, the mutants, and what is not run and why."""

import json
import shutil
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import cases, cases_of_storage, cases_of_workers
from .cases_of_mutants import MUTATIONS
from .checker import Verdict
from .grid import GRID

CASES = [*cases.case.all, *cases_of_workers.case.all, *cases_of_storage.case.all]
QUICK_SQUARES = (
    "publish.inside:single/producer/kill9",
    "fetch.after/group/kill9",
    "runner.body_done/runner/kill9",
    "settle.before:plain/supervisor/kill9",
    "settle.inside:retries/group/kill9",
    "release.before/supervisor/kill9",
)
"""The part of the grid that every run of the tests plays."""

NEEDS = {
    "beat, which does not exist yet": "6 7 51 52",
    "Redis, whose transport does not exist yet": "21 22 23 24 25 26 27 28 29 30 31 32 33 34 68",
    "RabbitMQ, whose transport does not exist yet": "35 36 37 38 39 40 41",
    "PostgreSQL, whose transport does not exist yet": "45 46",
    "a result store on a server of its own": "47 48",
    "workers on several hosts": "50",
    "revocation, which does not exist yet": "70",
    "a spool or an outbox, which do not exist yet": "72 73",
    "workflows, which do not exist yet": "62 63",
    "the page and remote control, which do not exist yet": "75 76",
    "Celery on the other side of the wire": "77",
    "hours": "60 61",
    "wheels of two releases": "69",
    "memory limits of the supervisor alone, as `systemd` sets them": "17",
}
ELSEWHERE = {
    "14": "played by the grid's SIGTERM squares",
    "54": "played by case 53",
    "57": "played by case 55 and the property tests of the codec and the wire",
    "59": "played by the unit tests of sending",
}
NOT_RUN = {
    "44": "deleting and replacing a database file under a running process is a unit test of the database",
    "58": "there is no compression on the wire",
    "64": "queues have no length limit yet",
    "67": "fork safety is a system test of the runners' server",
    "74": "reload is a system test of the command line",
}


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
    """One cell, ready to be played in a folder of its own."""

    name: str
    run: Callable[[Path], Verdict]
    is_quick: bool
    obstacle: Callable[[], str] = str

    def play(self, folder: Path) -> Outcome:
        """Play it. The folder is removed if all went well, and kept with its ledgers otherwise."""
        why = self.obstacle()
        if why:
            return Outcome(self.name, True, 0.0, not_run=why)
        begin = time.monotonic()
        try:
            verdict = self.run(folder)
        except Exception as error:
            line = traceback.extract_tb(error.__traceback__)[-1]
            why = f"{type(error).__name__} in {line.name}, `{line.line}`: {error}"
            return Outcome(self.name, False, time.monotonic() - begin, error=why)
        if verdict.valid:
            shutil.rmtree(folder, ignore_errors=True)
        return Outcome(self.name, verdict.valid, time.monotonic() - begin, verdict)


def playables() -> list[Playable]:
    """All cells, in the order in which they are reported."""
    return [
        *(Playable(f"grid {square.name}", square.run, square.name in QUICK_SQUARES) for square in GRID),
        *(Playable(case.name, case.run, case.is_quick, case.obstacle) for case in CASES),
        *(Playable(f"mutant {mutant.name}", mutant.play, mutant.is_quick) for mutant in MUTATIONS),
    ]


def not_run() -> list[tuple[str, str]]:
    """The numbers of the fault matrix that no named case here plays, each with the reason."""
    needs = [(number, f"needs {what}") for what, numbers in NEEDS.items() for number in numbers.split()]
    return sorted([*needs, *NOT_RUN.items(), *ELSEWHERE.items()], key=lambda entry: int(entry[0]))
