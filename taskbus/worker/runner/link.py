"""A runner's end of the socket to its supervisor: reports go out in batches, none waits long."""

import logging
import os
import socket
import threading
import time
from typing import Any, NoReturn

from taskbus.failpoint import failpoint
from taskbus.outcome import Succeeded
from taskbus.worker.runner.protocol import Frames, Report, pack, pack_report

logger = logging.getLogger(__name__)

BATCH = 64
"""Reports that make a batch."""
BATCH_BYTES = 1 << 20
"""Bytes of results that make a batch: a frame must stay far below what the other side accepts."""
PATIENCE = 0.005
"""Seconds a report may wait for others; with the flusher's own nap, none waits longer than twice that."""


class Link:
    """Sends frames from any thread. With the supervisor gone there is nobody to work for: the process ends at once."""

    def __init__(self, link: socket.socket) -> None:
        link.setblocking(True)
        self.frames = Frames(link)
        self._link = link
        self._sending = threading.Lock()
        self._buffer = threading.Lock()
        self._reports: list[Report] = []
        self._bytes = 0
        self._oldest_at = 0.0
        self._is_left_behind = threading.Event()
        self._is_let_go = False

    def start(self) -> None:
        """Start the thread that sends what a long task leaves behind."""
        threading.Thread(target=self._send_left_behind, name="taskbus-flusher", daemon=True).start()

    def let_go(self) -> None:
        """Close this end in a process that was forked from the runner: what it says is not for the supervisor."""
        self._is_let_go = True
        self._link.close()

    def stay_or_leave(self) -> None:
        """To be called when a task's body has ended: in a process that it has forked, this does not return."""
        if self._is_let_go:
            logger.error("a process that a task has forked came back from the task; end it with os._exit()")
            os._exit(1)

    def report(self, report: Report, *, more: bool) -> None:
        """Send a report, now or with those to come. ``more``: whether the caller goes on to another attempt at once."""
        outcome = report.outcome
        with self._buffer:
            now = time.monotonic()
            if not self._reports:
                self._oldest_at = now
            self._reports.append(report)
            if type(outcome) is Succeeded and outcome.result is not None:
                self._bytes += len(outcome.result)
            can_wait = (
                more and len(self._reports) < BATCH and self._bytes < BATCH_BYTES and now - self._oldest_at < PATIENCE
            )
            if can_wait and not self._is_left_behind.is_set():
                self._is_left_behind.set()
        if not can_wait:
            self.flush()

    def flush(self) -> None:
        """Send every report there is."""
        if not self._reports:
            return
        with self._buffer:
            reports, self._reports, self._bytes = self._reports, [], 0
        if reports:
            self.send("done", [pack_report(report) for report in reports])
            failpoint("runner.sent")

    def send(self, *frame: Any) -> None:
        """Send one frame; when this returns the kernel has it. The supervisor always reads, so that is soon."""
        try:
            with self._sending:
                self._link.sendall(pack(*frame))
        except (BrokenPipeError, ConnectionResetError):
            self.lost()

    def lost(self) -> NoReturn:
        """Leave at once: the supervisor is gone, and with it the lease under which this process ran tasks."""
        logger.debug("the supervisor has left; so does runner %d", os.getpid())
        os._exit(1)

    def _send_left_behind(self) -> None:
        while True:
            self._is_left_behind.wait()
            time.sleep(PATIENCE)
            with self._buffer:
                if not self._reports:
                    self._is_left_behind.clear()
                    continue
                is_due = time.monotonic() - self._oldest_at >= PATIENCE
            if is_due:
                self.flush()
