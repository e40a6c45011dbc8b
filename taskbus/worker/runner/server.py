"""The runners' server: imports the app once and forks runners from it; ``python -m taskbus.worker.runner.server``.

It has one thread and runs no task, so a fork copies no lock that somebody holds. With start method "spawn" it starts a
fresh interpreter for each runner instead, which imports the app anew. It decides nothing: it does what the supervisor
says, tells what became of each child, and when the supervisor is gone takes all of them along.
"""

import argparse
import gc
import logging
import os
import select
import signal
import socket
import sys
import threading
import traceback
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import msgpack

from taskbus import TaskBus, logs
from taskbus.config import OVERRIDES
from taskbus.errors import AppNotFound
from taskbus.middleware import working
from taskbus.worker.runner.failing import traceback_of
from taskbus.worker.runner.kinship import die_with, leave_signals_to_the_supervisor
from taskbus.worker.runner.loading import hello, load_app
from taskbus.worker.runner.process import Work, flush_streams, leave, run
from taskbus.worker.runner.protocol import pack
from taskbus.worker.runner.voices import log_rate_of

logger = logging.getLogger(__name__)

FDS_PER_FORK = 2


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """The server's command line. ``threads``, ``coroutines`` and ``start_method`` None: as the app's settings say.

    ``parent`` is the pid of the supervisor, which may die before this process can ask who its parent is; 0: unknown.
    """

    app: str
    fd: int
    threads: int | None = None
    coroutines: int | None = None
    start_method: str | None = None
    log_level: str = ""
    log_format: str = "text"
    parent: int = 0


