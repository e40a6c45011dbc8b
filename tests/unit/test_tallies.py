"""What a worker counts and samples: nothing twice, nothing lost, and the same as a ledger that is kept beside it."""

import random
from collections import Counter
from typing import Any

import pytest

from taskbus.broker.delivery import Delivery, Settlement
from taskbus.config import Config
from taskbus.message import Message
from taskbus.monitor.report import Total, unpack_totals
from taskbus.monitor.tallies import MAX_CELLS, TOLD_ERRORS, Tallies
from taskbus.outcome import Crashed, Dead, Failure, Outcome, Reason, Released, Replaced, Retrying, Revoked, Succeeded
from taskbus.worker.options import TaskSpec
from taskbus.worker.settlement import Ended, Held, settlement
from taskbus.worker.tallying import MAX_WAITING, Tally

NOW = 1_700_000_040.0  # in the middle of a minute
ERROR = Failure("shop.Broken", "it broke")


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def held(task: str = "shop.pay", number: int = 0, **about: Any) -> Held:
    message = Message(f"id-{number}", task, b"\x92\x90\x80", sent_at=NOW - 2, **about)
    return Held(Delivery(number, "default", b"", "", 0, 1), message, TaskSpec())


def settle(tally: Tally, *ended: Ended, stale: tuple[int, ...] = ()) -> None:
    tally.settled(ended, [settlement(each, "me", NOW, Config()) for each in ended], stale)


def told(tallies: Tallies) -> dict[str, Total]:
    """What is counted of each task, over all minutes that were not posted."""
    totals = [total for packed in tallies.minutes().values() for total in unpack_totals(packed)]
    assert len(totals) == len({total.task for total in totals})
    return {total.task: total for total in totals}


OUTCOMES: list[tuple[Outcome, str]] = [
    (Succeeded(b"\xc0"), "succeeded"),
    (Replaced((), ()), "succeeded"),
    (Retrying(5.0, ERROR), "retried"),
    (Dead(Reason.RETRIES_EXHAUSTED, ERROR), "failed"),
    (Dead(Reason.REJECTED, ERROR), "rejected"),
    (Dead(Reason.EXPIRED, ERROR), "expired"),
    (Revoked(ERROR), "revoked"),
    (Crashed("signal 9"), "crashed"),
    (Released(), "given_back"),
]


@pytest.mark.parametrize(("outcome", "name"), OUTCOMES, ids=[f"{type(o).__name__}-{name}" for o, name in OUTCOMES])
def test_each_delivery_that_ends_is_one_of_the_counts(outcome: Outcome, name: str) -> None:
    tally = Tally(Tallies(), 50, Clock())
    each = held()
    tally.received([each], ())
    if isinstance(outcome, Replaced):
        tally.settled([Ended(each, outcome, NOW, 0.5)], [Settlement(each.delivery)], ())
    else:
        settle(tally, Ended(each, outcome, NOW, 0.5))
    counts = told(tally.tallies)["shop.pay"].counts
    started = {} if name == "given_back" else {"started": 1}
    assert counts == {"received": 1, name: 1, **started}


def test_a_message_whose_last_crash_buries_it_has_failed_and_names_the_cause() -> None:
    tally = Tally(Tallies(), 50, Clock())
    each = held()
    each = Held(each.delivery._replace(crashes=2), each.message, each.spec)
    settle(tally, Ended(each, Crashed("signal 11"), NOW, 0.5))
    total = told(tally.tallies)["shop.pay"]
    assert (total.counts["failed"], total.errors) == (1, {"taskbus.worker.RunnerDied": 1})
    (fact,) = tally.take(10)
    assert isinstance(fact.outcome, Dead)
    assert fact.outcome.reason is Reason.POISON


def test_what_another_worker_has_by_now_is_not_counted_as_done() -> None:
    tally = Tally(Tallies(), 50, Clock())
    settle(tally, Ended(held(number=7), Succeeded(None), NOW, 0.5), stale=(7,))
    assert told(tally.tallies)["shop.pay"].counts == {"given_back": 1}
    assert tally.take(10) == []


def test_waiting_counts_from_when_a_task_could_start() -> None:
    tally = Tally(Tallies(), 50, Clock())
    settle(tally, Ended(held(), Succeeded(None), NOW, 0.25), Ended(held(due_at=NOW - 1), Succeeded(None), NOW, 0.25))
    settle(tally, Ended(held(due_at=NOW + 9), Succeeded(None), NOW, 0.25))  # clocks of two hosts
    total = told(tally.tallies)["shop.pay"]
    assert (total.waits.total, total.waits.sum) == (3, 3.0)
    assert (total.runs.total, total.runs.sum) == (3, 0.75)


