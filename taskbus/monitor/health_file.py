"""The state of a process in a small file, for ``taskbus health`` where there is no port to ask.

A thread of its own writes what the working thread has noted, once a second: a slow disk holds up no task, and what a
loop that is stuck has noted grows old in the file. It is replaced as a whole, so that nobody reads half of it.
"""

import logging
import os
import re
import stat
import threading
from collections.abc import Callable
from pathlib import Path

from taskbus.errors import ConfigError
from taskbus.monitor.probes import Vitals, pack

logger = logging.getLogger(__name__)

EVERY = 1.0
"""Seconds between two writes."""
AUTO = "auto"


def folder() -> Path:
    """Where files of processes go by their names: ``$XDG_RUNTIME_DIR/taskbus``, else ``/tmp/taskbus-UID``."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return Path(runtime, "taskbus") if runtime else Path(f"/tmp/taskbus-{os.getuid()}")  # noqa: S108 - checked below


def path_of(setting: str, name: str) -> Path:
    """The file of a process of this name, by the setting ``health_file``: a path, or ``auto``."""
    return Path(setting) if setting != AUTO else folder() / (re.sub(r"[^\w.@:-]", "_", name) + ".json")


class HealthFile:
    """Written once a second from entering to leaving; then it is removed.

    Raises ``ConfigError`` where the first one cannot be written. Later failures are logged once, and tried again.
    """

    def __init__(self, path: Path, read: Callable[[], Vitals]) -> None:
        self.path = path
        self._read = read
        self._stop = threading.Event()
        self._has_failed = False
        self._thread = threading.Thread(target=self._run, name="taskbus-health-file", daemon=True)

    def __enter__(self) -> "HealthFile":
        try:
            _prepare(self.path.parent)
            self._write()
        except OSError as error:
            raise ConfigError(f"health_file={str(self.path)!r} cannot be written: {error}") from error
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(2 * EVERY)
        self.path.unlink(missing_ok=True)

    def _run(self) -> None:
        while not self._stop.wait(EVERY):
            try:
                self._write()
                self._has_failed = False
            except OSError as error:
                if not self._has_failed:
                    logger.warning("the state cannot be written to %s: %s", self.path, error)
                self._has_failed = True

    def _write(self) -> None:
        draft = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        draft.write_text(pack(self._read()))
        draft.replace(self.path)


def _prepare(parent: Path) -> None:
    """Make the folder. In a folder that all may write to, one of somebody else's could lead anywhere."""
    if parent == folder():
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = parent.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise PermissionError(f"{parent} belongs to somebody else")
    else:
        parent.mkdir(parents=True, exist_ok=True)
