"""Plays the supervisor to a real runners' server: a socketpair, forks, jobs, and nothing of the worker around it."""

import itertools
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import runner_app

from taskbus import Task, codec
from taskbus.outcome import Outcome, Succeeded
from taskbus.wire import compact
from taskbus.worker.runner.board import Board
from taskbus.worker.runner.protocol import Frames, Job, pack, unpack_report

HERE = Path(__file__).parent
TIMEOUT = 15.0
_tags = itertools.count(1)


def job(task: Task[..., Any], *args: Any) -> Job:
    """A job for a task, with a tag of its own."""
    message = task.message(args, {})
    return Job(next(_tags), 1, message.queue, message.priority, compact.encode(message))


class Inbox:
    """The frames that arrive on a socket, waited for with a deadline."""

    def __init__(self, link: socket.socket) -> None:
        self.link = link
        self.frames = Frames(link)
        self.seen: list[list[Any]] = []

    def wait_for(self, found: Callable[[], Any]) -> Any:
        """Read until ``found`` returns something true; that is returned."""
        deadline = time.monotonic() + TIMEOUT
        while not (result := found()):
            if not select.select([self.link], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise AssertionError(f"not within {TIMEOUT} s; seen: {self.seen}")
            self.seen.extend(self.frames.receive())
        return result

    def frame(self, kind: str, *start: Any) -> list[Any]:
        """The first frame of a kind that goes on with ``start``, taken out."""
        wanted = [kind, *start]
        found: list[Any] = self.wait_for(lambda: [frame for frame in self.seen if frame[: len(wanted)] == wanted])[0]
        self.seen.remove(found)
        return found

    def wait_for_the_end(self) -> None:
        """Read until the other side has left."""
        try:
            self.wait_for(lambda: False)
        except EOFError:
            pass


class Runner(Inbox):
    """A forked runner."""

    def __init__(self, number: int, link: socket.socket, board: Board) -> None:
        super().__init__(link)
        self.number = number
        self.board = board
        self.outcomes: dict[int, Outcome] = {}
        self.pid = 0

    def send(self, *frame: Any) -> None:
        self.link.sendall(pack(*frame))

    def run(self, *jobs: Job) -> None:
        self.send("run", jobs)

    def outcome(self, one: Job) -> Outcome:
        """How a job ended."""

        def find() -> bool:
            for frame in [frame for frame in self.seen if frame[0] == "done"]:
                self.seen.remove(frame)
                self.outcomes.update((report.tag, report.outcome) for report in map(unpack_report, frame[1]))
            return one.tag in self.outcomes

        self.wait_for(find)
        return self.outcomes[one.tag]

    def value(self, one: Job) -> Any:
        """What a job returned."""
        outcome = self.outcome(one)
        assert isinstance(outcome, Succeeded), outcome
        assert outcome.result is not None
        return codec.decode(outcome.result, outcome.content_type)

    def call(self, task: Task[..., Any], *args: Any) -> Any:
        """Run one task and return what it returned."""
        one = job(task, *args)
        self.run(one)
        return self.value(one)


class Rig(Inbox):
    """A runners' server, from its start to its end."""

    def __init__(self, *options: str, app: str = "runner_app:app", folder: Path = HERE, **environment: str) -> None:
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", "taskbus.worker.runner.server", "--app", app, "--fd", str(theirs.fileno())]
        self.process = subprocess.Popen(
            [*command, *options],
            pass_fds=[theirs.fileno()],
            cwd=folder,
            env={**os.environ, **environment},
            stderr=subprocess.PIPE,
        )
        theirs.close()
        super().__init__(ours)
        self.runners: list[Runner] = []

    def fork(self, slots: int = 101) -> Runner:
        """A runner that has said that it is up."""
        ours, theirs = socket.socketpair()
        runner = Runner(len(self.runners) + 1, ours, Board.create(slots))
        self.runners.append(runner)
        socket.send_fds(self.link, [pack("fork", runner.number)], [theirs.fileno(), runner.board.fd])
        theirs.close()
        runner.pid = self.frame("forked", runner.number)[2]
        assert runner.frame("up") == ["up", runner.pid]
        return runner

    def how_it_left(self, runner: Runner) -> str:
        """Wait until the server says that a runner has left, and of what."""
        how: str = self.frame("exited", runner.number, runner.pid)[3]
        return how

    def close(self) -> str:
        """End the server; returns what it has logged."""
        for runner in self.runners:
            runner.link.close()
            runner.board.close()
        self.runners.clear()
        self.link.close()
        assert self.process.stderr is not None
        with self.process.stderr as log:
            text = log.read().decode()
        self.process.wait(TIMEOUT)
        return text

    def __enter__(self) -> "Rig":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self.link._closed:  # type: ignore[attr-defined]
            print(self.close())


app = runner_app.app
