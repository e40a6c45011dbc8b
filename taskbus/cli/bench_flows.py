"""What ``taskbus bench --mode workflow`` measures: a large chord, and many short chains, on an idle worker."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from taskbus.cli.bench_bytes import Account
from taskbus.cli.bench_measures import Measure, measured
from taskbus.cli.counting import Counter
from taskbus.cli.worker_process import WorkerProcess
from taskbus.task import Task
from taskbus.workflow.words import chain, chord

STEPS = 5
"""Tasks in each chain."""


class FlowBench:
    """``step`` is given a number and returns it, ``join`` is given a list. ``results``: whether they keep any."""

    def __init__(
        self,
        step: Task[[int], int],
        join: Task[[list[int]], int],
        worker: WorkerProcess,
        counter: Counter,
        accounts: Sequence[Account],
        *,
        results: bool,
    ) -> None:
        self._step, self._join = step, join
        self._worker, self._counter, self._accounts = worker, counter, accounts
        self._results = results

    def warm_up(self) -> None:
        """Have everything run once."""
        target = self._counter.total() + 3
        self._chord(2)
        self._worker.wait_for(self._counter, target)

    def chord(self, members: int) -> Measure:
        """From the first call of ``delay`` to the end of the body: members and body count as tasks."""
        return self._timed(f"chord of {members:,}", members + 1, lambda: self._chord(members))

    def chains(self, chains: int) -> Measure:
        """From the first ``delay`` to the end of the last task, one chain sent after the other."""

        def send() -> None:
            for number in range(chains):
                chain([self._step.s(number), *(self._step.s() for _ in range(STEPS - 1))]).delay()

        return self._timed(f"{chains:,} chains of {STEPS}", chains * STEPS, send)

    def _chord(self, members: int) -> None:
        chord((self._step.s(number) for number in range(members)), self._join.s()).delay()

    def _timed(self, name: str, tasks: int, send: Callable[[], None]) -> Measure:
        target, before = self._counter.total() + tasks, self._written()
        started = time.perf_counter()
        send()
        self._worker.wait_for(self._counter, target)
        measure = measured(name, self._results, tasks, time.perf_counter() - started)
        if not self._accounts:
            return measure
        return replace(measure, bytes_per_task=round((self._written() - before) / tasks, 1))

    def _written(self) -> int:
        return sum(account.told() for account in self._accounts)
