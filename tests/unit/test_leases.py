"""The two clocks of a worker: renewals go on whatever happens, sweeps leave the line to others."""

from typing import cast

import pytest

from taskbus.broker.consumer import Consumer
from taskbus.errors import BrokerError, LeaseLost
from taskbus.worker.leases import Leases

LEASE, SWEEP = 90.0, 5.0


class Line:
    """A consumer whose every act takes ``takes`` seconds of a clock of its own."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.takes = 0.0
        self.done: list[str] = []
        self.fails: Exception | None = None

    def clock(self) -> float:
        return self.now

    def renew(self) -> None:
        self._do("renew")

    def reap(self) -> int:
        self._do("reap")
        return 0

    def _do(self, act: str) -> None:
        self.now += self.takes
        self.done.append(act)
        if self.fails is not None:
            raise self.fails


@pytest.fixture
def line() -> Line:
    return Line()


@pytest.fixture
def leases(line: Line) -> Leases:
    return Leases(cast(Consumer, line), LEASE, SWEEP, line.clock)


def test_a_sweep_is_counted_from_the_end_of_the_last(line: Line, leases: Leases) -> None:
    line.now += SWEEP
    line.takes = 2 * SWEEP
    assert leases.tick(line.now)
    line.now += SWEEP  # the store takes its time too
    leases.rest()
    assert leases.next_at - line.now >= 0.8 * SWEEP
    assert not leases.tick(line.now)
    assert line.done == ["reap"]
    line.now += SWEEP
    line.takes = 0.0
    leases.tick(line.now)
    assert line.done.count("reap") == 2


def test_a_sweep_that_fails_is_counted_from_its_end_too(line: Line, leases: Leases) -> None:
    line.now += SWEEP
    line.takes = 2 * SWEEP
    line.fails = BrokerError("no answer")
    assert not leases.tick(line.now)
    assert leases.next_at - line.now >= 0.8 * SWEEP


def test_who_stops_leaves_sweeps_to_others_and_goes_on_renewing(line: Line, leases: Leases) -> None:
    leases.stop_sweeping()
    line.now += 2 * SWEEP
    assert leases.next_at > line.now
    assert not leases.tick(line.now)
    line.now += LEASE / 3
    assert not leases.tick(line.now)
    assert line.done == ["renew"]


def test_a_lost_lease_is_told_of_before_anything_is_swept(line: Line, leases: Leases) -> None:
    line.now += LEASE
    line.fails = LeaseLost("reaped")
    with pytest.raises(LeaseLost):
        leases.tick(line.now)
    assert line.done == ["renew"]
