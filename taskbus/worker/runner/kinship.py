"""What a child process owes to its parent, and may not do to it: leave when it dies, leave signals to it."""

import ctypes
import os
import signal
import sys
from types import FrameType

_PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    """Have the kernel kill this process when ``parent`` dies, be it by SIGKILL and be this process stuck in C.

    Linux only; elsewhere the end of the link has to do. The kernel watches the thread that made this process: it must
    be one that lives as long as the parent. Source: prctl(2).
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the call
        os._exit(1)


def leave_signals_to_the_supervisor() -> None:
    """Do nothing at SIGINT and SIGTERM, which reach the whole process group: the supervisor says when to stop.

    A handler, not SIG_IGN: the programs that tasks start would inherit that.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _do_nothing)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))


def _do_nothing(_signal: int, _frame: FrameType | None) -> None:
    """The signal has done its work by interrupting a system call, which Python resumes."""
