"""A slot for ``def`` tasks: takes jobs off a queue, one at a time. The main thread is one; so is each thread slot."""

from collections.abc import Mapping, Sequence
from queue import SimpleQueue
from time import monotonic
from typing import Any

from taskbus.failpoint import failpoint
from taskbus.worker.runner.board import Board
from taskbus.worker.runner.call import AnyTask
from taskbus.worker.runner.executor import Executor
from taskbus.worker.runner.limits import Limits
from taskbus.worker.runner.link import Link
from taskbus.worker.runner.protocol import Job

SLOW = 0.001

Jobs = SimpleQueue[Job | None]
"""Jobs that have not started. None tells one slot to end."""


class Slot:
    """Executes jobs until it is told to end. ``number`` is its entry on the board."""

    def __init__(
        self, number: int, jobs: Jobs, executor: Executor, *, limits: Limits, pace: "Pace", board: Board, link: Link
    ) -> None:
        self._number = number
        self._jobs = jobs
        self._executor = executor
        self._limits = limits
        self._pace = pace
        self._board = board
        self._link = link

    def serve(self) -> None:
        """Take jobs until None comes."""
        while (job := self._jobs.get()) is not None:
            self._board.mark(self._number, job.tag, monotonic())
            failpoint("runner.start")
            report = self._executor.execute(job, self._call)
            self._link.stay_or_leave()
            failpoint("runner.body_done")
            self._board.clear(self._number)
            self._link.report(report, more=not self._jobs.empty())

    def _call(self, task: AnyTask, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        if self._pace.may_be_slow(task.name):
            self._link.flush()
        begun = monotonic()
        try:
            return self._limits.call(task.function, args, kwargs, task.soft_time_limit, task.time_limit)
        finally:
            self._pace.learn(task.name, monotonic() - begun)


class Pace:
    """How long tasks have lately taken, by name: finished reports are not left waiting behind one that may be slow."""

    def __init__(self) -> None:
        self._mean: dict[str, float] = {}

    def may_be_slow(self, task: str) -> bool:
        """Whether it is unknown, or takes more than a millisecond."""
        return self._mean.get(task, SLOW) >= SLOW

    def learn(self, task: str, seconds: float) -> None:
        """Remember how long an attempt took."""
        self._mean[task] = 0.8 * self._mean.get(task, seconds) + 0.2 * seconds
