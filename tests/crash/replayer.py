"""Replays every dead letter, as a process of its own that may be killed: ``python -m crash.replayer``."""

import os

from taskbus import TaskBus
from taskbus.steering.letters import dead_letters_of

from . import chaos
from .environment import BROKER, LEDGER, RESULTS
from .ledger import Ledger


def main() -> int:
    ledger = Ledger(os.environ[LEDGER])
    chaos.arm(ledger)
    with TaskBus("crash", broker=os.environ[BROKER], results=os.environ.get(RESULTS) or None) as app:
        for replayed in dead_letters_of(app).replay():
            ledger.log("replayed", replayed.task_id, refused=replayed.refused)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
