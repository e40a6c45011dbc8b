"""What a child process owes to its parent, and may not do to it: leave when it dies, leave signals to it."""

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType

OWN_THREADS = "taskbus-"
"""How the names of a runner's own threads begin; they last as long as it does."""
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


def disown_forks(let_go: Callable[[], None]) -> None:
    """From now on, a process that a task forks from this one is no runner: signals end it, and it does not stay.

    ``let_go`` is called in the child. It dies with its parent, as a runner does with the server, unless it is meant to
    stay (it has a session of its own, or is to become a program), or was forked by a thread that the task has made: the
    kernel would kill it at the end of that thread.
    """
    forking = threading.local()

    def before() -> None:
        thread = threading.current_thread()
        lasts = thread is threading.main_thread() or thread.name.startswith(OWN_THREADS)
        is_program = sys._getframe(1).f_globals.get("__name__") == "subprocess"  # forks so where it has a preexec_fn
        forking.parent = os.getpid() if lasts and not is_program else 0
        # A signal that finds the child with our handlers still would be lost on it: Pool.terminate() is that fast.
        forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))

    def after() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, forking.mask)

    def in_child() -> None:
        for number, default in ((signal.SIGTERM, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler)):
            if signal.getsignal(number) is _do_nothing:  # else the task has a handler of its own
                signal.signal(number, default)
        let_go()
        if forking.parent and os.getsid(0) == home:
            die_with(forking.parent)
        after()

    home = os.getsid(0)
    os.register_at_fork(before=before, after_in_parent=after, after_in_child=in_child)


def leave_signals_to_the_supervisor() -> None:
    """Do nothing at SIGINT and SIGTERM, which may reach all processes of a worker: the supervisor says when to stop.

    A handler, not SIG_IGN: the programs that tasks start would inherit that.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _do_nothing)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))


def _do_nothing(_signal: int, _frame: FrameType | None) -> None:
    """The signal has done its work by interrupting a system call, which Python resumes."""
