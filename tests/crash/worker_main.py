"""Starts one worker of the crash suite: ``python -m crash.worker_main app '{"lease": 2.0, ...}'``.

Arms the failpoints, applies the mutant the harness asks for, then runs the worker as its users do.
"""

import ctypes
import json
import os
import signal
import sys
import time
from pathlib import Path

from .environment import CLOCK, LEDGER, MUTANT, SUPERVISOR

PR_SET_PDEATHSIG = 1


def main() -> int:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # no worker outlives the harness
    os.environ[SUPERVISOR] = str(os.getpid())
    _let_the_clock_be_moved(Path(os.environ[CLOCK]))

    # Imported here: what reads the clock keeps the function it finds.
    from taskbus import logs
    from taskbus.worker.options import WorkerOptions
    from taskbus.worker.supervisor import run

    from . import chaos, mutants, returns
    from .ledger import Ledger

    ledger = Ledger(os.environ[LEDGER])
    chaos.arm(ledger)
    returns.note(ledger)
    mutants.apply(os.environ.get(MUTANT, ""))
    logs.configure("INFO", "text")
    options = json.loads(sys.argv[2])
    return run(WorkerOptions(app=f"{__package__}.{sys.argv[1]}:app", **options))


def _let_the_clock_be_moved(file: Path) -> None:
    """Put the wall clock, not the monotonic one, off by what ``file`` says; right as long as there is no such file."""
    right = time.time

    def wrong() -> float:
        try:
            return right() + float(file.read_text() or "0")
        except OSError:
            return right()

    time.time = wrong


if __name__ == "__main__":
    raise SystemExit(main())
