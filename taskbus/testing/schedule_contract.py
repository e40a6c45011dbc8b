"""What every store of schedules must do, as tests: subclass ``ScheduleContract`` and say how yours is opened.

::

    class TestMine(ScheduleContract):
        def open(self, folder: Path, clock: Clock) -> ScheduleStore:
            return open_schedules(f"mine://{folder}", clock)

No method may be overridden to pass.
"""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from taskbus.clock import Clock
from taskbus.message import Sealed
from taskbus.store.schedules import (
    REMOVED_FOR,
    Advance,
    CatchUp,
    Origin,
    Overlap,
    Row,
    Schedule,
    ScheduleStore,
    Standing,
    Tick,
)
from taskbus.testing.clock import START, MovableClock
from taskbus.testing.records import DEADLINE


def schedule(name: str = "nightly", **fields: object) -> Schedule:
    """A schedule with a message of bytes that no text could be."""
    return Schedule(name, "shop.report", b"\x00\xff\x80wire", "default", 3, '{"kind":"every"}')._replace(**fields)  # type: ignore[arg-type]


def row(name: str = "nightly", version: int = 0, **standing: object) -> Row:
    return Row(schedule(name), Standing(since=START)._replace(**standing), version, START + 60)  # type: ignore[arg-type]


def tick(name: str = "nightly", nominal: float = START, **fields: object) -> Tick:
    sealed = Sealed("default", 3, f"{name} {nominal}".encode() + b"\xff")
    made = Tick(name, nominal, f"task-{name}-{nominal}", START + 0.125, START + 500, sealed=sealed)
    return made._replace(**fields)  # type: ignore[arg-type]


