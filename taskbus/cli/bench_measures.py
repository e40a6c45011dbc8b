"""What ``taskbus bench`` measures, one function a figure. Task bodies count completions, in shared memory."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from taskbus.app import TaskBus
from taskbus.cli.counting import Counter
from taskbus.cli.worker_process import WorkerProcess
from taskbus.task import Task

RESULT_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure: ``tasks`` in ``seconds``; percentiles are seconds for one call, where each was timed.

    ``bytes_per_task``: what broker and results wrote, where they can tell.
    """

    name: str
    results: bool
    tasks: int
    seconds: float
    tasks_per_second: float
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    bytes_per_task: float | None = None


def publish_single(task: Task[..., Any], tasks: int, results: bool) -> Measure:
    """Send one by one, each accepted by the broker before the next."""
    times = _timed(task.delay, tasks)
    return measured("publish one by one", results, tasks, sum(times), times)


def publish_batch(app: TaskBus, task: Task[..., Any], tasks: int, results: bool) -> Measure:
    """Send in batches of a thousand."""
    started = time.perf_counter()
    with app.batch():
        for number in range(tasks):
            task.delay(number)
    return measured("publish in batches", results, tasks, time.perf_counter() - started)


def drain(worker: WorkerProcess, counter: Counter, target: int, results: bool) -> Measure:
    """The rate at which a filled queue empties, from the first task seen done to the last: the start is left out."""
    first: tuple[float, int] | None = None

    def seen(total: int) -> None:
        nonlocal first
        if first is None and total > before:
            first = (time.perf_counter(), total)

    before = counter.total()
    worker.wait_for(counter, target, seen)
    since, done = first or (time.perf_counter(), before)
    return measured("drain a filled queue", results, target - done, time.perf_counter() - since)


def end_to_end(
    app: TaskBus,
    task: Task[..., Any],
    worker: WorkerProcess,
    counter: Counter,
    tasks: int,
    *,
    results: bool,
    batch: bool,
) -> Measure:
    """From the first send to the last task done, an idle worker working while we send."""
    target = counter.total() + tasks
    started = time.perf_counter()
    if batch:
        publish_batch(app, task, tasks, results)
    else:
        for number in range(tasks):
            task.delay(number)
    worker.wait_for(counter, target)
    name = f"end to end, sent {'in batches' if batch else 'one by one'}"
    return measured(name, results, tasks, time.perf_counter() - started)


def latency(task: Task[..., Any], tasks: int) -> Measure:
    """From ``delay`` to the value of ``get``, one after the other, an idle worker waiting."""
    times = _timed(lambda number: task.delay(number).get(timeout=RESULT_TIMEOUT), tasks)
    return measured("latency, delay to get", True, tasks, sum(times), times)


def percentile(times: Sequence[float], share: int) -> float:
    """The time below which ``share`` percent of the calls stayed."""
    return statistics.quantiles(times, n=100, method="inclusive")[share - 1] if len(times) > 1 else times[0]


def _timed(call: Callable[[int], Any], tasks: int) -> list[float]:
    times = []
    clock = time.perf_counter
    for number in range(tasks):
        started = clock()
        call(number)
        times.append(clock() - started)
    return times


def measured(name: str, results: bool, tasks: int, seconds: float, times: Sequence[float] = ()) -> Measure:
    """The figure of so many tasks in so much time, and of single calls where there are ``times``."""
    rate = round(tasks / seconds, 1) if seconds > 0 else 0.0
    shares = [percentile(times, share) for share in (50, 95, 99)] if times else [None, None, None]
    return Measure(name, results, tasks, round(seconds, 6), rate, *shares)
