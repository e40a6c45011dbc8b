"""Starting again when a .py file below the working folder changes: ``taskbus worker --reload``, ``taskbus dev``."""

import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

import watchfiles

from taskbus.cli import kin
from taskbus.cli.phrase import count
from taskbus.cli.tables import say


def changes(stopping: threading.Event) -> Iterator[str]:
    """What changed, in words, whenever something has; until ``stopping`` is set, as is seen within 0.2 s."""
    for found in watchfiles.watch(
        ".", watch_filter=watchfiles.PythonFilter(), stop_event=stopping, rust_timeout=200, raise_interrupt=False
    ):
        names = sorted({Path(path).name for _, path in found})
        yield f"{count(len(names), 'file')} changed ({', '.join(names[:3])}{', ...' if names[3:] else ''})"


def run(arguments: Sequence[str]) -> int:
    """Keep ``taskbus`` with these arguments running over changes; it dies with this process.

    A SIGINT or SIGTERM is passed on, once each, and its status is returned. The child has a process group of its own:
    Ctrl-C reaches it once through us, not a second time from the terminal.
    """
    stopping = threading.Event()
    child = _start(arguments)

    def pass_on(number: int, _: FrameType | None) -> None:
        stopping.set()
        child.send_signal(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, pass_on)
    say(f"Watching *.py below {Path.cwd()}")
    for what in changes(stopping):
        say(f"{what}: starting again")
        child.terminate()
        child.wait()
        if stopping.is_set():
            break
        child = _start(arguments)
        if stopping.is_set():  # the signal came while there was no child to pass it to
            child.terminate()
    return child.wait()


def _start(arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(kin.command(list(arguments)), process_group=0)
