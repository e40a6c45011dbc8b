"""What is measured of a peer: each function here is one line, or a few, of the table."""

import os
import statistics
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from field import Field

LATENCY_CALLS = 300
LATE_CALLS, LATE_BY = 40, 1.0
IDLE_FOR = 3.0


@dataclass(frozen=True, slots=True)
class Figure:
    """``value`` is in ``unit``; None: the peer has no such thing."""

    peer: str
    name: str
    value: float | None
    unit: str = "/s"

    @property
    def is_better_small(self) -> bool:
        return self.unit != "/s"


def enqueue(field: Field, tasks: int) -> Iterator[Figure]:
    """Sends from one thread, without a worker."""
    seconds = field.ask("enqueue", "--tasks", str(tasks))["seconds"]
    yield Figure(field.peer, "enqueue one by one", tasks / seconds)
    seconds = field.ask("enqueue", "--tasks", str(tasks), "--bulk")["seconds"]
    yield Figure(field.peer, "enqueue in bulk", None if seconds is None else tasks / seconds)


def drain(field: Field, tasks: int, processes: int, kind: str = "noop") -> float | None:
    """Tasks a second, of a queue filled before the worker starts, from the first one done to the last."""
    if field.fill(kind, tasks) is None:
        return None
    with field.worker(processes, kind) as process:
        return field.wait_for(tasks + 1, process)


def latency(field: Field) -> Iterator[Figure]:
    """From a send to its result, one call at a time."""
    with field.worker(1) as process:
        field.ask("enqueue", "--tasks", "20")
        if field.wait_for(21, process) is None:
            return
        times = field.ask("latency", "--calls", str(LATENCY_CALLS))["seconds"]
        late = field.ask("lateness", "--calls", str(LATE_CALLS), "--delay", str(LATE_BY))["seconds"]
    shares = statistics.quantiles(times, n=100, method="inclusive")
    for share in (50, 95, 99):
        yield Figure(field.peer, f"latency p{share}", shares[share - 1] * 1000, "ms")
    for name, value in (("p50", None), ("worst", None)) if late is None else _spread(late):
        yield Figure(field.peer, f"delayed by {LATE_BY:g} s, late {name}", value, "ms")


def _spread(late: list[float]) -> tuple[tuple[str, float | None], ...]:
    return ("p50", statistics.median(late) * 1000), ("worst", max(late) * 1000)


def footprint(field: Field) -> Iterator[Figure]:
    """A worker of two processes: how long until its first task is done, then what it takes while it has none."""
    field.fill("noop", 1)
    started = time.perf_counter()
    with field.worker(2) as process:
        if field.wait_for(1, process) is None:
            return
        yield Figure(field.peer, "start to first task done", time.perf_counter() - started, "s")
        field.wait_for(2, process)
        field.settle_down()
        before = _cpu(process.pid)
        threading.Event().wait(IDLE_FOR)
        yield Figure(field.peer, "idle CPU", (_cpu(process.pid) - before) / IDLE_FOR * 100, "%")
        yield Figure(field.peer, "memory (PSS)", sum(map(pss, family(process.pid))) / 1024, "MiB")


def family(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += family(int(child))
    return found


def _cpu(pid: int) -> float:
    """Seconds of CPU that a process and those below it have used. Source: proc(5)."""
    ticks = 0
    for each in family(pid):
        try:
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def pss(pid: int) -> int:
    """Its memory in KiB, shared pages counted by their share."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
