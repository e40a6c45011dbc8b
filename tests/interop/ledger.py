"""What ran where: one line of JSON for each run, appended to the file that ``LEDGER`` names by whoever runs a task."""

import json
import os
import time
from pathlib import Path
from typing import Any

FLEETS = ("celery", "taskbus")


def write(**entry: Any) -> None:
    """Add a run. Appending a line this short is one step."""
    line = json.dumps(entry, default=str).encode() + b"\n"
    ledger = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(ledger, line)
    finally:
        os.close(ledger)


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def meet(who: str, timeout: float = 60.0) -> None:
    """Return once a task of each fleet has been here: so that each takes at least one."""
    folder = Path(os.environ["LEDGER"]).parent
    (folder / f"met-{who}").touch()
    deadline = time.monotonic() + timeout
    while not all((folder / f"met-{each}").exists() for each in FLEETS):
        if time.monotonic() > deadline:
            raise TimeoutError("the other fleet takes nothing")
        time.sleep(0.005)
