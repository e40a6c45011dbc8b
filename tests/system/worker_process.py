"""A real worker, as a process of its own, for tests."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event
from types import TracebackType

HERE = Path(__file__).parent


def wait_until(condition: Callable[[], object], timeout: float = 15.0, what: str = "") -> None:
    """Return as soon as ``condition`` holds; fail after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    pause = Event()
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what or condition}")
        pause.wait(0.005)


class Worker:
    """``taskbus worker -A sample:app`` on one database, with its log kept."""

    def __init__(self, broker: str, folder: Path, *options: str, app: str = "sample:app", **environment: str) -> None:
        self.log = folder / f"worker-{time.monotonic_ns()}.log"
        path = os.pathsep.join(filter(None, (str(HERE), os.environ.get("PYTHONPATH"))))
        variables = {**os.environ, "TASKBUS_BROKER": broker, "PYTHONPATH": path, **environment}
        command = [sys.executable, "-m", "taskbus", "worker", "-A", app, *options]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, env=variables, cwd=folder, stdout=log, stderr=log, start_new_session=True
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def children(self) -> list[int]:
        """The runners' server, and the runners below it."""
        server = _children(self.pid)
        return [*server, *(child for pid in server for child in _children(pid))]

    def runners(self) -> list[int]:
        return [child for pid in _children(self.pid) for child in _children(pid)]

    def stop(self, number: int = signal.SIGTERM, timeout: float = 20.0) -> int:
        """Signal it and wait for its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout)

    def __enter__(self) -> "Worker":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if error is not None:
            print(f"--- {self.log}:\n{self.log.read_text()}")


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def is_alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


StartWorker = Callable[..., Worker]
"""What the fixture ``start_worker`` is."""
