"""A runner: the process that user code runs in. Reads jobs, hands them to slots, sends reports back.

Forked by the runners' server, or started by it as ``python -m taskbus.worker.runner.process``. It keeps no message that
its supervisor does not know of: when the link ends, it leaves at once and nothing is lost.
"""

import argparse
import logging
import os
import queue
import random
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from taskbus import logs
from taskbus.clock import Clock, wall_clock
from taskbus.config import OVERRIDES
from taskbus.middleware import Middleware, serving
from taskbus.monitor import announcing
from taskbus.worker.runner.board import Board
from taskbus.worker.runner.call import AnyTask
from taskbus.worker.runner.coroutines import Coroutines
from taskbus.worker.runner.executor import Executor
from taskbus.worker.runner.kinship import die_with, disown_forks, leave_signals_to_the_supervisor
from taskbus.worker.runner.limits import AlarmLimits, Limits, Watch
from taskbus.worker.runner.link import Link
from taskbus.worker.runner.loading import load_app
from taskbus.worker.runner.main_slot import Jobs, Pace, Slot
from taskbus.worker.runner.protocol import Job
from taskbus.worker.runner.threads import Threads
from taskbus.worker.runner.voices import Voices, log_rate_of

logger = logging.getLogger(__name__)

SWITCH_INTERVAL = 0.001
"""Seconds after which a computing task must let the reading thread go on; Python's own 5 ms would be felt."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a runner is to do. ``threads`` and ``coroutines`` are slots; 0 threads: ``def`` tasks run in the main.

    ``log_rate``: see ``voices.Voices``.
    """

    tasks: Mapping[str, AnyTask]
    middleware: Sequence[Middleware]
    max_bytes: int
    threads: int
    coroutines: int
    clock: Clock = wall_clock
    log_rate: float | None = None


def run(link: socket.socket, board_fd: int, work: Work) -> None:
    """Be a runner, in the main thread, until told to stop; returns when everything is reported.

    Ends the whole process, with status 1, when the other end of ``link`` is closed.
    """
    sys.setswitchinterval(SWITCH_INTERVAL)
    leave_signals_to_the_supervisor()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _forget_parents_randomness()
    with serving(work.middleware):
        Runner(Link(link), board_fd, work).serve()
    announcing.flush()  # what its tasks have sent


