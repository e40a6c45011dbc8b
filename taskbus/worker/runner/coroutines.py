"""Coroutine slots: many ``async def`` tasks at once, on an event loop in a thread of its own."""

import asyncio
import logging
import os
import threading
from collections import deque
from collections.abc import Iterable
from time import monotonic

from taskbus.failpoint import failpoint
from taskbus.worker.runner.board import Board
from taskbus.worker.runner.executor import Executor
from taskbus.worker.runner.link import Link
from taskbus.worker.runner.protocol import Job

logger = logging.getLogger(__name__)


class Coroutines:
    """``count`` slots, ``first`` and up on the board. Each attempt is an asyncio task, with variables of its own."""

    def __init__(self, executor: Executor, board: Board, link: Link, *, first: int, count: int) -> None:
        self._executor = executor
        self._board = board
        self._link = link
        self._waiting: deque[Job] = deque()
        self._free = list(range(first + count - 1, first - 1, -1))
        self._running: set[asyncio.Task[None]] = set()
        self._is_flush_due = False
        self._is_stopping = False
        self._has_ended = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="taskbus-coroutines", daemon=True)

    # --- called from the reading thread ------------------------------------------------------------------------------

    def start(self) -> None:
        self._thread.start()

    def submit(self, jobs: Iterable[Job]) -> None:
        """Start jobs as slots come free."""
        self._waiting.extend(jobs)
        self._loop.call_soon_threadsafe(self._start_waiting)

    def recall(self) -> list[Job]:
        """Take back what has not started."""
        jobs = []
        while self._waiting:
            try:
                jobs.append(self._waiting.popleft())
            except IndexError:  # the loop took the last one
                break
        return jobs

    def stop(self) -> None:
        """End once what runs has ended."""
        self._is_stopping = True
        self._loop.call_soon_threadsafe(self._end_if_idle)

    def join(self) -> None:
        """Wait for that end."""
        self._thread.join()

    # --- in the loop's thread ----------------------------------------------------------------------------------------

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        while not self._has_ended:
            try:
                self._loop.run_forever()
            except (SystemExit, KeyboardInterrupt) as error:
                # Raised in an asyncio task that a task of ours made; asyncio lets these two stop its loop.
                logger.warning("a background coroutine raised %r; the loop goes on", error)

    def _start_waiting(self) -> None:
        while self._free and self._waiting:
            try:
                job = self._waiting.popleft()
            except IndexError:  # recalled a moment ago
                return
            task = self._loop.create_task(self._attempt(self._free.pop(), job))
            self._running.add(task)
            task.add_done_callback(self._ended)

    async def _attempt(self, slot: int, job: Job) -> None:
        self._board.mark(slot, job.tag, monotonic())
        failpoint("runner.start")
        report = await self._executor.execute_async(job)
        self._link.stay_or_leave()
        failpoint("runner.body_done")
        self._board.clear(slot)
        self._free.append(slot)
        self._link.report(report, more=True)
        if not self._is_flush_due:  # what ends in the same turn of the loop leaves in the same frame
            self._is_flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_flush_due = False
        self._link.flush()

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._running.discard(task)
        if not task.cancelled() and task.exception() is not None:
            # A fault of ours, not of a task: better a crash that is seen than a slot that is gone.
            logger.critical("a coroutine slot died; its runner leaves", exc_info=task.exception())
            os._exit(1)
        self._start_waiting()
        self._end_if_idle()

    def _end_if_idle(self) -> None:
        if self._is_stopping and not self._running and not self._waiting:
            self._has_ended = True
            self._loop.stop()
