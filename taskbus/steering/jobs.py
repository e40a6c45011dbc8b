"""Acts on many things at once, in the background: how far each is, and a way to stop it."""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from taskbus.clock import Clock, wall_clock
from taskbus.errors import TaskBusError
from taskbus.message import new_id
from taskbus.steering.refusal import NotThere, Refusal

logger = logging.getLogger(__name__)
JobState = Literal["running", "done", "failed", "cancelled"]
KEPT = 100
"""Jobs that are remembered, the latest."""
AT_ONCE = 4
"""Jobs that may run side by side: each has a thread and a connection."""


@dataclass(frozen=True, slots=True)
class Step:
    """What a job has done since it last said so: so many done, and so many refused; ``error`` says why the last was."""

    done: int = 0
    failed: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it stands. ``total`` is how many there were when it began; ``error`` the latest reason for a failure."""

    id: str
    kind: str
    where: str
    total: int
    by: str
    started_at: float
    done: int = 0
    failed: int = 0
    state: JobState = "running"
    error: str = ""
    ended_at: float | None = None


class Jobs:
    """The jobs of one process, for any thread. They live as long as it does: each step of one is whole by itself."""

    def __init__(self, clock: Clock = wall_clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._stops: dict[str, threading.Event] = {}
        self._threads: dict[str, threading.Thread] = {}

    def start(
        self, kind: str, work: Callable[[], Iterator[Step]], *, total: int, where: str = "", by: str = "",
        rate: float | None = None,
    ) -> Job:  # fmt: skip
        """Go through ``work`` in a thread, at most ``rate`` things a second; returns at once.

        Raises ``Refusal`` where too many run already.
        """
        job = Job(new_id(), kind, where, total, by, self._clock())
        stop = threading.Event()
        thread = threading.Thread(
            target=self._run, args=(job.id, work, rate, stop), name=f"taskbus-job-{kind}", daemon=True
        )
        with self._lock:
            if len(self._threads) >= AT_ONCE:
                raise Refusal(f"{AT_ONCE} jobs are running already", "wait for one of them, or cancel one")
            self._jobs[job.id] = job
            self._stops[job.id], self._threads[job.id] = stop, thread
            self._forget_old()
        thread.start()
        return job

    def get(self, job_id: str) -> Job:
        """One job as it stands. Raises ``NotThere``."""
        with self._lock:
            job = self._jobs.get(job_id)
        if job is None:
            raise NotThere(f"there is no job {job_id!r}", "jobs are forgotten when the server that ran them ends")
        return job

    def list(self) -> list[Job]:
        """All that are remembered, the latest first."""
        with self._lock:
            return list(reversed(self._jobs.values()))

    def cancel(self, job_id: str) -> Job:
        """Stop a job after the step that it is in, and wait a moment for that; what is done stays done."""
        job = self.get(job_id)
        with self._lock:
            stop, thread = self._stops.get(job_id), self._threads.get(job_id)
        if stop is None or thread is None:
            return job
        stop.set()
        thread.join(1.0)
        return self.get(job_id)

    def close(self) -> None:
        """Cancel all, and wait for them."""
        with self._lock:
            running = list(self._threads.items())
        for job_id, _ in running:
            self._stops[job_id].set()
        for _, thread in running:
            thread.join(10.0)

    def _run(self, job_id: str, work: Callable[[], Iterator[Step]], rate: float | None, stop: threading.Event) -> None:
        state: JobState = "done"
        error = ""
        try:
            self._go_through(job_id, work(), rate, stop)
            state = "cancelled" if stop.is_set() and not self._is_through(job_id) else "done"
        except TaskBusError as failed:
            state, error = "failed", str(failed)
        except Exception as unforeseen:
            logger.exception("job %s failed", job_id)
            state, error = "failed", f"{type(unforeseen).__name__}: {unforeseen}"
        with self._lock:
            job = self._jobs[job_id]
            self._jobs[job_id] = replace(job, state=state, error=error or job.error, ended_at=self._clock())
            del self._stops[job_id], self._threads[job_id]

    def _go_through(self, job_id: str, steps: Iterator[Step], rate: float | None, stop: threading.Event) -> None:
        started, count = time.monotonic(), 0
        for step in steps:
            count += step.done + step.failed
            with self._lock:
                job = self._jobs[job_id]
                self._jobs[job_id] = replace(
                    job, done=job.done + step.done, failed=job.failed + step.failed, error=step.error or job.error
                )
            pause = started + count / rate - time.monotonic() if rate else 0.0
            if stop.wait(pause) if pause > 0 else stop.is_set():
                return

    def _is_through(self, job_id: str) -> bool:
        with self._lock:
            job = self._jobs[job_id]
        return job.done + job.failed >= job.total

    def _forget_old(self) -> None:
        for job_id in [each for each in self._jobs if each not in self._threads][: max(0, len(self._jobs) - KEPT)]:
            del self._jobs[job_id]
