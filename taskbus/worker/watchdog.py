"""The last word on time limits: a thread that kills a runner whose attempt does not end.

A thread of its own, so that a broker that makes the supervisor wait cannot make a stuck task wait for its end.
"""

import threading
import time
from collections.abc import Callable, Iterable

from taskbus.worker.runners import KILL_AFTER, Runner

INTERVAL = 0.1


class Watchdog:
    """Kills runners whose attempt is more than ``KILL_AFTER`` seconds over its ``time_limit``."""

    def __init__(self, runners: Callable[[], Iterable[Runner]]) -> None:
        self._runners = runners
        self._ended = threading.Event()
        self._has_started = False
        self._thread = threading.Thread(target=self._watch, name="taskbus-watchdog", daemon=True)

    def start(self) -> None:
        """Begin to watch; starting it again does nothing."""
        if not self._has_started:
            self._has_started = True
            self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(INTERVAL):
            for runner in self._runners():
                self._look(runner)

    def _look(self, runner: Runner) -> None:
        if runner.killed_for:
            return
        for entry in runner.running():
            held = runner.held.get(entry.tag)
            limit = held.spec.time_limit if held is not None else None
            if limit is None or time.monotonic() - entry.started <= limit + KILL_AFTER:
                continue
            if entry in runner.running():  # it may have ended while we looked
                runner.killed_for[entry.tag] = "time_limit"
                runner.kill()
                return