class Runner:
    """The slots of one process, and the thread that feeds them."""

    def __init__(self, link: Link, board_fd: int, work: Work) -> None:
        self._link = link
        self._is_stopping = False
        self._jobs: Jobs = Jobs()
        self._pace = Pace()
        self._def_slots = max(1, work.threads)
        self._has_threads = work.threads > 0
        self._board = Board(board_fd, self._def_slots + work.coroutines)
        self._voices = Voices(link.send, work.log_rate)
        self._executor = Executor(
            work.tasks, work.middleware, work.max_bytes, work.clock, lambda: self._is_stopping, self._voices
        )
        kinds = {task.is_async for task in work.tasks.values()}
        self._only_kind = kinds.pop() if len(kinds) == 1 else None
        self._coroutines = (
            Coroutines(self._executor, self._board, link, first=self._def_slots, count=work.coroutines)
            if work.coroutines and self._only_kind is not False
            else None
        )

    def serve(self) -> None:
        """Work until told to stop and everything that had started has ended."""
        disown_forks(self._let_go)
        self._voices.listen()
        self._link.start()
        if self._coroutines is not None:
            self._coroutines.start()
        threading.Thread(target=self._read, name="taskbus-reader", daemon=True).start()
        self._link.send("up", os.getpid())
        if self._has_threads:
            self._serve_in_threads()
        else:
            limits = AlarmLimits()
            limits.install()
            self._slot(0, limits).serve()
        if self._coroutines is not None:
            self._coroutines.join()
        self._link.flush()

    def _let_go(self) -> None:
        """In a process that a task has forked: keep nothing that the supervisor reads, or waits for the end of."""
        self._voices.let_go()
        self._link.let_go()
        self._board.close()

    def _serve_in_threads(self) -> None:
        watch = Watch()
        threads = Threads([self._slot(number, watch.slot()) for number in range(self._def_slots)])
        watch.start()
        threads.start()
        threads.join()

    def _slot(self, number: int, limits: Limits) -> Slot:
        return Slot(
            number, self._jobs, self._executor, limits=limits, pace=self._pace, board=self._board, link=self._link
        )

    # --- in the reading thread ---------------------------------------------------------------------------------------

    def _read(self) -> None:
        orders: dict[str, Callable[..., None]] = {
            "run": self._take,
            "recall": self._return,
            "judge": self._judge,
            "stop": self._stop,
            "limits": self._executor.limit,
        }
        try:
            while True:
                for kind, *rest in self._link.frames.receive():
                    orders[kind](*rest)
        except EOFError:
            self._link.lost()
        finally:  # a fault of ours: better a crash that is seen than a runner that is deaf
            logger.critical("the reading thread died; its runner leaves", exc_info=True)
            os._exit(1)

    def _take(self, jobs: list[list[Any]]) -> None:
        to_coroutines = []
        for fields in jobs:
            job = Job(*fields)
            if self._coroutines is not None and self._is_async(job):
                to_coroutines.append(job)
            else:
                self._jobs.put(job)
        if self._coroutines is not None and to_coroutines:
            self._coroutines.submit(to_coroutines)

    def _is_async(self, job: Job) -> bool:
        return self._executor.is_async(job) if self._only_kind is None else self._only_kind

    def _return(self) -> None:
        """Give back everything that has not started."""
        tags = [job.tag for job in self._coroutines.recall()] if self._coroutines is not None else []
        while True:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is not None:
                tags.append(job.tag)
        self._link.send("returned", tags)

    def _judge(self, fields: list[Any], kind: str) -> None:
        self._link.report(self._executor.judge(Job(*fields), kind), more=False)

    def _stop(self) -> None:
        self._is_stopping = True
        self._return()
        for _ in range(self._def_slots):
            self._jobs.put(None)
        if self._coroutines is not None:
            self._coroutines.stop()


def leave(status: int) -> NoReturn:
    """End this process without running what it inherited from its parent at a fork: exit handlers, finalisers.

    They belong to the parent: one of them may delete the temporary folder that all runners use.
    """
    flush_streams()
    os._exit(status)


def flush_streams() -> None:
    """Write out what was printed, if there is still somewhere to write it."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):  # None, a pipe without a reader, closed
            pass


def _forget_parents_randomness() -> None:
    """Python's own generator reseeds itself in a forked child; numpy's would give every runner the same numbers."""
    random.seed()
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed()


def main() -> None:
    """Be a runner that imports the app itself (start method "spawn")."""
    parser = argparse.ArgumentParser(prog="python -m taskbus.worker.runner.process")
    for name in ("--link-fd", "--board-fd", "--threads", "--coroutines", "--parent"):
        parser.add_argument(name, type=int, required=True)
    parser.add_argument("--app", required=True)
    parser.add_argument("--log-level", default="")
    parser.add_argument("--log-format", default="text")
    given = parser.parse_args()
    die_with(given.parent)
    leave_signals_to_the_supervisor()
    if given.log_level:
        logs.configure_runner(given.log_level, given.log_format)
    for fd in (given.link_fd, given.board_fd):
        os.set_inheritable(fd, False)
    app = load_app(given.app)
    os.environ.pop(OVERRIDES, None)
    work = Work(
        app.tasks,
        app.middleware,
        app.config.max_message_bytes,
        given.threads,
        given.coroutines,
        app.clock,
        log_rate_of(app.config),
    )
    run(socket.socket(fileno=given.link_fd), given.board_fd, work)
    leave(0)


if __name__ == "__main__":
    main()
