"""Sends tasks and notes every outcome: from the harness, or as a process of its own that may be killed.

``python -m crash.producer '{"sends": [["quick", "p1", {}], ...], "batch": 0}'``
"""

import ctypes
import json
import os
import signal
import sys
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from taskbus import TaskBus
from taskbus.errors import PublishUnknown, SendError

from . import chaos, mutants
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


def send_flow(app: TaskBus, ledger: Ledger, ids: Sequence[str], build: Callable[[Callable[..., Any]], Any]) -> None:
    """Send a workflow; it is accepted or refused as a whole.

    ``build`` makes it, of the function it is given: ``part("quick")`` is the call of a task with the next of ``ids``.
    """
    left = iter(ids)

    def part(task: str, *args: Any, takes: bool = False) -> Any:
        id, lib = next(left), str(uuid.uuid4())
        ledger.log("pub_try", id, lib=lib, expect="end", results=True, eta=None)
        made = app.tasks[task]
        return (made.s if takes else made.si)(id, *args).options(task_id=lib)

    flow = build(part)
    try:
        flow.delay()
    except PublishUnknown as error:
        _for_all(ledger, "pub_unk", ids, why=str(error))
    except SendError as error:
        _for_all(ledger, "pub_rej", ids, why=str(error))
    else:
        _for_all(ledger, "pub_ok", ids)


def _for_all(ledger: Ledger, ev: str, ids: Sequence[str], **more: Any) -> None:
    for id in ids:
        ledger.log(ev, id, **more)


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
        if asked.get("batch"):
            send_together(app, ledger, asked["sends"], asked["batch"])
        else:
            for task, id, options in asked["sends"]:
                send(app, ledger, task, id, **options)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
