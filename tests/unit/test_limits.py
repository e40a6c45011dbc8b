"""Time limits in the main thread and in thread slots: they end the task they are for, and never its neighbour."""

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from taskbus.errors import SoftTimeLimitExceeded, TimeLimitExceeded
from taskbus.worker.runner.limits import AlarmLimits, Limits, ThreadLimits, Watch

pytestmark = pytest.mark.timeout(60, method="thread")  # the other method needs SIGALRM for itself

RACES = 60
LIMIT = 0.004

Run = Callable[..., Any]


def in_main_thread() -> Iterator[tuple[Run, Limits]]:
    yield lambda function, *args: function(*args), AlarmLimits()


def in_thread() -> Iterator[tuple[Run, Limits]]:
    watch = Watch()
    limits = watch.slot()
    watch.start()
    with ThreadPoolExecutor(1) as pool:
        yield lambda function, *args: pool.submit(function, *args).result(), limits


@pytest.fixture(params=[in_main_thread, in_thread])
def slot(request: pytest.FixtureRequest) -> Iterator[tuple[Run, Limits]]:
    """A way to run a function in a slot, and that slot's limits."""
    yield from request.param()


@pytest.fixture(autouse=True)
def untraced() -> Iterator[None]:
    """Without coverage, in these threads: a limit that strikes inside of it leaves its lock taken for ever."""
    here, elsewhere = sys.gettrace(), threading.gettrace()
    sys.settrace(None)
    threading.settrace(None)  # type: ignore[arg-type]
    yield
    threading.settrace(elsewhere)  # type: ignore[arg-type]
    sys.settrace(here)


def spin(until: Callable[[], bool] = lambda: False) -> str:
    while not until():
        pass
    return "done"


def spin_for(seconds: float) -> str:
    end = time.monotonic() + seconds
    return spin(lambda: time.monotonic() >= end)


def spin_briefly() -> str:
    return spin_for(0.0005)


@pytest.fixture(autouse=True)
def frequent_switches() -> Iterator[None]:
    """Let threads take turns every 50 us, so that every order of their steps happens in a short test."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-5)
    yield
    sys.setswitchinterval(before)


def call(slot: tuple[Run, Limits], function: Callable[..., Any], soft: float | None, hard: float | None) -> Any:
    run, limits = slot
    return run(limits.call, function, (), {}, soft, hard)


def test_a_task_within_its_limits_returns(slot: tuple[Run, Limits]) -> None:
    assert call(slot, lambda: "done", 10, 20) == "done"
    assert call(slot, lambda: "done", None, None) == "done"


def test_a_busy_loop_is_ended_at_the_hard_limit(slot: tuple[Run, Limits]) -> None:
    begun = time.monotonic()
    with pytest.raises(TimeLimitExceeded):
        call(slot, spin, None, 0.05)
    assert 0.05 <= time.monotonic() - begun < 1


def test_the_soft_limit_comes_first_and_can_be_caught(slot: tuple[Run, Limits]) -> None:
    def clean_up() -> str:
        try:
            return spin()
        except SoftTimeLimitExceeded:
            return "cleaned up"

    assert call(slot, clean_up, 0.03, 5) == "cleaned up"
    assert call(slot, lambda: spin_for(0.05), None, None) == "done"


def test_the_hard_limit_follows_where_the_soft_one_was_ignored(slot: tuple[Run, Limits]) -> None:
    caught = []

    def ignore() -> None:
        while True:
            try:
                spin()
            except Exception as error:
                caught.append(type(error))

    with pytest.raises(TimeLimitExceeded):
        call(slot, ignore, 0.03, 0.06)
    assert caught == [SoftTimeLimitExceeded]


def test_limits_that_strike_together_stay_in_their_task(slot: tuple[Run, Limits]) -> None:
    def cling() -> None:
        try:
            spin()
        finally:
            spin_for(0.002)

    for _ in range(RACES):
        with pytest.raises((SoftTimeLimitExceeded, TimeLimitExceeded)):
            call(slot, cling, LIMIT, LIMIT + 0.0005)
        assert call(slot, lambda: spin_for(0.002), None, None) == "done"


@pytest.mark.parametrize("offset", [-0.0002, -0.00005, 0.0, 0.00005])
def test_a_task_that_ends_right_at_its_limit_never_hits_its_neighbour(slot: tuple[Run, Limits], offset: float) -> None:
    run, limits = slot
    hits = run(race, limits, offset)
    assert 0 <= hits <= RACES


def race(limits: Limits, offset: float) -> int:
    """Let tasks end at their limit, each followed by an innocent one in the same thread; returns how many were hit."""
    hits = 0
    for _ in range(RACES):
        try:
            assert limits.call(spin_for, (LIMIT + offset,), {}, None, LIMIT) == "done"
        except TimeLimitExceeded:
            hits += 1
        # Neither the code between two tasks nor the next task, limited or not, may be struck by what was for the last.
        spin_for(0.001)
        assert limits.call(spin_for, (0.001,), {}, None, 10.0) == "done"
    return hits


def test_many_threads_are_watched_at_once_and_apart() -> None:
    limits = (30.0, 0.01)
    watch = Watch()
    slots = [watch.slot() for _ in range(8)]
    watch.start()

    def attempt(number: int) -> list[str]:
        ended = []
        for _ in range(10):
            try:
                ended.append(slots[number].call(spin if number % 2 else spin_briefly, (), {}, None, limits[number % 2]))
            except TimeLimitExceeded:
                ended.append("limit")
        return ended

    with ThreadPoolExecutor(8) as pool:
        ended = list(pool.map(attempt, range(8)))
    assert ended == [["done"] * 10, ["limit"] * 10] * 4


def test_an_alarm_interrupts_a_system_call() -> None:
    begun = time.monotonic()
    with pytest.raises(TimeLimitExceeded, match=r"time_limit of 0.05 s"):
        AlarmLimits().call(time.sleep, (60,), {}, None, 0.05)
    with pytest.raises(TimeLimitExceeded):
        AlarmLimits().call(threading.Event().wait, (60,), {}, None, 0.05)
    assert time.monotonic() - begun < 5


def test_an_alarm_of_the_tasks_own_does_not_end_it_early() -> None:
    def ring() -> str:
        signal.raise_signal(signal.SIGALRM)
        return "done"

    assert AlarmLimits().call(ring, (), {}, 5, 10) == "done"


def test_threads_of_no_slot_are_left_alone() -> None:
    limits = ThreadLimits(Watch())
    assert limits.call(lambda: "done", (), {}, None, None) == "done"
