"""Acts on many things at once, in the background: how far each is, and a way to stop it."""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, cast

from taskbus.clock import Clock, wall_clock
from taskbus.errors import TaskBusError
from taskbus.history.history import History
from taskbus.history.shapes import Job as Kept
from taskbus.message import new_id
from taskbus.steering.refusal import NotThere, Refusal

logger = logging.getLogger(__name__)
JobState = Literal["running", "done", "failed", "cancelled"]
KEPT = 100
"""Jobs that are remembered, the latest."""
AT_ONCE = 4
"""Jobs that may run side by side: each has a thread and a connection."""

KEEP_EVERY = 2.0
"""Seconds between two words to the history that a job goes on."""
SILENT_AFTER = 15.0
"""Seconds without such a word after which its server has ended."""


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
    """The jobs of one process, for any thread. They run as long as it does: each step of one is whole by itself.

    How each stands is kept in ``history``, if there is one: so a job whose process died is still told of, as failed,
    with what it had done; and those of other servers with the same history are told of too. It may be given later.
    """

    def __init__(self, clock: Clock = wall_clock, history: History | None = None) -> None:
        self._clock = clock
        self.history = history
        self._kept_at: dict[str, float] = {}
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
        self._keep(job.id)
        thread.start()
        return job

    def get(self, job_id: str) -> Job:
        """One job as it stands. Raises ``NotThere``."""
        with self._lock:
            job = self._jobs.get(job_id)
        if job is None and self.history is not None and (kept := self.history.job(job_id)) is not None:
            job = self._recalled(kept)
        if job is None:
            raise NotThere(f"there is no job {job_id!r}", "without a history, jobs are forgotten with their server")
        return job

    def list(self) -> list[Job]:
        """The latest ``KEPT``, the latest first; those of former and of other servers too, where there is a history.

        May raise ``StoreError``.
        """
        kept = self.history.jobs(KEPT) if self.history is not None else ()
        with self._lock:
            own = dict(self._jobs)
        found = [*own.values(), *(self._recalled(each) for each in kept if each.id not in own)]
        return sorted(found, key=lambda job: job.started_at, reverse=True)[:KEPT]

    def cancel(self, job_id: str) -> Job:
        """Stop a job after the step that it is in, and wait a moment for that; what is done stays done.

        Raises ``NotThere``, and ``Refusal`` for one that another server runs.
        """
        with self._lock:
            stop, thread = self._stops.get(job_id), self._threads.get(job_id)
        if stop is None or thread is None:
            job = self.get(job_id)
            if job.state == "running":
                raise Refusal(f"job {job_id} runs in another server", "cancel it there, or stop that server")
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
        self._keep(job_id)
        with self._lock:
            del self._stops[job_id], self._threads[job_id]
            self._kept_at.pop(job_id, None)

    def _go_through(self, job_id: str, steps: Iterator[Step], rate: float | None, stop: threading.Event) -> None:
        started, count = time.monotonic(), 0
        for step in steps:
            count += step.done + step.failed
            with self._lock:
                job = self._jobs[job_id]
                self._jobs[job_id] = replace(
                    job, done=job.done + step.done, failed=job.failed + step.failed, error=step.error or job.error
                )
            if self._rested(job_id, started + count / rate if rate else 0.0, stop):
                return

    def _rested(self, job_id: str, until: float, stop: threading.Event) -> bool:
        """Wait for that moment, telling the history all the while that the job goes on; whether it is to stop."""
        while True:
            self._keep(job_id, KEEP_EVERY)
            pause = min(until - time.monotonic(), KEEP_EVERY)
            if pause <= 0:
                return stop.is_set()
            if stop.wait(pause):
                return True

    def _keep(self, job_id: str, every: float = 0.0) -> None:
        """Tell the history how a job stands, if that was longer ago. One that is away now holds up nothing."""
        now = time.monotonic()
        if self.history is None or now - self._kept_at.get(job_id, float("-inf")) < every:
            return
        self._kept_at[job_id] = now
        with self._lock:
            job = self._jobs[job_id]
        try:
            self.history.save_job(_kept(job, self._clock()))
        except TaskBusError as error:
            logger.warning("job %s goes on, but the history cannot be told: %s", job_id, error)

    def _recalled(self, kept: Kept) -> Job:
        """A job of another process; one that is not told of any more has ended with its server, and is kept as such."""
        state, error = kept.state, kept.error
        if state == "running" and self._clock() - kept.updated_at > SILENT_AFTER:
            state, error = "failed", f"interrupted: its server ended{f'; {error}' if error else ''}"
            if self.history is not None:
                self.history.save_job(kept._replace(state=state, error=error))
        return Job(
            kept.id, kept.kind, kept.where, kept.total, kept.by, kept.started_at, kept.done, kept.failed,
            cast(JobState, state), error, None if state == "running" else kept.updated_at,
        )  # fmt: skip

    def _is_through(self, job_id: str) -> bool:
        with self._lock:
            job = self._jobs[job_id]
        return job.done + job.failed >= job.total

    def _forget_old(self) -> None:
        for job_id in [each for each in self._jobs if each not in self._threads][: max(0, len(self._jobs) - KEPT)]:
            del self._jobs[job_id]


def _kept(job: Job, now: float) -> Kept:
    return Kept(
        job.id, job.kind, job.where, job.by, job.started_at, job.state, job.total, job.done, job.failed,
        job.ended_at or now, job.error,
    )  # fmt: skip
