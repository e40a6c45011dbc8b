"""A worker of a cell, as the harness sees it: its process, all processes below it, and how it ends."""

import os
import subprocess
from pathlib import Path

from . import chaos


class Worker:
    """A worker of this cell, in a process group of its own."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, grace: float) -> None:
        self.process = process
        self.pid = process.pid
        self.log = log
        self.grace = grace
        self.family: set[int] = {process.pid}
        self.gone: set[int] = set()
        self.died_at = 0.0
        self.is_buried = False
        self.is_stopping = False

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    def look(self) -> None:
        """Remember every process below it, so that none can be forgotten when its parent dies."""
        self.family.update(chaos.descendants(self.pid))

    def survivors(self) -> list[int]:
        return [pid for pid in self.family if pid != self.pid and chaos.is_alive(pid)]


def send_signal(pid: int, number: int) -> None:
    """Send it to a process, if it is still there."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
