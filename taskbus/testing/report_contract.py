"""What every store of reports must do, as tests: subclass ``ReportContract`` and say how yours is opened.

::

    class TestMine(ReportContract):
        def open(self, folder: Path, clock: Clock) -> ReportStore:
            return open_reports(f"mine://{folder}", clock)

No method may be overridden to pass.
"""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from taskbus.clock import Clock
from taskbus.store.reports import (
    KEEP_MINUTES,
    KEEP_NODE,
    KEEP_RECORDS,
    SWEEP_LIMIT,
    Answer,
    Inbox,
    Minute,
    Node,
    Order,
    Records,
    Report,
    ReportStore,
)
from taskbus.testing.clock import START, MovableClock
from taskbus.testing.open_files import needs_open_files, open_files

RAW = b"\x00\xff\x80 no text"
MINUTE = int(START // 60)


def report(number: int = 1, node: str = "a", **fields: object) -> Report:
    """A report with a state of bytes that no text could be, a second after the one before."""
    return Report(node, number, START + number, RAW)._replace(**fields)  # type: ignore[arg-type]


class ReportContract:
    """See the module's docstring."""

    def open(self, folder: Path, clock: Clock) -> ReportStore:
        """A store; every call with the same folder opens the same data."""
        raise NotImplementedError

    @pytest.fixture
    def clock(self) -> MovableClock:
        return MovableClock()

    @pytest.fixture
    def store(self, tmp_path: Path, clock: MovableClock) -> Iterator[ReportStore]:
        with closing(self.open(tmp_path, clock)) as store:
            yield store

    # --- nodes ---

    def test_a_node_is_listed_as_it_last_said_that_it_is(self, store: ReportStore) -> None:
        longest = "夜" * 200
        for name in ("b", longest, "a", "ä", "B", "a b"):
            assert store.post(report(node=name), 0) == Inbox([], frozenset(), 0.0)
        store.post(report(2, "b", state=b""), 0)
        found = store.nodes()
        assert [node.node for node in found] == ["B", "a", "a b", "b", "ä", longest]
        assert found[1] == Node("a", 1, START + 1, RAW)
        assert found[3] == Node("b", 2, START + 2, b"")

    def test_who_says_goodbye_leaves_nothing_but_what_he_has_counted(self, store: ReportStore) -> None:
        store.post(report(minutes={MINUTE: b"1"}, records=b"r"), 0)
        last = report(2, minutes={MINUTE: b"2"}, records=b"s", is_last=True)
        for _ in range(2):
            store.post(last, 0)
            assert store.nodes() == []
            assert store.minutes({}) == [Minute("a", MINUTE, 2, b"2")]
            assert store.records({}) == [Records("a", 1, b"r"), Records("a", 2, b"s")]

    def test_an_earlier_report_that_comes_late_changes_nothing(self, store: ReportStore) -> None:
        store.post(report(3, minutes={MINUTE: b"3"}, records=b"three"), 0)
        for number in (3, 2):
            store.post(report(number, state=b"old", minutes={MINUTE: b"2", MINUTE + 1: b"2"}, records=b"old"), 0)
        assert store.nodes() == [Node("a", 3, START + 3, RAW)]
        assert store.minutes({}) == [Minute("a", MINUTE, 3, b"3")]
        assert store.records({}) == [Records("a", 3, b"three")]
        store.post(report(4, is_last=True), 0)
        store.post(report(3), 0)
        assert store.nodes() == []

    def test_who_is_silent_is_forgotten_and_comes_back_with_his_numbers(self, store: ReportStore) -> None:
        store.post(report(1, "silent", minutes={MINUTE: b"1"}), 0)
        store.post(report(60, "talking"), 0)
        store.sweep(START + 1 + KEEP_NODE)
        assert len(store.nodes()) == 2
        assert store.sweep(START + 2 + KEEP_NODE) == 1
        assert [node.node for node in store.nodes()] == ["talking"]
        assert store.minutes({}) == [Minute("silent", MINUTE, 1, b"1")]
        store.post(report(1, "silent"), 0)
        assert [node.node for node in store.nodes()] == ["talking"]
        store.post(report(2, "silent"), 0)
        assert [node.node for node in store.nodes()] == ["silent", "talking"]

    # --- minutes and records ---

    def test_what_is_said_of_a_minute_replaces_what_was_said_before(self, store: ReportStore) -> None:
        store.post(report(1, minutes={MINUTE: b"one", MINUTE + 1: RAW}), 0)
        store.post(report(2, minutes={MINUTE: b"two"}), 0)
        store.post(report(1, "b", minutes={MINUTE: b"its own"}), 0)
        found = store.minutes({})
        assert found == [Minute("a", MINUTE + 1, 1, RAW), Minute("a", MINUTE, 2, b"two"),
                         Minute("b", MINUTE, 1, b"its own")]  # fmt: skip

    def test_a_follower_reads_what_he_has_not_seen(self, store: ReportStore) -> None:
        for number in range(1, 6):
            for node in ("a", "b"):
                records = b"" if number == 2 else f"{node}{number}".encode()
                store.post(report(number, node, minutes={MINUTE + number: b"t"}, records=records), 0)
        seen = {"a": 3, "unknown": 9, "b": 5}
        assert [(each.node, each.minute, each.number) for each in store.minutes(seen)] == [
            ("a", MINUTE + 4, 4), ("a", MINUTE + 5, 5),
        ]  # fmt: skip
        assert store.records({**seen, "b": 4}) == [
            Records("a", 4, b"a4"), Records("a", 5, b"a5"), Records("b", 5, b"b5"),
        ]  # fmt: skip
        assert [each.number for each in store.records({"a": 1}) if each.node == "a"] == [3, 4, 5]
        assert store.minutes({"a": 5, "b": 5}) == [] and store.records({"a": 5, "b": 5}) == []

    def test_with_a_cursor_of_any_age_nothing_is_missed_nor_read_twice(self, store: ReportStore) -> None:
        posted = set()
        for number in range(1, 8):
            for node in ("a", "b", "c"):
                store.post(report(number, node, minutes={MINUTE + number: b"t"}, records=RAW), 0)
                posted.add((node, number))
        read: list[tuple[str, int]] = []
        seen: dict[str, int] = {}
        while found := store.records(seen, limit=4):
            assert len(found) <= 4
            read += [(each.node, each.number) for each in found]
            seen |= {each.node: each.number for each in found}
        assert len(read) == len(posted) and set(read) == posted
        counted: list[tuple[str, int]] = []
        seen = {}
        while minutes := store.minutes(seen, limit=4):
            counted += [(each.node, each.number) for each in minutes]
            seen |= {each.node: each.number for each in minutes}
        assert len(counted) == len(posted) and set(counted) == posted

    def test_the_minutes_of_one_report_are_never_torn_apart(self, store: ReportStore) -> None:
        store.post(report(1, minutes={MINUTE: b"x"}), 0)
        store.post(report(2, minutes={MINUTE + n: b"x" for n in range(1, 6)}), 0)
        store.post(report(3, minutes={MINUTE + 6: b"x"}), 0)
        assert [each.number for each in store.minutes({}, limit=3)] == [1]
        assert [each.number for each in store.minutes({"a": 1}, limit=3)][:5] == [2] * 5
        assert [each.number for each in store.minutes({}, limit=6)] == [1] + [2] * 5
        assert [each.number for each in store.minutes({}, limit=7)] == [1] + [2] * 5 + [3]

    def test_large_ones_come_back_whole(self, store: ReportStore) -> None:
        large = bytes(range(256)) * 4096
        store.post(report(state=large, minutes={MINUTE: large, MINUTE + 1: large}, records=large), 0)
        assert store.nodes()[0].state == large and store.records({})[0].records == large
        assert [each.totals for each in store.minutes({})] == [large, large]

    # --- orders ---

    def test_an_order_is_heard_by_whom_it_is_for_once(self, store: ReportStore) -> None:
        for node in ("a", "b"):
            store.post(report(node=node), 0)
        numbers = [store.order(RAW, START), store.order(b"its own", START, node="a"), store.order(b"", START, node="b")]
        assert numbers == sorted(set(numbers))
        heard = store.post(report(2), 0).orders
        assert heard == [Order(numbers[0], "", RAW, START + 60), Order(numbers[1], "a", b"its own", START + 60)]
        assert store.post(report(3), numbers[1]).orders == []
        assert [order.number for order in store.post(report(2, "b"), 0).orders] == [numbers[0], numbers[2]]
        assert [order.number for order in store.post(report(3, "b"), numbers[0]).orders] == [numbers[2]]

    def test_who_starts_later_hears_it_too_until_it_expires(self, store: ReportStore, clock: MovableClock) -> None:
        short, long = store.order(b"s", START, ttl=10), store.order(b"l", START, ttl=86400)
        clock.advance(9)
        assert [order.number for order in store.post(report(node="b"), 0).orders] == [short, long]
        clock.advance(1)
        assert [order.number for order in store.post(report(node="c"), 0).orders] == [long]
        assert store.sweep(START + 10) == 1
        assert [order.number for order in store.post(report(node="d"), 0).orders] == [long]
        clock.advance(86400)
        store.sweep(clock())
        assert store.post(report(node="e"), 0).orders == []
        assert store.order(b"next", clock()) > long

    def test_numbers_grow_though_the_clock_goes_back(self, store: ReportStore) -> None:
        first = store.order(b"", START)
        assert store.order(b"", START - 3600) > first

    def test_orders_of_many_threads_are_seen_once_by_who_follows(self, store: ReportStore) -> None:
        each, threads = 12, 6
        given: list[int] = []
        lock = threading.Lock()
        is_over = threading.Event()

        def give(thread: int) -> None:
            for n in range(each):
                number = store.order(f"{thread}-{n}".encode(), START, node="a" if n % 2 else "")
                with lock:
                    given.append(number)

        def follow() -> list[Order]:
            heard, number, is_last = list[Order](), 0, False
            while not is_last:
                is_last = is_over.is_set()
                number += 1
                heard += store.post(report(number), heard[-1].number if heard else 0).orders
            return heard

        with ThreadPoolExecutor(threads + 1) as pool:
            heard = pool.submit(follow)
            for done in [pool.submit(give, thread) for thread in range(threads)]:
                done.result()
            is_over.set()
            found = heard.result()
        assert len(found) == each * threads == len({order.order for order in found})
        assert [order.number for order in found] == sorted(given)

    def test_answers_are_kept_by_their_order(self, store: ReportStore, clock: MovableClock) -> None:
        first, second = store.order(b"", START), store.order(b"", START)
        assert store.answers(first) == []
        for _ in range(2):
            store.post(report(2, "b"), 0, [Answer(first, "b", RAW), Answer(second, "b", b"")])
        store.post(report(2, "a"), 0, [Answer(first, "a", b"yes")])
        assert store.answers(first) == [Answer(first, "a", b"yes"), Answer(first, "b", RAW)]
        assert store.answers(second) == [Answer(second, "b", b"")]

    # --- pauses, watching ---

    def test_a_pause_is_told_with_every_report_until_it_ends(self, store: ReportStore) -> None:
        odd = "q ü:*{all}"
        assert store.pause("slow") and not store.pause("slow")
        assert store.pause(odd)
        assert store.paused() == {"slow", odd}
        assert store.post(report(), 0).paused == {"slow", odd}
        store.sweep(START + 10 * KEEP_MINUTES)
        assert store.resume("slow") and not store.resume("slow") and not store.resume("unknown")
        assert store.post(report(2), 0).paused == store.paused() == {odd}

    def test_an_inbox_can_be_read_without_a_report(self, store: ReportStore, clock: MovableClock) -> None:
        assert store.inbox("a") == Inbox([], frozenset())
        for node, ttl in (("", 60.0), ("a", 60.0), ("b", 60.0), ("", 5.0)):
            store.order(RAW, START, node=node, ttl=ttl)
        store.pause("slow")
        store.watch(START + 10.5)
        clock.advance(6)
        found = store.inbox("a")
        assert [(each.node, each.order) for each in found.orders] == [("", RAW), ("a", RAW)]
        assert found.paused == {"slow"} and found.watched_until == START + 10.5
        assert store.inbox("a", found.orders[0].number).orders == found.orders[1:]
        assert store.nodes() == [] and store.post(report(), 0) == found

    def test_of_many_who_pause_at_once_one_did(self, store: ReportStore) -> None:
        with ThreadPoolExecutor(6) as pool:
            assert sorted(pool.map(store.pause, ["slow"] * 6)) == [False] * 5 + [True]
            assert sorted(pool.map(store.resume, ["slow"] * 6)) == [False] * 5 + [True]

    def test_somebody_looks_until_the_latest_of_what_was_said(self, store: ReportStore) -> None:
        for until in (10.5, 5.0):
            store.watch(START + until)
        assert store.post(report(), 0).watched_until == START + 10.5

    # --- what is kept ---

    def test_what_is_older_than_is_kept_is_swept(self, store: ReportStore) -> None:
        now = START + KEEP_MINUTES
        order = store.order(b"", START)
        store.post(
            report(at=START, minutes={MINUTE - 1: b"", MINUTE: b"", MINUTE + 1: b""}, records=b"r"), 0,
            [Answer(order, "a", b"")],
        )  # fmt: skip
        store.post(report(2, at=now - KEEP_RECORDS, records=b"s"), 0, [Answer(order, "b", b"")])
        store.post(report(3, at=now, is_last=True), 0)
        assert store.sweep(now) in (3, 5)  # the answers too, where they do not go by themselves
        assert [each.minute for each in store.minutes({})] == [MINUTE, MINUTE + 1]
        assert store.records({}) == [Records("a", 2, b"s")]
        assert store.sweep(now) == 0
        store.sweep(now + KEEP_MINUTES + 60)
        assert store.minutes({}) == [] and store.records({}) == [] and store.nodes() == []

    def test_sweeping_takes_some_at_a_time(self, store: ReportStore) -> None:
        count = SWEEP_LIMIT + 100
        store.post(report(minutes={MINUTE - n: b"x" for n in range(count)}), 0)
        now = START + 10 * KEEP_MINUTES
        swept = [store.sweep(now) for _ in range(4)]
        assert max(swept) <= SWEEP_LIMIT and sum(swept) == count + 2  # the node is forgotten, and its number
        assert swept[-1] == 0 and store.minutes({}) == []

    def test_a_store_that_is_opened_again_sees_it_all(
        self, store: ReportStore, tmp_path: Path, clock: MovableClock
    ) -> None:
        store.post(report(minutes={MINUTE: b"m"}, records=b"r"), 0)
        number = store.order(b"order", START)
        store.pause("slow")
        store.watch(START + 5)
        with closing(self.open(tmp_path, clock)) as again:
            assert again.nodes() == [Node("a", 1, START + 1, RAW)]
            assert again.minutes({}) == [Minute("a", MINUTE, 1, b"m")] and again.records({})[0].records == b"r"
            assert again.post(report(node="b"), 0) == Inbox(
                [Order(number, "", b"order", START + 60)], frozenset({"slow"}), START + 5
            )
            assert again.order(b"", START) > number

    @needs_open_files
    def test_who_closes_it_closes_no_connection_of_another_thread(
        self, store: ReportStore, tmp_path: Path, clock: MovableClock
    ) -> None:
        """That thread may be a worker's, which has messages to give back."""
        with ThreadPoolExecutor(1) as worker:
            before = open_files()
            worker.submit(store.nodes).result()
            theirs = open_files() - before
            with closing(self.open(tmp_path, clock)) as mine:
                mine.nodes()
            assert theirs <= open_files()
