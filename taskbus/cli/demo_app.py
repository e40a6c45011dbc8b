"""The application of ``taskbus demo``: what one would write to measure a folder of Python files."""

import hashlib
import tokenize
from pathlib import Path
from typing import TypedDict

from taskbus import RetryPolicy, TaskBus

app = TaskBus("demo")


class Measured(TypedDict):
    """What is known of one file."""

    lines: int
    octets: int
    digest: str


@app.task(retry=RetryPolicy.never())
def measure(path: Path) -> Measured:
    """Count the lines of a Python file. One that lies about its encoding raises, and becomes a dead letter."""
    with tokenize.open(path) as file:
        lines = sum(1 for _ in file)
    content = path.read_bytes()
    return {"lines": lines, "octets": len(content), "digest": hashlib.sha256(content).hexdigest()}
