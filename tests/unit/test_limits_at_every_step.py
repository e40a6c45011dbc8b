"""A limit may strike between any two bytecodes: here it does, at each of them; an alarm, at each pair of them."""

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from types import FrameType, SimpleNamespace
from typing import Any

import pytest

from taskbus.errors import SoftTimeLimitExceeded, TimeLimitExceeded
from taskbus.worker.runner import limits

pytestmark = [
    pytest.mark.timeout(60, method="thread"),  # the other method needs SIGALRM for itself
    pytest.mark.skipif(sys.version_info[:2] == (3, 12), reason="tracing single bytecodes crashes CPython 3.12"),
]

SOFT, HARD = 1.0, 2.0
Strikes = dict[int, float]
"""At which step (bytecode of ``limits``) an alarm strikes, and what the clock says then."""


class Steps:
    """Counts the bytecodes that ``limits`` executes, and strikes where it is told to: ``strike`` gets the instant."""

    def __init__(self, strikes: Strikes, strike: Callable[[float], None]) -> None:
        self.count = 0
        self._strikes = strikes
        self._strike = strike

    def trace(self, frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code.co_filename != limits.__file__ or frame.f_code.co_name == "_on_alarm":
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            self.count += 1
            if self.count in self._strikes:
                self._strike(self._strikes[self.count])
        return self.trace


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """A clock that stands still until a strike moves it; no real alarm is set."""
    before = signal.getsignal(signal.SIGALRM)
    moved = SimpleNamespace(now=0.0)
    monkeypatch.setattr(limits, "time", SimpleNamespace(monotonic=lambda: moved.now, sleep=time.sleep))
    monkeypatch.setattr(signal, "setitimer", lambda *_: None)
    yield moved
    signal.signal(signal.SIGALRM, before)


def attempt(body: Callable[[], str], strikes: Strikes, clock: SimpleNamespace) -> tuple[str, int]:
    """How a call ended that was struck like this, and of how many steps it was. Fails if anything is left armed."""

    def ring(now: float) -> None:
        clock.now = now
        signal.raise_signal(signal.SIGALRM)

    clock.now = 0.0
    alarm, steps = limits.AlarmLimits(), Steps(strikes, ring)
    alarm.install()
    before = sys.gettrace()  # coverage's
    sys.settrace(steps.trace)
    try:
        ended = alarm.call(body, (), {}, SOFT, HARD)
    except (SoftTimeLimitExceeded, TimeLimitExceeded, KeyError) as error:
        ended = type(error).__name__
    finally:
        sys.settrace(before)
    ring(100.0)  # an alarm that was still on its way: it must find nothing to end
    return ended, steps.count


def returns() -> str:
    return "done"


def raises() -> str:
    raise KeyError


@pytest.mark.parametrize("body", [returns, raises])
def test_an_alarm_at_any_step_stays_inside_the_call(body: Callable[[], str], clock: SimpleNamespace) -> None:
    _, steps = attempt(body, {}, clock)
    for now in (SOFT, HARD):
        ends = {attempt(body, {step: now}, clock)[0] for step in range(1, steps + 1)}
        assert ends <= {"done", "KeyError", "SoftTimeLimitExceeded", "TimeLimitExceeded"}
        assert len(ends) > 1


@pytest.mark.parametrize("body", [returns, raises])
def test_two_alarms_at_any_two_steps_stay_inside_the_call(body: Callable[[], str], clock: SimpleNamespace) -> None:
    _, steps = attempt(body, {}, clock)
    ends = {
        attempt(body, {first: SOFT, second: HARD}, clock)[0]
        for first in range(1, steps + 1)
        for second in range(first + 1, steps + 40)
    }
    assert {"SoftTimeLimitExceeded", "TimeLimitExceeded"} < ends


class Striker:
    """A thread that does what the watch does, when it is told to and all at once."""

    def __init__(self, watch: limits.Watch) -> None:
        self._watch = watch
        self._orders: SimpleQueue[float | None] = SimpleQueue()
        self._done: SimpleQueue[None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def strike(self, now: float) -> None:
        self._orders.put(now)
        self._done.get()

    def end(self) -> None:
        self._orders.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (now := self._orders.get()) is not None:
            self._watch.scan(now)
            self._done.put(None)


@pytest.mark.parametrize("body", [returns, raises])
@pytest.mark.parametrize("now", [SOFT, HARD])
def test_an_exception_raised_in_a_thread_at_any_step_stays_inside_the_call(
    body: Callable[[], str], now: float, clock: SimpleNamespace
) -> None:
    watch = limits.Watch()
    slot, striker = watch.slot(), Striker(watch)

    def attempt_in_thread(step: int) -> tuple[str, int]:
        steps = Steps({step: now}, striker.strike)
        sys.settrace(steps.trace)
        try:
            ended = slot.call(body, (), {}, SOFT, HARD)
        except (SoftTimeLimitExceeded, TimeLimitExceeded, KeyError) as error:
            ended = type(error).__name__
        finally:
            sys.settrace(None)
        striker.strike(100.0)  # too late: it must find nothing armed, and nothing may be pending in this thread
        return ended, sum(1 for _ in range(steps.count))

    try:
        _, steps = attempt_in_thread(0)
        ends = {attempt_in_thread(step)[0] for step in range(1, steps + 1)}
    finally:
        striker.end()
    assert len(ends) > 1
