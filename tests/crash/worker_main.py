"""Starts one worker of the crash suite: ``python -m crash.worker_main app '{"lease": 2.0, ...}'``.

Arms the failpoints, applies the mutant the harness asks for, then runs the worker as its users do.
"""

import ctypes
import json
import os
import signal
import sys

from taskbus import logs
from taskbus.worker.options import WorkerOptions
from taskbus.worker.supervisor import run

from . import chaos, mutants
from .environment import LEDGER, MUTANT, SUPERVISOR
from .ledger import Ledger

PR_SET_PDEATHSIG = 1


def main() -> int:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # no worker outlives the harness
    os.environ[SUPERVISOR] = str(os.getpid())
    chaos.arm(Ledger(os.environ[LEDGER]))
    mutants.apply(os.environ.get(MUTANT, ""))
    logs.configure("INFO", "text")
    options = json.loads(sys.argv[2])
    return run(WorkerOptions(app=f"{__package__}.{sys.argv[1]}:app", **options))


if __name__ == "__main__":
    raise SystemExit(main())