class ScheduleContract:
    """See the module's docstring."""

    def open(self, folder: Path, clock: Clock) -> ScheduleStore:
        raise NotImplementedError

    @pytest.fixture
    def clock(self) -> MovableClock:
        return MovableClock()

    @pytest.fixture
    def store(self, tmp_path: Path, clock: MovableClock) -> Iterator[ScheduleStore]:
        with closing(self.open(tmp_path, clock)) as store:
            yield store

    # --- rows ---

    def test_a_row_comes_back_as_it_was_saved(self, store: ScheduleStore) -> None:
        given = row(next_at=START + 0.1, is_paused=True, last_task_id="x", worst=1e-7)
        given = given._replace(
            schedule=schedule(catch_up=CatchUp.ALL, overlap=Overlap.QUEUE_ONE, origin=Origin.CODE, owner="shop")
        )
        assert store.save(given)
        found = store.read(["nightly", "unknown"])
        assert list(found) == ["nightly"]
        assert found["nightly"]._replace(revision=0) == given._replace(version=1)
        assert type(found["nightly"].schedule.overlap) is Overlap
        assert store.read([]) == {}

    def test_a_row_that_comes_up_never_again(self, store: ScheduleStore) -> None:
        assert store.save(row()._replace(due_at=None))
        assert store.read(["nightly"])["nightly"].due_at is None

    def test_who_has_seen_another_version_changes_nothing(self, store: ScheduleStore) -> None:
        assert store.save(row())
        assert not store.save(row(sent=5))
        assert not store.save(row(version=2, sent=5))
        assert store.read(["nightly"])["nightly"].standing.sent == 0
        assert store.save(row(version=1, sent=5))
        assert store.read(["nightly"])["nightly"].version == 2

    def test_rows_are_listed_by_name(self, store: ScheduleStore) -> None:
        longest = "夜" * 200
        for name in ("b", "a", longest, "ä", "a b", "a ", "B"):
            assert store.save(row(name))
        found = [each.schedule.name for each in store.page(after="", limit=9)]
        assert found == ["B", "a", "a ", "a b", "b", "ä", longest]
        assert [each.schedule.name for each in store.page(after="a", limit=2)] == ["a ", "a b"]
        for name in ("a", "a ", longest):
            recorded = store.record([Advance(row(name, version=1), [tick(name, task_id="its own")])])
            assert recorded is not None and len(recorded.ready) == 1

    def test_changes_are_told_in_their_order_and_what_beats_do_is_none(self, store: ScheduleStore) -> None:
        assert store.revision() == 0
        for name in ("a", "b"):
            store.save(row(name))
        seen = store.revision()
        assert [each.schedule.name for each in store.changed(after=0, limit=9)] == ["a", "b"]
        store.record([Advance(row("a", version=1), [tick("a")])])
        assert store.changed(after=seen, limit=9) == [] and store.revision() == seen
        store.save(row("a", version=2))
        store.save(row("b", version=1)._replace(is_removed=True))
        found = store.changed(after=seen, limit=9)
        assert [(each.schedule.name, each.is_removed) for each in found] == [("a", False), ("b", True)]
        assert [each.schedule.name for each in store.changed(after=0, limit=1)] == ["a"]
        assert found[-1].revision == store.revision()

    def test_what_is_removed_may_be_made_anew_and_is_no_older_version(self, store: ScheduleStore) -> None:
        store.save(row())
        assert store.save(row(version=1)._replace(is_removed=True))
        assert store.read(["nightly"]) == {} and store.page(after="", limit=9) == []
        assert not store.save(row(version=2))
        recorded = store.record([Advance(row(version=2), [tick()]), Advance(row(), [tick()], is_move=False)])
        assert recorded is not None and not recorded.ready
        assert store.save(row(sent=7))
        assert store.read(["nightly"])["nightly"].version == 3

    def test_what_was_removed_long_ago_is_forgotten(self, store: ScheduleStore, clock: MovableClock) -> None:
        store.save(row())
        store.save(row(version=1)._replace(is_removed=True))
        store.sweep()
        assert len(store.changed(after=0, limit=9)) == 1
        clock.advance(REMOVED_FOR + 1)
        store.sweep()
        assert store.changed(after=0, limit=9) == []
        assert store.save(row())

    # --- ticks ---

    def test_a_tick_is_recorded_with_the_row_and_handed_over_to_be_published(self, store: ScheduleStore) -> None:
        store.save(row())
        moved = row(version=1, cursor_at=START, sent=1)._replace(due_at=START + 120)
        recorded = store.record([Advance(moved, [tick()])])
        assert recorded is not None and list(recorded.ready) == [tick().sealed]
        found = store.read(["nightly"])["nightly"]
        assert found._replace(revision=0) == moved._replace(version=2)
        assert store.ticks("nightly", since=0, until=1e10, limit=9) == [tick(sealed=None)]
        assert store.pending(9) == []

    def test_of_two_beats_that_saw_the_same_one_sends(self, store: ScheduleStore) -> None:
        store.save(row())
        first, second = (store.record([Advance(row(version=1, sent=n), [tick()])]) for n in (1, 2))
        assert first is not None and len(first.ready) == 1
        assert second is not None and not second.ready
        assert store.read(["nightly"])["nightly"].standing.sent == 1

    def test_a_tick_is_sent_once_whoever_asks(self, store: ScheduleStore) -> None:
        store.save(row())
        store.record([Advance(row(version=1), [tick()])])
        again = store.record([Advance(row(version=2, sent=9), [tick(task_id="other"), tick(nominal=START + 1)])])
        assert again is not None and list(again.ready) == [tick(nominal=START + 1).sealed]
        filled = store.record([Advance(row(), [tick(nominal=START - n) for n in range(3)], is_move=False)])
        assert filled is not None and len(filled.ready) == 2
        found = store.ticks("nightly", since=START - 1, until=START + 1, limit=9)
        assert [each.nominal for each in found] == [START, START - 1]
        assert found[0].task_id == tick().task_id
        assert store.read(["nightly"])["nightly"].version == 3

    def test_one_asked_for_is_another_than_the_one_of_that_time(self, store: ScheduleStore) -> None:
        store.save(row())
        store.record([Advance(row(), [tick(is_manual=True)], is_move=False)])
        recorded = store.record([Advance(row(version=1), [tick()])])
        assert recorded is not None and len(recorded.ready) == 1
        assert len(store.ticks("nightly", since=0, until=1e10, limit=9)) == 2

    def test_some_of_many_are_out_of_date(self, store: ScheduleStore) -> None:
        names = [f"schedule-{n:03}" for n in range(300)]
        for name in names:
            store.save(row(name))
        for name in names[::3]:
            store.save(row(name, version=1))
        recorded = store.record([Advance(row(name, version=1, sent=1), [tick(name)]) for name in reversed(names)])
        assert recorded is not None and len(recorded.ready) == 200
        found = store.read(names)
        assert [found[name].standing.sent for name in names[:4]] == [0, 1, 1, 0]

    def test_pending_ones_wait_with_their_messages_until_they_are_confirmed(self, store: ScheduleStore) -> None:
        store.save(row())
        ticks = [tick(nominal=START + n, is_pending=True, sent_at=START + 9 - n) for n in range(3)]
        recorded = store.record([Advance(row(version=1), ticks)])
        assert recorded is not None and not recorded.ready
        assert store.pending(9) == ticks[::-1] and store.pending(1) == [ticks[2]]
        store.confirm(ticks[1:])
        store.confirm([])
        assert store.pending(9) == ticks[:1]
        assert [each.is_pending for each in store.ticks("nightly", since=0, until=1e10, limit=9)] == [
            False,
            False,
            True,
        ]

    def test_ticks_are_forgotten_when_their_time_is_over(self, store: ScheduleStore, clock: MovableClock) -> None:
        store.save(row())
        ticks = [tick(nominal=START + n, keep_until=START + 10 * (n + 1), is_pending=n == 1) for n in range(3)]
        store.record([Advance(row(version=1), ticks)])
        assert store.sweep() == 0
        clock.advance(25)
        assert store.sweep() == 1
        store.confirm(ticks)
        assert store.sweep() == 1
        assert [each.nominal for each in store.ticks("nightly", since=0, until=1e10, limit=9)] == [START + 2]

    def test_many_who_save_and_send_at_once_lose_and_double_nothing(self, store: ScheduleStore) -> None:
        names = [f"schedule-{n}" for n in range(5)]
        for name in names:
            store.save(row(name))
        sent: list[Sealed] = []
        lock = threading.Lock()

        def beat(number: int) -> None:
            for _ in range(15):
                seen = store.read(names)
                advances = [
                    Advance(
                        each._replace(standing=each.standing._replace(sent=each.standing.sent + 1)),
                        [tick(each.schedule.name, START + each.standing.sent)],
                    )
                    for each in (list(seen.values()) if number % 2 else reversed(list(seen.values())))
                ]
                recorded = store.record(advances)
                with lock:
                    sent.extend(recorded.ready if recorded else ())
                store.save(seen[names[number]])

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(beat, range(4)))
        counts = {name: each.standing.sent for name, each in store.read(names).items()}
        assert len(sent) == len(set(sent)) == sum(counts.values())
        assert all(len(store.ticks(name, since=0, until=1e10, limit=999)) == counts[name] for name in names)

    # --- the lease, the bell ---

    def test_one_leads_until_its_lease_is_over(self, store: ScheduleStore, clock: MovableClock) -> None:
        assert store.lead("a", 10) == (True, 10)
        clock.advance(4)
        assert store.lead("b", 10) == pytest.approx((False, 6))
        assert store.lead("a", 10) == (True, 10)
        clock.advance(10)
        assert store.lead("b", 10).is_held
        assert not store.lead("a", 10).is_held

    def test_a_lease_of_a_clock_that_has_gone_back_is_over(self, store: ScheduleStore, clock: MovableClock) -> None:
        store.lead("a", 10)
        clock.advance(-3600)
        assert store.lead("b", 10).is_held

    def test_who_leads_is_known(self, store: ScheduleStore, clock: MovableClock) -> None:
        assert store.leader() == ""
        store.lead("a", 10)
        assert store.leader() == "a"
        clock.advance(11)
        assert store.leader() == ""

    def test_who_resigns_makes_room_at_once(self, store: ScheduleStore) -> None:
        store.lead("a", 10)
        store.resign("b")
        assert not store.lead("b", 10).is_held
        store.resign("a")
        assert store.lead("b", 10).is_held

    def test_the_time_is_that_of_the_clock_that_was_passed_in(self, store: ScheduleStore, clock: MovableClock) -> None:
        clock.advance(12.5)
        assert store.now() == START + 12.5

    def test_who_subscribed_is_told_of_a_change(self, store: ScheduleStore) -> None:
        heard = threading.Event()
        cancel = store.subscribe(heard.set)
        heard.clear()
        store.save(row())
        assert heard.wait(DEADLINE)
        cancel()
