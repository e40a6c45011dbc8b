"""When a breaker opens, whom it lets through, and when it closes; by a clock that is moved by hand."""

import threading
from collections.abc import Callable, Iterator

import pytest

from taskbus.errors import BrokerError, ConfigError, StoreError
from taskbus.testing.clock import MovableClock
from taskbus.web.breaker import EVERY, SLOW, Breaker, Breakers


class Bench:
    """A server that hangs, refuses or answers; ``asked`` counts."""

    def __init__(self) -> None:
        self.clock = MovableClock(100.0)
        self.breaker = Breaker("redis at here", self.clock)
        self.asked = 0

    def hang(self) -> str:
        self.asked += 1
        self.clock.advance(SLOW)
        raise StoreError("no answer in 5 s")

    def answer(self) -> str:
        self.asked += 1
        return "here"

    def call(self, ask: Callable[[], str]) -> str:
        return self.breaker.call(ask, StoreError)


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    with pytest.raises(StoreError, match=r"^no answer in 5 s$"):
        bench.call(bench.hang)
    return bench


def test_after_a_call_in_vain_others_fail_at_once_as_what_they_ask(bench: Bench) -> None:
    for kind in (StoreError, BrokerError):
        with pytest.raises(kind, match=r"no answer in 5 s \(it is asked again every second\)"):
            bench.breaker.call(bench.answer, kind)
    assert bench.asked == 1


def test_each_second_one_call_is_let_through_and_its_answer_closes_it(bench: Bench) -> None:
    bench.clock.advance(EVERY)
    with pytest.raises(StoreError, match=r"^no answer in 5 s$"):
        bench.call(bench.hang)
    with pytest.raises(StoreError, match="asked again"):
        bench.call(bench.answer)
    bench.clock.advance(EVERY)
    assert bench.call(bench.answer) == bench.call(bench.answer) == "here"
    assert bench.asked == 4


def test_while_one_call_tries_all_others_fail_but_those_it_makes_itself(bench: Bench) -> None:
    refused: list[str] = []

    def other() -> None:
        try:
            bench.call(bench.answer)
        except StoreError as error:
            refused.append(str(error))

    def trial() -> str:
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        return bench.breaker.call(bench.answer, StoreError, is_proof=False)

    bench.clock.advance(EVERY)
    assert bench.call(trial) == "here"
    assert len(refused) == 1 and bench.asked == 2


def test_what_answers_from_memory_or_fails_otherwise_proves_nothing(bench: Bench) -> None:
    def wrong() -> str:
        raise ConfigError("not asked at all")

    bench.clock.advance(EVERY)
    assert bench.breaker.call(bench.answer, StoreError, is_proof=False) == "here"
    with pytest.raises(ConfigError):
        bench.call(wrong)
    with pytest.raises(StoreError, match=r"^no answer in 5 s$"):
        bench.call(bench.hang)
    with pytest.raises(StoreError, match="asked again"):
        bench.call(bench.answer)


def test_who_refuses_at_once_does_not_hang() -> None:
    bench = Bench()

    def refuse() -> str:
        bench.asked += 1
        raise StoreError("connection refused")

    for _ in range(3):
        with pytest.raises(StoreError, match=r"^connection refused$"):
            bench.call(refuse)
    assert bench.asked == 3


class Pages:
    """A store whose method reads as it is gone through."""

    def __init__(self) -> None:
        self.closed = False

    def rows(self) -> Iterator[int]:
        yield 1
        raise StoreError("lost")

    def close(self) -> None:
        self.closed = True


def test_what_stands_for_a_store_does_what_the_store_does() -> None:
    pages = Pages()
    guarded = Breakers().guard(pages, "redis://:secret@here:1/0", StoreError)
    assert guarded is not pages
    rows = guarded.rows()
    assert next(rows) == 1
    with pytest.raises(StoreError, match="lost"):
        next(rows)
    guarded.close()
    assert pages.closed


def test_one_server_has_one_breaker_and_a_file_none() -> None:
    breakers = Breakers()
    assert breakers.of("redis://:a@here:1/0") is breakers.of("redis://here:1/1?x=y")
    assert breakers.of("redis://here:1/0") is not breakers.of("redis://here:2/0")
    assert breakers.of("sqlite:///a.db") is None and breakers.of("memory://") is None


@pytest.mark.parametrize("password", ["hunter/2", "hunter?2", "hunter#2", "[hunter2", "hunter@2"])
def test_a_server_is_called_by_its_host_whatever_its_password_has_in_it(password: str) -> None:
    breakers = Breakers()
    breaker = breakers.of(f"redis://ann:{password}@db:6379/0")
    assert breaker is not None and breaker is breakers.of("redis://bob:other@db:6379/1")
    assert breaker._place == "redis at db:6379"
