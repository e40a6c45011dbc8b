"""A ``taskbus`` command as a child process of ``taskbus dev``: its lines, and what becomes of it, told in one place."""

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import IO, Any

from taskbus.cli import kin

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds before a child that died is started again: doubled each time, until one has stayed."""
STEADY = 30.0
"""Seconds after which a child has stayed."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A process has ended; ``status`` as ``Popen.returncode``."""

    child: "Child"
    process: "subprocess.Popen[bytes]"
    status: int


@dataclass(frozen=True, slots=True)
class Ready:
    """A process has said that it is ready."""

    child: "Child"
    process: "subprocess.Popen[bytes]"
    item: Mapping[str, Any]


class Child:
    """One command, started as often as need be, by one thread that lasts as long as this process.

    What happens to it goes to ``events``, each line that it writes to ``write``, called by a thread of its own.
    ``is_replaced``: it was told to end so that it can be started anew. ``start_at``, ``kill_at``: instants of the
    monotonic clock at which that is due.
    """

    def __init__(
        self, name: str, arguments: Sequence[str], events: "SimpleQueue[Any]", write: Callable[[str, str], None]
    ) -> None:
        self.name = name
        self._arguments = list(arguments)
        self._events = events
        self._write = write
        self.process: subprocess.Popen[bytes] | None = None
        self.is_ready = self.is_replaced = False
        self.start_at: float | None = None
        self.kill_at: float | None = None
        self._pause = FIRST_PAUSE
        self._started_at = 0.0

    @property
    def is_running(self) -> bool:
        return self.process is not None

    def start(self) -> None:
        """Start it, with a process group of its own: Ctrl-C in the terminal is for its parent alone."""
        self.is_ready = self.is_replaced = False
        self.start_at = self.kill_at = None
        self._started_at = time.monotonic()
        reading, writing = os.pipe()
        self.process = subprocess.Popen(
            kin.command(self._arguments, writing),
            pass_fds=[writing],
            process_group=0,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        os.close(writing)
        threading.Thread(target=self._hear, args=(self.process, reading), daemon=True).start()
        threading.Thread(target=self._follow, args=(self.process,), daemon=True).start()

    def stop(self, grace: float, number: int = signal.SIGTERM) -> None:
        """Tell it to end; it is killed if it has not after ``grace`` seconds."""
        self.start_at = None
        if self.process is not None:
            self.kill_at = self.kill_at or time.monotonic() + grace
            self.process.send_signal(number)

    def replace(self, grace: float) -> None:
        """End it, to start it anew once it has ended."""
        if not self.is_replaced:
            self.is_replaced = True
            self.stop(grace)

    def ended(self) -> None:
        """Take note that its process has ended."""
        self.process = self.kill_at = None

    def start_later(self) -> float:
        """Have it started after a pause, which grows while it keeps dying; its seconds."""
        now = time.monotonic()
        pause = FIRST_PAUSE if now - self._started_at > STEADY else self._pause
        self._pause = min(LONGEST_PAUSE, pause * 2)
        self.start_at = now + pause
        return pause

    def act(self, now: float) -> None:
        """Do what is due."""
        if self.start_at is not None and now >= self.start_at:
            self.start()
        if self.kill_at is not None and now >= self.kill_at and self.process is not None:
            self.kill_at = None
            self.process.kill()

    def _hear(self, process: "subprocess.Popen[bytes]", reading: int) -> None:
        with open(reading) as stream:
            line = stream.readline()
        if line:
            self._events.put(Ready(self, process, json.loads(line)))

    def _follow(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdout is not None
        reader = threading.Thread(target=self._read, args=(process.stdout,), daemon=True)
        reader.start()
        status = process.wait()
        reader.join(1.0)  # who inherited its output may hold it open for long
        self._events.put(Ended(self, process, status))

    def _read(self, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                self._write(self.name, line.decode(errors="replace").rstrip("\r\n"))
