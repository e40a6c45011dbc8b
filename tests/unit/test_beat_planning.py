"""What is sent of a schedule at an instant, as policies say; no store, no broker."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskbus.beat.planning import decide, first_standing, from_now_on
from taskbus.schedule.cron import cron
from taskbus.schedule.spec import to_text
from taskbus.schedule.timetable import Timetable, at, every
from taskbus.store.schedules import CatchUp, Overlap, Row, Schedule

T = 1_800_000_000.0
SECOND = every(1)


def row(timetable: Timetable = SECOND, **fields: Any) -> Row:
    schedule = Schedule("name", "task", b"", "default", 0, to_text(timetable))._replace(**fields)
    return Row(schedule, first_standing(timetable, T), 1)


def sent(row: Row, now: float, timetable: Timetable = SECOND, *, is_running: bool = False) -> list[float]:
    return [each - T for each in decide(row, timetable, now, is_running=is_running).send]


def test_nothing_is_sent_before_its_time_and_then_it_is() -> None:
    made = row()
    decision = decide(made, SECOND, T + 0.9, is_running=False)
    assert decision.send == () and decision.row.due_at == T + 1
    decision = decide(made, SECOND, T + 1.25, is_running=False)
    assert decision.send == (T + 1,)
    standing = decision.row.standing
    assert (standing.cursor_at, standing.next_at, standing.sent, standing.lateness) == (T + 1, T + 2, 1, 0.25)
    assert decide(decision.row, SECOND, T + 1.25, is_running=False).send == ()


def test_after_ten_silent_seconds_each_policy_makes_up_for_what_it_says() -> None:
    now = T + 10.5
    assert sent(row(catch_up=CatchUp.ALL), now) == list(range(1, 11))
    assert sent(row(catch_up=CatchUp.ALL, max_catch_up=3), now) == [8, 9, 10]
    assert sent(row(catch_up=CatchUp.LATEST), now) == [10]
    assert sent(row(catch_up=CatchUp.NONE), now) == [10]  # which is not missed yet
    hourly = every(3600)
    late = T + 3 * 3600 + 61
    assert sent(row(hourly, catch_up=CatchUp.NONE), late, hourly) == []
    assert sent(row(hourly, catch_up=CatchUp.LATEST), late, hourly) == [3 * 3600]
    decision = decide(row(hourly, catch_up=CatchUp.NONE), hourly, late, is_running=False)
    assert decision.row.standing.missed == 3 and decision.row.standing.next_at == T + 4 * 3600


def test_what_was_made_up_for_is_not_missed() -> None:
    decision = decide(row(catch_up=CatchUp.LATEST), SECOND, T + 10.5, is_running=False)
    assert (decision.row.standing.missed, decision.row.standing.sent) == (9, 1)


def test_years_of_silence_are_not_gone_through_second_by_second() -> None:
    now = T + 3 * 365 * 86_400 + 0.5
    decision = decide(row(catch_up=CatchUp.ALL, max_catch_up=5), SECOND, now, is_running=False)
    assert [now - each for each in decision.send] == [4.5, 3.5, 2.5, 1.5, 0.5]
    assert decision.row.standing.missed == pytest.approx(3 * 365 * 86_400, rel=1e-3)
    rare = cron("*/10 * 1 1 *")
    decision = decide(row(rare, catch_up=CatchUp.ALL, max_catch_up=4), rare, now, is_running=False)
    assert len(decision.send) == 4 and decision.row.standing.next_at == rare.next_after(now)


def test_skip_leaves_out_what_meets_a_run_under_way() -> None:
    made = row(overlap=Overlap.SKIP)
    decision = decide(made, SECOND, T + 1, is_running=True)
    assert decision.send == () and decision.row.standing.skipped == 1 and decision.row.due_at == T + 2
    assert decide(decision.row, SECOND, T + 2, is_running=False).send == (T + 2,)


def test_queue_one_lets_one_wait_and_leaves_out_the_others() -> None:
    slow = every(10)
    now_row = row(slow, overlap=Overlap.QUEUE_ONE)
    for now in (T + 10, T + 20, T + 30):
        decision = decide(now_row, slow, now, is_running=True)
        assert decision.send == ()
        now_row = decision.row
    assert (now_row.standing.waiting_at, now_row.standing.skipped) == (T + 10, 2)
    assert now_row.due_at == T + 31
    decision = decide(now_row, slow, T + 31, is_running=False)
    assert decision.send == (T + 10,) and decision.row.standing.waiting_at is None
    assert decision.row.due_at == T + 40


def test_a_single_instant_is_sent_once_and_never_looked_at_again() -> None:
    once = at(T + 5)
    decision = decide(row(once), once, T + 6, is_running=False)
    assert decision.send == (T + 5,) and decision.row.due_at is None
    assert decide(decision.row, once, T + 1e6, is_running=False).send == ()


def test_jitter_puts_off_the_sending_and_not_the_name() -> None:
    timetable = every(60, jitter=30)
    made = row(timetable)
    due_at = timetable.due_at("name", T + 60)
    assert due_at > T + 60
    assert sent(made, due_at - 0.001, timetable) == []
    assert sent(made, due_at, timetable) == [60]


def test_a_clock_that_goes_back_sends_nothing_twice() -> None:
    moved = decide(row(), SECOND, T + 3600, is_running=False).row
    for now in (T, T + 1800, T + 3600):
        assert decide(moved, SECOND, now, is_running=False).send == ()
    assert sent(moved, T + 3601) == [3601]


def test_after_a_pause_nothing_is_made_up_for() -> None:
    paused = row(catch_up=CatchUp.ALL)
    standing = from_now_on(paused.standing, SECOND, T + 100.5, is_new=False)
    assert sent(paused._replace(standing=standing), T + 101.2) == [101]


@settings(deadline=None)
@given(st.lists(st.floats(0, 40), min_size=1, max_size=30), st.sampled_from(list(CatchUp)), st.integers(1, 40))
def test_whenever_it_is_looked_nothing_is_sent_twice_and_all_that_is_due_is_accounted_for(
    pauses: list[float], catch_up: CatchUp, bound: int
) -> None:
    now, seen = T, list[float]()
    now_row = row(catch_up=catch_up, max_catch_up=bound)
    for pause in pauses:
        now += pause
        decision = decide(now_row, SECOND, now, is_running=False)
        seen += decision.send
        now_row = decision.row
    assert seen == sorted(set(seen))
    standing = now_row.standing
    assert standing.sent == len(seen) and standing.sent + standing.missed == int(now - T)
    if catch_up is CatchUp.ALL and bound == 40:
        assert standing.missed == 0
