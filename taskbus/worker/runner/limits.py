"""Time limits inside the process: how they reach a running task, one way for each kind of slot.

Each way promises the same: the exception is raised while the task's own code runs, or not at all; it never reaches the
code around the task, nor the slot's next task. What a task does not obey, the supervisor ends by killing the runner.
"""

import asyncio
import ctypes
import signal
import threading
import time
import types
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from math import inf
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any, Protocol

from taskbus.errors import SoftTimeLimitExceeded, TimeLimitExceeded

Function = Callable[..., Any]


class Limits(Protocol):
    """How a ``def`` task is called with a limit on its time. ``soft`` and ``hard`` are seconds, None for no limit."""

    def call(
        self, function: Function, args: Sequence[Any], kwargs: Mapping[str, Any], soft: float | None, hard: float | None
    ) -> Any: ...


def soft_message(seconds: float) -> str:
    """What ``SoftTimeLimitExceeded`` says."""
    return f"it ran longer than its soft_time_limit of {seconds:g} s"


def hard_message(seconds: float) -> str:
    """What ``TimeLimitExceeded`` says."""
    return f"it ran longer than its time_limit of {seconds:g} s"


class AlarmLimits:
    """For the main thread: SIGALRM, whose handler raises where the task is, in a system call or between two bytecodes.

    At most two exceptions can come, soft before hard, and ``call`` disarms twice: one that strikes the first time is
    inside the second. A signal that comes too late finds nothing armed, one that comes too early is sent again.
    """

    def __init__(self) -> None:
        self._soft = self._hard = 0.0
        self._soft_at = self._hard_at = inf

    def call(
        self, function: Function, args: Sequence[Any], kwargs: Mapping[str, Any], soft: float | None, hard: float | None
    ) -> Any:
        if soft is None and hard is None:
            return function(*args, **kwargs)
        try:
            try:
                self._arm(soft, hard)
                return function(*args, **kwargs)
            finally:
                self._disarm()
        finally:
            self._disarm()

    def install(self) -> None:
        """Make SIGALRM ours; a task may have taken it for itself."""
        signal.signal(signal.SIGALRM, self._on_alarm)

    def _arm(self, soft: float | None, hard: float | None) -> None:
        self.install()
        now = time.monotonic()
        self._soft, self._hard = soft or 0.0, hard or 0.0
        self._soft_at = inf if soft is None else now + soft
        self._hard_at = inf if hard is None else now + hard
        self._wait_until(min(self._soft_at, self._hard_at), now)

    def _disarm(self) -> None:
        self._soft_at = self._hard_at = inf
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _wait_until(self, instant: float, now: float) -> None:
        if instant < inf:
            signal.setitimer(signal.ITIMER_REAL, max(instant - now, 1e-6))

    def _on_alarm(self, _signal: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if now >= self._hard_at:
            self._soft_at = self._hard_at = inf
            raise TimeLimitExceeded(hard_message(self._hard))
        if now >= self._soft_at:
            self._soft_at = inf
            self._wait_until(self._hard_at, now)
            raise SoftTimeLimitExceeded(soft_message(self._soft))
        self._wait_until(min(self._soft_at, self._hard_at), now)


class ThreadLimits:
    """For a thread slot: an asynchronous exception, raised before the thread's next bytecode, so in no blocking call.

    Made by ``Watch.slot``, used by one thread. Only attributes are shared with the watching thread, never a lock: the
    exception could strike between taking a lock and being ready to give it back.
    """

    def __init__(self, watch: "Watch") -> None:
        self.soft_at = self.hard_at = inf
        self.is_being_raised = self.has_raised = False
        self.thread = 0
        self._watch = watch

    def call(
        self, function: Function, args: Sequence[Any], kwargs: Mapping[str, Any], soft: float | None, hard: float | None
    ) -> Any:
        if soft is None and hard is None:
            return function(*args, **kwargs)
        try:  # disarmed twice for the reason given in AlarmLimits
            try:
                self._arm(soft, hard)
                return function(*args, **kwargs)
            finally:
                self._disarm()
        finally:
            self._disarm()

    def _arm(self, soft: float | None, hard: float | None) -> None:
        self.thread = threading.get_ident()
        self.has_raised = False
        now = time.monotonic()
        self.soft_at = inf if soft is None else now + soft
        self.hard_at = inf if hard is None else now + hard
        self._watch.expect(min(self.soft_at, self.hard_at))

    def _disarm(self) -> None:
        self.soft_at = self.hard_at = inf
        while self.is_being_raised:  # the watch had seen it armed: let it finish, then take back what it raised
            time.sleep(0)
        if self.has_raised:
            _take_back_own_exception(self.thread)


class Watch:
    """One thread that looks after the deadlines of all thread slots."""

    def __init__(self) -> None:
        self._slots: list[ThreadLimits] = []
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._wakes_at = inf

    def start(self) -> None:
        threading.Thread(target=self._run, name="taskbus-limits", daemon=True).start()

    def slot(self) -> ThreadLimits:
        """The limits of one more thread; to be called before ``start``."""
        limits = ThreadLimits(self)
        self._slots.append(limits)
        return limits

    def expect(self, deadline: float) -> None:
        """Make sure that the watch looks up at ``deadline``."""
        if deadline < self._wakes_at:
            self._bell.put(None)

    def _run(self) -> None:
        while True:
            # Anything armed from here on rings; anything armed before is seen by the scan.
            self._wakes_at = inf
            self._wakes_at = next_at = self.scan(time.monotonic())
            try:
                self._bell.get(timeout=min(max(next_at - time.monotonic(), 0.0), 3600.0))
            except Empty:
                pass

    def scan(self, now: float) -> float:
        """Raise what is due at ``now``; returns the next deadline."""
        next_at = inf
        for slot in self._slots:
            if slot.hard_at <= now or slot.soft_at <= now:
                self._raise(slot, now)
            next_at = min(next_at, slot.soft_at, slot.hard_at)
        return next_at

    def _raise(self, slot: ThreadLimits, now: float) -> None:
        slot.is_being_raised = True
        # Looked at again: the slot disarms first and then looks at the flag, so one of the two sees the other.
        if slot.hard_at <= now:
            slot.soft_at = slot.hard_at = inf
            slot.has_raised = True
            _set_async_exc(slot.thread, TimeLimitExceeded)
        elif slot.soft_at <= now:
            slot.soft_at = inf
            slot.has_raised = True
            _set_async_exc(slot.thread, SoftTimeLimitExceeded)
        slot.is_being_raised = False


class _Settled(BaseException):
    """What a thread raises in itself to be sure that nothing else is pending."""


def _take_back_own_exception(thread: int) -> None:
    """Make sure that no exception is pending in this thread.

    The C API can delete a pending one too, but then leaves CPython 3.11 looking for it at every check, which costs time
    and hangs under a trace function. So it is replaced by one that is caught here.
    """
    try:
        _set_async_exc(thread, _Settled)
        while True:
            pass
    except _Settled:
        pass


def _set_async_exc(thread: int, error: type[BaseException]) -> None:
    """Raise ``error`` in ``thread``, between two of its bytecodes, soon. Source: CPython's C API, "Thread State"."""
    _PyThreadState_SetAsyncExc(thread, error)


_PyThreadState_SetAsyncExc = ctypes.pythonapi["PyThreadState_SetAsyncExc"]
_PyThreadState_SetAsyncExc.argtypes = (ctypes.c_ulong, ctypes.py_object)
_PyThreadState_SetAsyncExc.restype = ctypes.c_int


async def within(coroutine: Coroutine[Any, Any, Any], soft: float | None, hard: float | None) -> Any:
    """For coroutine slots: await the task's coroutine, interrupting what it waits for at its limits.

    At the soft limit ``SoftTimeLimitExceeded`` is raised where it waits. At the hard one it is cancelled, so that task
    groups and cleanups end as asyncio has it, and ``TimeLimitExceeded`` comes out.
    """
    if soft is None and hard is None:
        return await coroutine
    limits = _CoroutineLimits(soft, hard)
    try:
        return await _drive(coroutine, limits)
    except asyncio.CancelledError as error:
        if limits.is_over and hard is not None:
            raise TimeLimitExceeded(hard_message(hard)) from error
        raise
    finally:
        limits.disarm()


class _CoroutineLimits:
    """The timers of one coroutine. They run in its own loop: none fires after ``disarm``."""

    def __init__(self, soft: float | None, hard: float | None) -> None:
        loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._soft = soft
        self._is_soft_due = False
        self.is_over = False
        self._timers = [
            loop.call_later(limit, fire)
            for limit, fire in ((soft, self._on_soft), (hard, self._on_hard))
            if limit is not None
        ]

    def disarm(self) -> None:
        for timer in self._timers:
            timer.cancel()

    def translate(self, error: BaseException) -> BaseException:
        """What to raise where the coroutine waits, instead of ``error``."""
        if not self._is_soft_due or self.is_over or not isinstance(error, asyncio.CancelledError):
            return error
        self._is_soft_due = False
        if self._task is not None:
            self._task.uncancel()  # else the task's own asyncio.timeout() would believe in a cancellation from outside
        return SoftTimeLimitExceeded(soft_message(self._soft or 0.0))

    def _on_soft(self) -> None:
        self._is_soft_due = True
        self._cancel()

    def _on_hard(self) -> None:
        self.is_over = True
        self._cancel()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()


@types.coroutine
def _drive(coroutine: Coroutine[Any, Any, Any], limits: _CoroutineLimits) -> Generator[Any, Any, Any]:
    """``await coroutine``, with a say in what is thrown into it."""
    thrown: BaseException | None = None
    value: Any = None
    try:
        while True:
            waited_for = coroutine.send(value) if thrown is None else coroutine.throw(thrown)
            thrown = None
            try:
                value = yield waited_for
            except BaseException as error:  # noqa: BLE001 - passed on, outside of this block: no context
                thrown = limits.translate(error)
    except StopIteration as stop:
        return stop.value
