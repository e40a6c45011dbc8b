"""Sends tasks and notes every outcome: from the harness, or as a process of its own that may be killed.

``python -m crash.producer '{"sends": [["quick", "p1", {}], ...], "batch": 0}'``
"""

import ctypes
import itertools
import json
import os
import signal
import sys
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from taskbus import TaskBus
from taskbus.errors import PublishUnknown, SendError
from taskbus.workflow import batch

from . import chaos, flow_sending, mutants
from .environment import BROKER, LEDGER, MUTANT, RESULTS, SPOOL
from .ledger import Ledger, now


def send(
    app: TaskBus,
    ledger: Ledger,
    task: str,
    id: str,
    *args: Any,
    expect: str = "end",
    results: bool = True,
    **options: Any,
) -> str:
    """Send one task with the harness's id as its first argument, logging try and outcome; returns the task id."""
    lib = str(uuid.uuid4())
    countdown = options.get("countdown")
    eta = None if countdown is None else now() + countdown
    ledger.log("pub_try", id, lib=lib, expect=expect, results=results, eta=eta)
    try:
        app.send(task, [id, *args], task_id=lib, **options)
    except PublishUnknown as error:
        ledger.log("pub_unk", id, why=str(error))
    except SendError as error:
        ledger.log("pub_rej", id, why=str(error))
    else:
        ledger.log("pub_ok", id)
    return lib


def send_flows(app: TaskBus, ledger: Ledger, asked: Mapping[str, Any]) -> None:
    """Send ``count`` workflows, or fill as many batches, each as the function of ``flow_sending`` named ``kind`` says.

    ``cancel``: instead, cancel the workflow of that id. ``together``: how many members of a batch are sent at once.
    """
    if asked.get("cancel"):
        app.flow(asked["cancel"]).cancel()
        return
    ids = (f"{flow_sending.PRODUCED}{number:04}" for number in itertools.count())
    build = getattr(flow_sending, asked["kind"])
    for _ in range(asked["count"]):
        if "together" in asked:
            batch.FLUSH_AT = asked["together"]
            flow_sending.send_batch(app, ledger, ids, build)
        else:
            flow_sending.send_flow(app, ledger, ids, build)


def send_together(app: TaskBus, ledger: Ledger, sends: Sequence[Sequence[Any]], size: int) -> None:
    """Send in batches; a task counts as accepted when the block has ended, as the documentation says."""
    for at in range(0, len(sends), size):
        part = sends[at : at + size]
        try:
            with app.batch(size):
                for task, id, options in part:
                    lib = str(uuid.uuid4())
                    ledger.log("pub_try", id, lib=lib, expect="end", results=True, eta=None)
                    app.send(task, [id], task_id=lib, **options)
        except PublishUnknown as error:
            for _, id, _ in part:
                ledger.log("pub_unk", id, why=str(error))
        except SendError as error:
            for _, id, _ in part:
                ledger.log("pub_rej", id, why=str(error))
        else:
            for _, id, _ in part:
                ledger.log("pub_ok", id)


def main() -> int:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: no producer outlives the harness
    ledger = Ledger(os.environ[LEDGER])
    chaos.arm(ledger)
    mutants.apply(os.environ.get(MUTANT, ""))
    asked = json.loads(sys.argv[1])
    spool = {"spool": os.environ[SPOOL]} if os.environ.get(SPOOL) else {}
    with TaskBus("crash", broker=os.environ[BROKER], results=os.environ.get(RESULTS) or None, **spool) as app:
        if asked.get("flows"):
            send_flows(app, ledger, asked["flows"])
        elif asked.get("batch"):
            send_together(app, ledger, asked["sends"], asked["batch"])
        else:
            for task, id, options in asked["sends"]:
                send(app, ledger, task, id, **options)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
