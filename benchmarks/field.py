"""A peer in a folder of its own, with an empty place on the broker and the shared counter."""

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from environment import HOME, interpreter

from taskbus.cli import counting
from taskbus.cli.counting import Counter

POLL = 0.002
PATIENCE = 30.0
CANNOT = 3
"""Exit status of a peer's worker that cannot do what it is asked."""


class Field:
    """``peer`` is ``name`` or ``name:variant``; ``url`` its broker ("": files in ``folder``).

    ``results_url`` is a store of results, where the broker is none.
    """

    def __init__(self, peer: str, folder: str, url: str, *, results: bool, results_url: str = "") -> None:
        self.peer = peer
        self.folder = folder
        name, _, variant = peer.partition(":")
        self.command = [interpreter(name), str(HOME / "peers" / "adapter.py"), name]
        self.counter = Counter.create(f"{folder}/counter")
        self.environment = {
            **os.environ,
            "PEER_FOLDER": folder,
            "PEER_URL": url,
            "PEER_VARIANT": variant,
            "PEER_RESULTS": "on" if results else "off",
            "PEER_RESULTS_URL": results_url,
            "PEER_COUNTER": f"{folder}/counter",
            "PEER_COUNTING": str(counting.__file__),
        }
        self._never = threading.Event()

    def ask(self, *words: str, within: float | None = None) -> Any:
        """What the peer's script answers; it is killed, and ``TimeoutExpired`` raised, if that takes too long."""
        command = [*self.command, *words]
        answer = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=within)
        if answer.returncode:
            raise RuntimeError(f"{self.peer} {' '.join(words)}: {answer.stderr[-2000:]}")
        return json.loads(answer.stdout)

    def fill(self, kind: str, tasks: int) -> float | None:
        """Queue tasks, and the one more that opens the connection, in the fastest way the peer has."""
        words = ("enqueue", "--kind", kind, "--tasks", str(tasks))
        seconds: float | None = self.ask(*words, "--bulk")["seconds"]
        if seconds is None:  # it has no bulk; its first task is queued by now, a second one would be too many
            seconds = self.ask("enqueue", "--kind", kind, "--tasks", str(tasks - 1))["seconds"]
        return seconds

    @contextmanager
    def worker(self, processes: int, kind: str = "noop") -> Iterator[subprocess.Popen[bytes]]:
        """The peer's worker, ended when the block is left, and with it whatever it started."""
        argv = [*self.command, "worker", "--kind", kind, "--processes", str(processes)]
        with open(f"{self.folder}/worker.log", "wb") as log:
            process = subprocess.Popen(argv, env=self.environment, process_group=0, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def wait_for(self, total: int, process: subprocess.Popen[bytes]) -> float | None:
        """Tasks a second, from the first seen done to the last; None if the peer cannot."""
        first: tuple[float, int] | None = None
        last, moved_at = 0, time.monotonic()
        while (now := self.counter.total()) < total:
            if now and first is None:
                first = (time.perf_counter(), now)
            if now != last:
                last, moved_at = now, time.monotonic()
            if process.poll() == CANNOT:
                return None
            if process.poll() is not None or time.monotonic() - moved_at > PATIENCE:
                log = Path(f"{self.folder}/worker.log").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{self.peer}: stopped working at {now} of {total} tasks\n{log}")
            self._never.wait(POLL)
        since, done = first or (time.perf_counter(), total)
        return (total - done) / max(time.perf_counter() - since, 1e-9)

    def settle_down(self) -> None:
        """Leave a worker that has nothing to do the time to notice."""
        self._never.wait(1.5)
