"""``taskbus worker --reload``: the worker as a child process, replaced when a .py file below this folder changes."""

import signal
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import watchfiles

from taskbus.cli.phrase import count
from taskbus.cli.tables import say


def run(argv: Sequence[str]) -> int:
    """Keep ``argv`` running over changes; a SIGINT or SIGTERM is passed on, once each, and its status is returned.

    The child has a process group of its own: Ctrl-C reaches it once through us, not a second time from the terminal.
    """
    stopping = threading.Event()
    child = _start(argv)

    def pass_on(number: int, _: FrameType | None) -> None:
        stopping.set()
        child.send_signal(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, pass_on)
    say(f"Watching *.py below {Path.cwd()}")
    for changes in watchfiles.watch(
        ".", watch_filter=watchfiles.PythonFilter(), stop_event=stopping, rust_timeout=200, raise_interrupt=False
    ):
        names = sorted({Path(path).name for _, path in changes})
        say(f"{count(len(names), 'file')} changed ({', '.join(names[:3])}): starting again")
        child.terminate()
        child.wait()
        if stopping.is_set():
            break
        child = _start(argv)
        if stopping.is_set():  # the signal came while there was no child to pass it to
            child.terminate()
    return child.wait()


def _start(argv: Sequence[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(argv, process_group=0)
