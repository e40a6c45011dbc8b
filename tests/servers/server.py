"""What all servers of the tests share: finding the program, a port, starting, stopping and killing it by pid."""

import atexit
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

PLACES = ("/usr/sbin", "/usr/lib/rabbitmq/bin")
TWINS = {"redis-server": "valkey-server"}
"""Servers that do as well, where the first is not there."""
START_TIMEOUT = 60.0
INSTALL = "is not installed; run `make services`"
"""What is said of a missing program: no excuse where ``CI`` is set, since all are installed there."""


def find(program: str, *folders: str) -> str | None:
    """Where a server's program is; Debian keeps some outside of the path."""
    path = os.pathsep.join((os.environ.get("PATH", ""), *PLACES, *folders))
    return shutil.which(program, path=path) or shutil.which(TWINS.get(program, program), path=path)


def need(program: str, *folders: str) -> str:
    """The path of a server's program. Without it the test is skipped; where ``CI`` is set, it fails."""
    found = find(program, *folders)
    if found is None:
        reason = f"{program} {INSTALL}"
        if os.environ.get("CI"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    return found


def as_user(account: str | None) -> dict[str, Any]:
    """What ``subprocess`` needs to run a program as another user; nothing for None."""
    if account is None:
        return {}
    return {"user": account, "group": pwd.getpwnam(account).pw_gid, "extra_groups": []}


def humble(*accounts: str) -> str | None:
    """The first of these users there is, for a server that refuses to run as root; None when we are not root."""
    if os.geteuid() != 0:
        return None
    known = {each.pw_name for each in pwd.getpwall()}
    return next(account for account in (*accounts, "nobody") if account in known)


def own_folder(name: str, account: str | None) -> Path:
    """A new folder that this user can reach, which pytest's own are not; removed when the tests end."""
    folder = Path(tempfile.mkdtemp(prefix=f"taskbus-{name}-"))
    if account is not None:
        shutil.chown(folder, account)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def is_stopped(pid: int) -> bool:
    """Whether every thread of a process stands still. Source: proc(5)."""
    try:
        stats = [stat.read_text() for stat in Path(f"/proc/{pid}/task").glob("*/stat")]
    except OSError:  # it has ended, or one of its threads has
        return not Path(f"/proc/{pid}").exists()
    return all(stat.rpartition(")")[2].split()[0] == "T" for stat in stats)


def family(pid: int) -> list[int]:
    """A process and all its descendants. Source: proc(5)."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
    found = [pid]
    for each in found:
        found += [child for child, parent in parents.items() if parent == each]
    return found


def free_port() -> int:
    """A loopback port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(is_true: Callable[[], bool], what: str, timeout: float = START_TIMEOUT) -> None:
    """Return once ``is_true``; fail after ``timeout`` seconds."""
    deadline, never = time.monotonic() + timeout, threading.Event()
    while not is_true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout:g} s")
        never.wait(0.02)


class Server:
    """One server process. A subclass says how it is started (``command``) and when it is up (``is_up``).

    Stopping and starting keeps port and data folder, so that clients find the same server again.
    """

    program = ""
    account: str | None = None
    """The user it runs as; None: whoever runs the tests."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.log = folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def command(self) -> Sequence[str]:
        raise NotImplementedError

    def environment(self) -> Mapping[str, str]:
        return os.environ

    def is_up(self) -> bool:
        """Whether it answers; must not raise while it does not."""
        raise NotImplementedError

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server was not started"
        return self._process.pid

    def start(self) -> None:
        """Start it, and return when it answers."""
        self.launch()
        self.wait_until_up()

    def launch(self) -> None:
        """Start it, and return at once."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=dict(self.environment()),
                cwd=self.folder, start_new_session=True, **as_user(self.account),
            )  # fmt: skip

    def wait_until_up(self) -> None:
        def is_up() -> bool:
            assert self._process is not None
            if self._process.poll() is not None:
                raise AssertionError(f"{self.program} ended: {self.log.read_text(errors='replace')[-2000:]}")
            return self.is_up()

        until(is_up, f"{self.program} on port {self.port} answers")

    def stop(self) -> None:
        """End it as an operator would; returns when it has ended."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """``kill -9``, its children too: what it had not written is lost."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Stop its whole group in its tracks: connections stay open, nothing is answered."""
        os.killpg(self.pid, signal.SIGSTOP)
        until(lambda: is_stopped(self.pid), f"{self.program} is stopped")

    def resume(self) -> None:
        os.killpg(self.pid, signal.SIGCONT)

    def restart(self) -> None:
        self.stop()
        self.start()

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        if number is signal.SIGKILL:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        try:
            process.wait(START_TIMEOUT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(START_TIMEOUT)
