"""A real worker, as a process of its own, for ``taskbus bench`` and ``taskbus demo``."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType

from taskbus.cli.counting import Counter
from taskbus.cli.exits import CommandFailed

PATIENCE = 60.0
"""Seconds without any progress after which a measurement is given up. Not a limit on speed."""
POLL = 0.002


class WorkerProcess:
    """``taskbus worker`` with these arguments, from entering the block to leaving it (SIGTERM, then SIGKILL)."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        self._argv = [sys.executable, "-m", "taskbus", "worker", "--log-level", "WARNING", *arguments]
        self._environment = {**os.environ, **environment}
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed in __exit__)

    def __enter__(self) -> "WorkerProcess":
        self.process = subprocess.Popen(
            self._argv, env=self._environment, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._log.close()

    def check(self) -> None:
        """Raise ``CommandFailed`` with the end of its log if it has left."""
        status = self.process.poll()
        if status is not None:
            raise CommandFailed(f"the worker left with status {status}:\n{self.log()}")

    def log(self) -> str:
        """The end of what it has written."""
        self._log.seek(0)
        return self._log.read()[-4000:].decode(errors="replace").strip() or "(it wrote nothing)"

    def wait_for(self, counter: Counter, total: int, seen: Callable[[int], None] = lambda _: None) -> None:
        """Return when ``counter`` has come to ``total``; raise if the worker leaves or makes no progress."""
        last, moved_at = -1, time.monotonic()
        while (now := counter.total()) < total:
            seen(now)
            if now != last:
                last, moved_at = now, time.monotonic()
            elif time.monotonic() - moved_at > PATIENCE:
                raise CommandFailed(f"no task ran for {PATIENCE:.0f} s, missing: {total - now:,}.\n{self.log()}")
            self.check()
            time.sleep(POLL)
        seen(now)
