"""One round: every figure of every peer once, the peers taking turns at each, so that noise falls on all alike."""

import json
import os
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from environment import HOME, interpreter

from taskbus.cli import counting
from taskbus.cli.counting import Counter

POLL = 0.002
PATIENCE = 60.0
LATENCY_CALLS = 300


@dataclass(frozen=True, slots=True)
class Figure:
    """``value`` is tasks a second; for latencies, seconds. None: the peer has no such thing."""

    peer: str
    name: str
    value: float | None


class Field:
    """A peer (``name`` or ``name:variant``) in a folder of its own, with its database and the shared counter."""

    def __init__(self, peer: str, folder: str, results: bool) -> None:
        self.peer = peer
        self.folder = folder
        name, _, variant = peer.partition(":")
        self.command = [interpreter(name), str(HOME / "peers" / "adapter.py"), name]
        self.counter = Counter.create(f"{folder}/counter")
        self.environment = {
            **os.environ,
            "PEER_FOLDER": folder,
            "PEER_VARIANT": variant,
            "PEER_RESULTS": "on" if results else "off",
            "PEER_COUNTER": f"{folder}/counter",
            "PEER_COUNTING": str(counting.__file__),
        }

    def ask(self, *words: str) -> Any:
        """What the peer's script answers."""
        answer = subprocess.run(
            [*self.command, *words], env=self.environment, stdout=subprocess.PIPE, check=True, text=True
        )
        return json.loads(answer.stdout)

    @contextmanager
    def worker(self, processes: int) -> Iterator[subprocess.Popen[bytes]]:
        """The peer's worker, ended when the block is left, and with it whatever it started."""
        argv = [*self.command, "worker", "--processes", str(processes)]
        log = open(f"{self.folder}/worker.log", "wb")  # noqa: SIM115 (left to the worker)
        process = subprocess.Popen(argv, env=self.environment, process_group=0, stdout=log, stderr=log)
        log.close()
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def wait_for(self, total: int, process: subprocess.Popen[bytes]) -> float:
        """Tasks a second, from the first seen done to the last."""
        first: tuple[float, int] | None = None
        last, moved_at = 0, time.monotonic()
        while (now := self.counter.total()) < total:
            if now and first is None:
                first = (time.perf_counter(), now)
            if now != last:
                last, moved_at = now, time.monotonic()
            if process.poll() is not None or time.monotonic() - moved_at > PATIENCE:
                log = Path(f"{self.folder}/worker.log").read_text(errors="replace")[-2000:]
                raise SystemExit(f"{self.peer}: stopped working at {now} of {total} tasks\n{log}")
            time.sleep(POLL)
        since, done = first or (time.perf_counter(), total)
        return (total - done) / max(time.perf_counter() - since, 1e-9)


def run_round(peers: Sequence[str], tasks: int) -> Iterator[Figure]:
    """Every figure once. The order of ``peers`` is the order of turns."""
    for results in (False, True):
        for peer in peers:
            yield from _enqueue(peer, tasks, results)
        for processes in (1, 2):
            for peer in peers:
                yield _drain(peer, tasks, results, processes)
    for peer in peers:
        yield from _latency(peer)


def _enqueue(peer: str, tasks: int, results: bool) -> Iterator[Figure]:
    if results:
        return  # a send does not know whether a result will be kept
    with _field(peer, results) as field:
        yield Figure(peer, "enqueue one by one", tasks / field.ask("enqueue", "--tasks", str(tasks))["seconds"])
        seconds = field.ask("enqueue", "--tasks", str(tasks), "--bulk")["seconds"]
        yield Figure(peer, "enqueue in bulk", None if seconds is None else tasks / seconds)


def _drain(peer: str, tasks: int, results: bool, processes: int) -> Figure:
    with _field(peer, results) as field:
        extra = ["--bulk"] if peer == "taskbus" else []
        field.ask("enqueue", "--tasks", str(tasks), *extra)
        with field.worker(processes) as process:
            rate = field.wait_for(tasks + 1, process)
    plural = "process" if processes == 1 else "processes"
    return Figure(peer, f"drain, {processes} {plural}, results {'on' if results else 'off'}", rate)


def _latency(peer: str) -> Iterator[Figure]:
    with _field(peer, results=True) as field, field.worker(1) as process:
        field.ask("enqueue", "--tasks", "20")
        field.wait_for(21, process)
        times = field.ask("latency", "--calls", str(LATENCY_CALLS))["seconds"]
    shares = statistics.quantiles(times, n=100, method="inclusive")
    for share in (50, 95, 99):
        yield Figure(peer, f"latency p{share}", shares[share - 1])


@contextmanager
def _field(peer: str, results: bool) -> Iterator[Field]:
    with tempfile.TemporaryDirectory(prefix=f"bench-{peer}-", ignore_cleanup_errors=True) as folder:
        yield Field(peer, str(Path(folder)), results)
