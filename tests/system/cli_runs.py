"""The command line as its users run it: a process of its own, its output read as data."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Run:
    """What a command left behind."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


def taskbus(*arguments: object, **environment: str) -> Run:
    """Run ``taskbus`` in the working folder, with the sample application within reach and nobody at the keyboard."""
    variables = {**os.environ, "PYTHONPATH": str(HERE), **environment}
    done = subprocess.run(
        [sys.executable, "-m", "taskbus", *map(str, arguments)],
        env=variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "Traceback" not in done.stderr or "-v" in arguments, done.stderr
    return Run(done.returncode, done.stdout, done.stderr)
