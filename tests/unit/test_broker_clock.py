"""The broker's time is told between round trips, and while the broker is silent."""

import pytest

from taskbus.broker.transports import broker_clock
from taskbus.broker.transports.broker_clock import GOOD_FOR, SILENT_FOR, BrokerClock
from taskbus.clock import wall_clock
from taskbus.errors import BrokerError
from taskbus.testing.clock import MovableClock


class FarClock:
    """A broker whose clock is an hour ahead of ``elapsed``, when it answers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.elapsed, self.asked, self.answers = 1000.0, 0, True
        monkeypatch.setattr(broker_clock, "_elapsed", lambda: self.elapsed)

    def ask(self) -> float:
        self.asked += 1
        if not self.answers:
            raise BrokerError("nobody there")
        self.elapsed += 0.2
        return self.elapsed + 3600


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> FarClock:
    return FarClock(monkeypatch)


def test_the_broker_is_asked_once_in_a_while(far: FarClock) -> None:
    clock = BrokerClock(wall_clock, far.ask)
    assert clock.now() == pytest.approx(1000.2 + 3600)
    far.elapsed += GOOD_FOR / 2
    assert clock.now() == pytest.approx(1000.2 + GOOD_FOR / 2 + 3600)
    assert far.asked == 1
    far.elapsed += GOOD_FOR
    clock.now()
    assert far.asked == 2


def test_a_clock_of_the_callers_own_is_obeyed(far: FarClock) -> None:
    mine = MovableClock()
    clock = BrokerClock(mine, far.ask)
    assert clock.now() == mine()
    assert far.asked == 0


def test_a_silent_broker_has_the_time_it_was_last_known_to_have(far: FarClock) -> None:
    clock = BrokerClock(wall_clock, far.ask)
    clock.now()
    far.answers = False
    far.elapsed += GOOD_FOR + 1
    assert clock.now() == pytest.approx(far.elapsed + 3600)
    assert far.asked == 2


def test_a_broker_that_never_answered_has_the_local_time_and_is_not_asked_at_every_turn(far: FarClock) -> None:
    far.answers = False
    clock = BrokerClock(wall_clock, far.ask)
    assert [abs(clock.now() - wall_clock()) < 10 for _ in range(3)] == [True] * 3
    assert far.asked == 1
    far.elapsed += SILENT_FOR
    far.answers = True
    assert clock.now() == pytest.approx(far.elapsed + 3600)


def test_a_new_connection_is_asked_at_once(far: FarClock) -> None:
    far.answers = False
    clock = BrokerClock(wall_clock, far.ask)
    clock.now()
    far.answers = True
    clock.forget()
    assert clock.now() == pytest.approx(far.elapsed + 3600)