class Server:
    """The children of this process, by pid, and the loop that makes and reaps them."""

    def __init__(self, link: socket.socket, app: TaskBus, options: ServerOptions, overrides: str = "{}") -> None:
        config = app.config
        self._link = link
        self._options = options
        self._overrides = overrides
        self._work = Work(
            app.tasks,
            app.middleware,
            config.max_message_bytes,
            threads=config.threads if options.threads is None else options.threads,
            coroutines=config.coroutines if options.coroutines is None else options.coroutines,
            clock=app.clock,
            log_rate=log_rate_of(config),
        )
        self._is_forking = (options.start_method or config.start_method) != "spawn"
        self._unpacker = msgpack.Unpacker()
        self._fds: deque[int] = deque()
        self._children: dict[int, int] = {}
        self._wake, self._waker = os.pipe()

    def serve(self) -> None:
        """Fork and reap until the supervisor closes its end; then kill what is left."""
        for fd in (self._wake, self._waker):
            os.set_blocking(fd, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        poll = select.poll()
        poll.register(self._link, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        self._prepare_to_fork()
        try:
            while self._obey([fd for fd, _ in poll.poll()]):
                self._reap()
        except (BrokenPipeError, ConnectionResetError):
            pass  # the supervisor left while it was told something
        self._kill_all()

    def _prepare_to_fork(self) -> None:
        if not self._is_forking:
            return
        if threading.active_count() > 1:
            names = ", ".join(thread.name for thread in threading.enumerate() if thread is not threading.main_thread())
            logger.warning(
                "importing the app started threads (%s): a forked runner has none of them, and a lock that one of them "
                'holds stays locked there; start them in the tasks instead, or set start_method="spawn"',
                names,
            )
        gc.collect()
        gc.freeze()  # what the import made is never looked at again by a child's collector, so its pages stay shared

    def _obey(self, ready: Sequence[int]) -> bool:
        """Carry out what has arrived; False once the supervisor has left."""
        if self._wake in ready:
            os.read(self._wake, 4096)
        if self._link.fileno() not in ready:
            return True
        chunk, fds, _, _ = socket.recv_fds(self._link, 65_536, 8 * FDS_PER_FORK)
        for fd in fds:
            os.set_inheritable(fd, False)  # else a program that a task starts would keep the link open
            self._fds.append(fd)
        if not chunk:
            return False
        self._unpacker.feed(chunk)
        for kind, number in self._unpacker:
            if kind == "fork":
                self._start(number, self._fds.popleft(), self._fds.popleft())
        return True

    def _start(self, number: int, link_fd: int, board_fd: int) -> None:
        try:
            pid = self._fork(link_fd, board_fd) if self._is_forking else self._spawn(link_fd, board_fd)
        except OSError as error:
            self._send("exited", number, 0, f"no process: {error}")
            return
        finally:
            os.close(link_fd)
            os.close(board_fd)
        self._children[pid] = number
        self._send("forked", number, pid)

    def _fork(self, link_fd: int, board_fd: int) -> int:
        parent = os.getpid()
        flush_streams()  # else what they still hold would be written by both
        pid = os.fork()
        if pid == 0:
            self._be_runner(parent, link_fd, board_fd)
        return pid

    def _be_runner(self, parent: int, link_fd: int, board_fd: int) -> NoReturn:
        status = 1
        try:
            die_with(parent)
            os.setpgid(0, 0)
            signal.set_wakeup_fd(-1)
            for fd in (self._wake, self._waker, *self._fds):
                os.close(fd)
            self._link.close()
            run(socket.socket(fileno=link_fd), board_fd, self._work)
            status = 0
        finally:
            if status:
                traceback.print_exc()
            leave(status)

    def _spawn(self, link_fd: int, board_fd: int) -> int:
        given = {
            "--link-fd": link_fd,
            "--board-fd": board_fd,
            "--threads": self._work.threads,
            "--coroutines": self._work.coroutines,
            "--parent": os.getpid(),
            "--app": self._options.app,
            "--log-level": self._options.log_level,
            "--log-format": self._options.log_format,
        }
        command = [
            sys.executable,
            "-m",
            "taskbus.worker.runner.process",
            *(f"{key}={value}" for key, value in given.items()),
        ]
        environment = {**os.environ, OVERRIDES: self._overrides}
        os.set_inheritable(link_fd, True)
        os.set_inheritable(board_fd, True)
        # Blocked until the child has handlers of its own: a SIGTERM for the group must not kill it before.
        return os.posix_spawn(
            sys.executable, command, environment, setpgroup=0, setsigmask=(signal.SIGINT, signal.SIGTERM)
        )

    def _reap(self) -> None:
        """Tell of every child that has left. Only our own: what the app's import started is for the app to wait for."""
        for pid, number in list(self._children.items()):
            left, status = os.waitpid(pid, os.WNOHANG)
            if left:
                del self._children[pid]
                if status:
                    end_programs(pid)
                self._send("exited", number, pid, how_it_left(os.waitstatus_to_exitcode(status)))

    def _kill_all(self) -> None:
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)
        for pid in self._children:
            os.waitpid(pid, 0)
            end_programs(pid)

    def _send(self, *frame: object) -> None:
        self._link.sendall(pack(*frame))


def end_programs(runner: int) -> None:
    """SIGTERM to what is left of a runner's process group, after its end: the programs that its tasks were running.

    Those tasks will run them again. A runner that leaves in good order has no task left: what it leaves is to stay.
    """
    try:
        os.killpg(runner, signal.SIGTERM)
    except (ProcessLookupError, PermissionError):
        pass  # there are none, or they are someone else's by now


def how_it_left(code: int) -> str:
    """An exit code in words: "" for 0, "exit status 3", "signal 9 (SIGKILL)"."""
    if code >= 0:
        return f"exit status {code}" if code else ""
    try:
        return f"signal {-code} ({signal.Signals(-code).name})"
    except ValueError:
        return f"signal {-code}"


def serve(options: ServerOptions) -> int:
    """Be the runners' server; returns the status to leave with."""
    link = socket.socket(fileno=options.fd)
    link.set_inheritable(False)
    die_with(options.parent or os.getppid())
    leave_signals_to_the_supervisor()
    if options.log_level:
        logs.configure_runner(options.log_level, options.log_format)
    _leave_terminal_alone()
    try:
        app = load_app(options.app)
    except AppNotFound as error:
        cause = error.__cause__
        link.sendall(pack("failed", str(error), "" if cause is None else traceback_of(cause)))
        return 1
    overrides = os.environ.pop(OVERRIDES, "{}")  # for this app alone, not for programs that its tasks start
    leave_signals_to_the_supervisor()  # again: the import may have had other ideas
    with working(app.middleware):
        link.sendall(pack("ready", hello(app)))
        Server(link, app, options, overrides).serve()
    return 0


def _leave_terminal_alone() -> None:
    """Give tasks an empty stdin: they would take turns at stealing lines from whoever sits at the terminal."""
    fd = os.open(os.devnull, os.O_RDONLY)
    os.dup2(fd, 0)
    os.close(fd)


def main() -> NoReturn:
    parser = argparse.ArgumentParser(prog="python -m taskbus.worker.runner.server")
    parser.add_argument("--app", required=True, help="module:name of the TaskBus")
    parser.add_argument("--fd", type=int, required=True, help="socket to the supervisor")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--coroutines", type=int)
    parser.add_argument("--start-method", choices=("forkserver", "spawn"))
    parser.add_argument("--log-level", default="")
    parser.add_argument("--log-format", default="text")
    parser.add_argument("--parent", type=int, default=0, help="pid of the supervisor, to die with")
    leave(serve(ServerOptions(**vars(parser.parse_args()))))


if __name__ == "__main__":
    main()