def test_a_minute_is_told_until_it_was_posted_and_again_only_when_it_has_changed() -> None:
    clock = Clock()
    tallies = Tallies()
    tally = Tally(tallies, 50, clock)
    settle(tally, Ended(held(), Succeeded(None), NOW, 0.5))
    first = tallies.minutes()
    assert tallies.minutes() == first
    tallies.posted(first)
    assert tallies.minutes() == {}
    settle(tally, Ended(held(), Succeeded(None), NOW, 0.5))
    second = tallies.minutes()
    (minute,) = second
    assert unpack_totals(second[minute])[0].counts["succeeded"] == 2  # of the whole minute: it replaces the first
    clock.now += 60
    settle(tally, Ended(held(), Succeeded(None), NOW, 0.5))
    assert sorted(tallies.minutes()) == [minute, minute + 1]
    tallies.posted({minute: second[minute]})
    assert sorted(tallies.minutes()) == [minute + 1]


def test_a_minute_that_grew_while_it_was_posted_is_told_again() -> None:
    clock = Clock()
    tallies = Tallies()
    tally = Tally(tallies, 50, clock)
    settle(tally, Ended(held(), Succeeded(None), NOW, 0.5))
    posted = tallies.minutes()
    settle(tally, Ended(held(), Succeeded(None), NOW, 0.5))
    clock.now += 60
    settle(tally, Ended(held(), Succeeded(None), NOW, 0.5))
    tallies.posted(posted)
    (minute,) = posted
    assert unpack_totals(tallies.minutes()[minute])[0].counts["succeeded"] == 2


def test_a_clock_that_is_set_back_takes_nothing_back() -> None:
    clock = Clock()
    tallies = Tallies()
    tally = Tally(tallies, 50, clock)
    settle(tally, Ended(held(), Succeeded(None), NOW, 0.5))
    tallies.posted(tallies.minutes())
    clock.now -= 3600
    settle(tally, Ended(held(), Succeeded(None), NOW, 0.5))
    (minute,) = tallies.minutes()
    assert minute == NOW // 60
    assert told(tallies)["shop.pay"].counts["succeeded"] == 2


def test_totals_since_the_start_hold_every_minute_posted_or_not() -> None:
    clock = Clock()
    tallies = Tallies()
    tally = Tally(tallies, 50, clock)
    for _ in range(5):
        settle(tally, Ended(held(), Succeeded(None), NOW, 0.5), Ended(held(), Retrying(1, ERROR), NOW, 0.5))
        tallies.posted(tallies.minutes())
        clock.now += 60
    (total,) = tallies.totals()
    assert total.counts == {"started": 10, "succeeded": 5, "retried": 5}
    assert (total.runs.total, total.errors) == (10, {"shop.Broken": 5})


def test_names_without_end_are_bounded_and_still_counted() -> None:
    tally = Tally(Tallies(), 50, Clock())
    for number in range(MAX_CELLS + 100):
        tally.received([held(f"made.up.{number}")], ())
    totals = told(tally.tallies)
    assert len(totals) == MAX_CELLS + 1
    assert totals[""].counts["received"] == 100
    for number in range(2 * TOLD_ERRORS):
        settle(tally, Ended(held("shop.pay"), Retrying(1, Failure(f"Error{number}", "")), NOW, 0.5))
    errors = told(tally.tallies)[""].errors
    assert len(errors) == TOLD_ERRORS + 1
    assert sum(errors.values()) == 2 * TOLD_ERRORS


def test_weights_of_samples_add_up_to_what_has_happened_whatever_the_rate() -> None:
    dice = random.Random(7)
    for rate in (0, 1, 50):
        clock = Clock()
        tally = Tally(Tallies(), rate, clock)
        ledger: Counter[str] = Counter()
        weights: Counter[str] = Counter()
        for _ in range(200):
            batch = [Ended(held(f"task.{dice.randrange(4)}"), Succeeded(None), NOW, 0.1) for _ in range(20)]
            settle(tally, *batch)
            ledger.update(each.held.message.task for each in batch if each.held.message is not None)
            clock.now += dice.choice((0, 0, 7))
            if dice.random() < 0.1:
                tally.tick(float("inf"))
        tally.tick(float("inf"))
        facts = tally.take(100_000)
        for fact in facts:
            assert fact.ended.held.message is not None
            weights[fact.ended.held.message.task] += fact.weight
        assert weights == ledger
        assert len(facts) < 1000


def test_failures_are_recorded_in_full_until_there_is_no_room_and_then_are_counted_as_dropped() -> None:
    tally = Tally(Tallies(), 0, Clock())
    for number in range(MAX_WAITING + 5):
        settle(tally, Ended(held(number=number), Retrying(1, ERROR), NOW, 0.1))
    assert tally.dropped == 5
    assert len(tally.take(MAX_WAITING * 2)) == MAX_WAITING
    assert told(tally.tallies)["shop.pay"].counts["retried"] == MAX_WAITING + 5
    settle(tally, Ended(held(), Retrying(1, ERROR), NOW, 0.1))
    assert len(tally) == 1
