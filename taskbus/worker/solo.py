"""``-P solo``: tasks run in the supervisor's own process and thread, for a debugger to step through.

The one place where user code is in the process that renews the lease: a task longer than the lease may run twice.
"""

import asyncio
import socket
from collections.abc import Sequence
from typing import Any

from taskbus import TaskBus
from taskbus.worker.runner.board import Board
from taskbus.worker.runner.executor import Executor
from taskbus.worker.runner.protocol import Job, Report
from taskbus.worker.runner.voices import Voices, log_rate_of
from taskbus.worker.runners import Runner


class SoloRunner(Runner):
    """A runner that is no process: ``run`` returns when the jobs are done."""

    def __init__(self, app: TaskBus) -> None:
        ours, self._bell = socket.socketpair()
        super().__init__(0, ours, Board.create(1))
        self.is_up = True
        voices = Voices(self.hear_said, log_rate_of(app.config))
        voices.listen()
        self._executor = Executor(app.tasks, app.middleware, app.config.max_message_bytes, app.clock, voices=voices)
        self._reports: list[Report] = []

    def run(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            self._reports.append(self._execute(job))
        self._bell.send(b".")

    def _execute(self, job: Job) -> Report:
        if self.held[job.tag].spec.is_async:
            return asyncio.run(self._executor.execute_async(job))
        return self._executor.execute(job)

    def send(self, *frame: Any) -> None:
        """Nothing waits in here: there is nothing to return, to judge or to stop."""

    def receive(self) -> list[Report]:
        self.link.recv(4096)
        reports, self._reports = self._reports, []
        return reports

    def kill(self) -> None:
        """It cannot outlive a step of the supervisor: there is nothing to kill."""

    def close(self) -> None:
        super().close()
        self._bell.close()
