"""A runner: the process that user code runs in. Reads jobs from its supervisor, hands them to slots, sends reports back.

Forked by the runners' server, or started by it as ``python -m taskbus.worker.runner.process``. It keeps no message that
its supervisor does not know of: when the link ends, it leaves at once and nothing is lost.
"""

import argparse
import os
import queue
import random
import signal
import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from taskbus import logs
from taskbus.clock import Clock, wall_clock
from taskbus.middleware import Middleware
from taskbus.worker.runner.board import Board
from taskbus.worker.runner.coroutines import Coroutines
from taskbus.worker.runner.executor import AnyTask, Executor
from taskbus.worker.runner.kinship import die_with, leave_signals_to_the_supervisor
from taskbus.worker.runner.limits import AlarmLimits, Watch
from taskbus.worker.runner.link import Link
from taskbus.worker.runner.loading import load_app
from taskbus.worker.runner.main_slot import Jobs, Pace, Slot
from taskbus.worker.runner.protocol import Job
from taskbus.worker.runner.threads import Threads

SWITCH_INTERVAL = 0.001
"""Seconds after which a computing task must let the reading thread go on; Python's own 5 ms would be felt."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a runner is to do, and with how many slots: ``threads`` for ``def`` tasks (0: the main thread), ``coroutines``."""

    tasks: Mapping[str, AnyTask]
    middleware: Sequence[Middleware]
    max_bytes: int
    threads: int
    coroutines: int
    clock: Clock = wall_clock


def run(link: socket.socket, board_fd: int, work: Work) -> None:
    """Be a runner, in the main thread, until told to stop; returns when everything is reported.

    Ends the whole process, with status 1, when the other end of ``link`` is closed.
    """
    sys.setswitchinterval(SWITCH_INTERVAL)
    leave_signals_to_the_supervisor()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _forget_parents_randomness()
    _leave_terminal_alone()
    Runner(Link(link), board_fd, work).serve()


class Runner:
    """The slots of one process, and the thread that feeds them."""

    def __init__(self, link: Link, board_fd: int, work: Work) -> None:
        def_slots = max(1, work.threads)
        self._link = link
        self._work = work
        self._is_stopping = False
        self._jobs: Jobs = Jobs()
        self._def_slots = def_slots
        self._board = Board(board_fd, def_slots + work.coroutines)
        self._executor = Executor(work.tasks, work.middleware, work.max_bytes, work.clock, lambda: self._is_stopping)
        self._coroutines = Coroutines(self._executor, self._board, link, first=def_slots, count=work.coroutines)
        kinds = {task.is_async for task in work.tasks.values()}
        self._only_kind = kinds.pop() if len(kinds) == 1 else None

    def serve(self) -> None:
        """Work until told to stop and finished."""
        pace = Pace()
        self._link.start()
        self._coroutines.start()
        threading.Thread(target=self._read, name="taskbus-reader", daemon=True).start()
        self._link.send("up", os.getpid())
        if self._work.threads:
            watch = Watch()
            threads = Threads(
                [self._slot(number, watch.slot(), pace) for number in range(self._work.threads)]
            )
            watch.start()
            threads.start()
            threads.join()
        else:
            limits = AlarmLimits()
            limits.install()
            self._slot(0, limits, pace).serve()
        self._coroutines.join()
        self._link.flush()
