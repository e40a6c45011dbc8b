"""The supervisor's side of its runners: the server that forks them, and a handle for each."""

import os
import selectors
import signal
import socket
import subprocess
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from taskbus.errors import ConfigError
from taskbus.outcome import Released
from taskbus.worker.launch import Launched
from taskbus.worker.runner.board import Board, Running
from taskbus.worker.runner.protocol import Frames, Job, Report, pack, unpack_report
from taskbus.worker.settlement import Held

MAX_PROGRESSED = 10_000
"""Tasks whose progress is kept until somebody looks at it."""
KILL_AFTER = 1.0
"""Seconds that an attempt may outlive its ``time_limit`` before its runner is killed."""


class RunnerServer:
    """The process that imports the app and forks runners; user code lives below it, never in the supervisor."""

    def __init__(self, launched: Launched) -> None:
        self.process, self.link = launched.process, launched.link
        self.frames = Frames(self.link)

    def hello(self, timeout: float = 60.0) -> dict[str, Any]:
        """Wait until the app is imported and return what the server says of it; raises ``ConfigError`` if it fails."""
        self.link.settimeout(timeout)
        try:
            frames = list(self._first_frames())
        except TimeoutError:
            raise ConfigError(
                f"the app was not imported within {timeout:.0f} s; does its module do work at import?"
            ) from None
        except EOFError:
            raise ConfigError(
                f"the runners' server ended with status {self.process.wait()} while importing the app"
            ) from None
        self.link.setblocking(False)
        kind, *rest = frames[0]
        if kind == "failed":
            message, traceback = rest
            self.process.wait()
            raise ConfigError(f"{message}\n\n{traceback}".rstrip() if traceback else message)
        hello: dict[str, Any] = rest[0]
        return hello

    def _first_frames(self) -> Iterator[list[Any]]:
        while True:
            frames = list(self.frames.receive())
            if frames:
                return iter(frames)

    def fork(self, number: int, slots: int) -> "Runner":
        """Ask for a runner; it is usable once it has said that it is up."""
        ours, theirs = socket.socketpair()
        board = Board.create(slots)
        self.link.setblocking(True)
        try:
            socket.send_fds(self.link, [pack("fork", number)], [theirs.fileno(), board.fd])
        except OSError:
            board.close()
            raise
        finally:
            self.link.setblocking(False)
            theirs.close()
        return Runner(number, ours, board)

    def close(self) -> None:
        """End the server and with it every runner that is left."""
        self.link.close()
        try:
            self.process.wait(timeout=2.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Runner:
    """One child process: what was sent to it, what it sent back, and how to end it."""

    def __init__(self, number: int, link: socket.socket, board: Board) -> None:
        self.number = number
        self.link = link
        self.board = board
        self.frames = Frames(link)
        self.pid = 0
        self.pidfd = -1
        self.is_up = False
        self.is_stopping = False
        self.held: dict[int, Held] = {}
        self.judging: dict[int, Held] = {}
        self.killed_for: dict[int, str] = {}
        self.sync_load = 0
        self.async_load = 0
        self.slow_load = 0
        self.budget = 1 << 62
        self.heard_at = time.monotonic()
        self.is_recalled = False
        self.is_isolated = False
        self.progressed: deque[Held] = deque(maxlen=MAX_PROGRESSED)
        self._unsent = bytearray()
        link.setblocking(False)

    def started(self, pid: int) -> None:
        """Note the process behind this handle. A pidfd names it for good: its number may be used again."""
        self.pid = pid
        if hasattr(os, "pidfd_open"):
            try:
                self.pidfd = os.pidfd_open(pid)
            except OSError:
                self.pidfd = -1  # it has died already, and its exit is on the way; or no descriptor is left

    def run(self, jobs: Sequence[Job]) -> None:
        """Send jobs. They are the runner's until it reports or returns them, or dies."""
        large = [job for job in jobs if job.inputs is not None]
        if large:
            for job in large:
                self.send("run", [job])
            jobs = [job for job in jobs if job.inputs is None]
        if jobs:
            self.send("run", jobs)
        self.is_recalled = False

    def judge(self, held: Held) -> None:
        """Ask what follows for an attempt that was killed at its time limit: only runners know the retry policies."""
        self.judging[held.tag] = held
        self.send("judge", job_of(held)._replace(inputs=None), "time_limit")

    def send(self, *frame: Any) -> None:
        """Send a frame, keeping what the socket does not take for ``flush``."""
        self._unsent += pack(*frame)
        self.flush()

    def flush(self) -> None:
        """Send what is left; ``is_choked`` says whether something still is."""
        try:
            while self._unsent:
                del self._unsent[: self.link.send(self._unsent)]
        except BlockingIOError:
            pass
        except (BrokenPipeError, ConnectionResetError):
            self._unsent.clear()  # it has died: its exit is on the way

    @property
    def is_choked(self) -> bool:
        return bool(self._unsent)

    def receive(self) -> list[Report]:
        """What has ended in the runner since the last call. Raises ``EOFError`` when it has left."""
        reports: list[Report] = []
        for kind, *rest in self.frames.receive():
            self.heard_at = time.monotonic()
            if kind == "done":
                reports += map(unpack_report, rest[0])
            elif kind == "returned":
                reports += (Report(tag, Released(), 0.0, 0.0) for tag in rest[0])
            elif kind == "up":
                self.is_up = True
            else:
                self.hear_said(kind, *rest)
        return reports

    def hear_said(self, kind: str, *said: Any) -> None:
        """Note what attempts have said while they run."""
        if kind == "logs":
            tag, lines = said
            if (held := self.held.get(tag)) is not None:
                held.logs = lines
        elif kind == "progress":
            for tag, *progress in said[0]:
                if (held := self.held.get(tag)) is not None:
                    held.progress = progress
                    self.progressed.append(held)

    def running(self) -> list[Running]:
        """The attempts its slots are busy with now, as it notes them itself; readable after its death too."""
        try:
            return self.board.running()
        except ValueError:
            return []  # closed by another thread: it is gone, and what it ran is settled

    def kill(self) -> None:
        """SIGKILL, to this process and no other."""
        try:
            if self.pidfd >= 0:
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
            elif self.pid:
                os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def resident(self) -> int:
        """Bytes of memory it holds, 0 where that cannot be known."""
        try:
            with open(f"/proc/{self.pid}/statm") as statm:
                return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, ValueError, IndexError):
            return 0

    def close(self) -> None:
        self.link.close()
        self.board.close()
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1


def job_of(held: Held) -> Job:
    """What a runner is told of a delivery."""
    delivery = held.delivery
    return Job(held.tag, delivery.fence, delivery.queue, delivery.priority, delivery.wire, held.start_by, held.inputs)


def listen(selector: selectors.BaseSelector, runners: Iterable[Runner]) -> None:
    """Wait for room in the sockets that did not take everything, and only for those."""
    for runner in runners:
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if runner.is_choked else 0)
        key = selector.get_map().get(runner.link)
        if key is not None and key.events != wanted:
            selector.modify(runner.link, wanted, key.data)
