"""What is merged into a history is counted exactly once, whatever dies and whoever else merges too."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from taskbus.errors import ConfigError, StoreError
from taskbus.history.collector import Collector
from taskbus.history.history import History
from taskbus.history.opening import open_history
from taskbus.history.shapes import Cursor
from taskbus.monitor.report import Total, pack_totals
from taskbus.store.filters import TaskFilter
from taskbus.store.report_opening import open_reports
from taskbus.store.reports import Minute, Records
from taskbus.testing.clock import START, MovableClock
from tests.contract.history_rig import (
    Abort,
    CountingNode,
    Ledger,
    dying_at,
    histogram,
    ids_of,
    packed,
    record,
    said,
    totals,
)
from tests.servers import mariadb_server, postgres_server

NOW = START - START % 86_400 + 50_000
MINUTE = int(NOW // 60)


@pytest.fixture(params=["sqlite", "postgresql", "mysql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/history.db"
    return str(postgres_server.new_url() if request.param == "postgresql" else mariadb_server.new_url())


@pytest.fixture
def clock() -> MovableClock:
    clock = MovableClock()
    clock.advance(NOW - clock())
    return clock


@pytest.fixture
def history(url: str, clock: MovableClock) -> Iterator[History]:
    history = open_history(url, clock)
    yield history
    history.close()


def test_what_a_node_says_of_a_minute_replaces_what_it_said_before(history: History) -> None:
    history.merge([Minute("a", MINUTE, 1, totals(succeeded=3))], [], {})
    history.merge([Minute("a", MINUTE, 2, totals(succeeded=5, failed=1))], [], {"a": Cursor(1, 0)})
    history.merge([Minute("b", MINUTE, 1, totals(succeeded=10))], [], {})
    assert said(history.counts("1h")) == {"received": 16, "succeeded": 15, "failed": 1}
    waits, runs = history.quantiles("1h")
    assert waits.count == 16 and 0.08 <= (waits.p50 or 0) <= 0.1 and 1.6 <= (runs.p99 or 0) <= 2.0
    assert history.cursors() == {"a": Cursor(2, 0), "b": Cursor(1, 0)}


def test_taking_back_what_was_counted_leaves_nothing_of_it(history: History) -> None:
    history.merge([Minute("a", MINUTE, 1, totals("one", failed=3))], [], {})
    history.merge([Minute("a", MINUTE, 2, totals("two", succeeded=1))], [], {})
    assert {each.task: said(each.counts) for each in history.types("1h") if each.counts.received} == {
        "two": {"received": 1, "succeeded": 1}
    }
    assert history.quantiles("1h", task="one")[0].count == 0
    assert [error for each in history.types("1h") for error in each.errors] == []


def test_the_same_again_changes_nothing(history: History) -> None:
    minutes = [Minute("a", MINUTE, 1, totals(succeeded=3))]
    records = [Records("a", 1, packed(record("x", NOW), record("y", NOW)))]
    for _ in range(3):
        history.merge(minutes, records, {})
    assert history.counts("1h").succeeded == 3 and sorted(ids_of(history)) == ["x", "y"]
    assert history.kept().rows == 2


def test_a_late_reading_takes_nothing_back(history: History) -> None:
    """Two read at once; the one that read less is the last to merge."""
    history.merge([Minute("a", MINUTE, 1, totals(succeeded=3))], [], {})
    seen = history.cursors()
    history.merge([Minute("a", MINUTE, 3, totals(succeeded=9))], [Records("a", 3, packed(record("x", NOW)))], seen)
    history.merge([Minute("a", MINUTE, 2, totals(succeeded=6))], [Records("a", 2, packed(record("w", NOW)))], seen)
    assert history.counts("1h").succeeded == 9 and history.cursors()["a"] == Cursor(3, 3)
    assert list(ids_of(history)) == ["x"]


def test_a_history_that_knows_less_than_was_asked_for_takes_nothing(history: History) -> None:
    """It was replaced meanwhile: what lies between would be missing for ever."""
    history.merge([Minute("a", MINUTE, 9, totals(succeeded=3))], [Records("a", 9, packed(record("x", NOW)))],
                  {"a": Cursor(8, 8)})  # fmt: skip
    assert history.cursors() == {} and history.counts("1h").received == 0 and list(ids_of(history)) == []


def test_a_death_at_any_statement_leaves_all_or_nothing(history: History) -> None:
    history.merge([Minute("a", MINUTE - 20, 1, totals(succeeded=1))], [], {})
    before = history.counts("24h"), dict(history.cursors()), history.kept().rows
    minutes = [Minute("a", MINUTE, 2, totals(succeeded=2)), Minute("b", MINUTE, 5, totals("other", failed=1))]
    records = [Records("b", 5, packed(record("x", NOW, "FAILURE", traceback="deep"), record("y", NOW)))]
    step = 0
    while True:
        with dying_at(history, step) as run:
            try:
                history.merge(minutes, records, history.cursors())
            except Abort:
                assert (history.counts("24h"), dict(history.cursors()), history.kept().rows) == before
                step += 1
                continue
        break
    assert step == run() > 15
    assert said(history.counts("24h")) == {"received": 4, "succeeded": 3, "failed": 1}
    assert sorted(ids_of(history)) == ["x", "y"] and history.cursors() == {"a": Cursor(2, 0), "b": Cursor(5, 5)}


def test_two_collectors_count_what_one_would(url: str, clock: MovableClock) -> None:
    assert open_history(url, clock).cursors() == {}  # making the tables may take longer than a call waits for
    ledger, reports = Ledger(), open_reports("memory://two-collectors")
    nodes = [CountingNode(f"node-{each}", ledger) for each in range(4)]
    is_over = threading.Event()

    def collect() -> None:
        with_history = open_history(url, clock)
        collector = Collector(with_history, reports, clock)
        while not is_over.is_set():
            collector.turn()
        collector.turn()

    with ThreadPoolExecutor(3) as pool:
        collecting = [pool.submit(collect) for _ in range(3)]
        try:
            for turn in range(60):
                for number, node in enumerate(nodes):
                    node.count(
                        MINUTE + turn // 20, f"task.{(turn + number) % 3}", "FAILURE" if turn % 7 == 0 else "SUCCESS"
                    )
                    node.post(reports, NOW + turn, is_heard=(turn + number) % 5 > 0)
            for node in nodes:
                node.post(reports, NOW + 60)
                node.post(reports, NOW + 61)
        finally:
            is_over.set()
        for each in collecting:
            each.result()
    clock.advance(180)
    history = open_history(url, clock)
    ledger.check(history)
    history.close()


def test_what_may_not_be_replaced_any_more_is_not_kept_twice(history: History, clock: MovableClock) -> None:
    for number in range(1, 31):
        history.merge([Minute("a", MINUTE + number, number, totals(succeeded=number))], [], history.cursors())
        clock.advance(60)
    kept = history._database.read("SELECT minute FROM taskbus_history_node_minutes ORDER BY minute")
    assert [minute - MINUTE for (minute,) in kept] == list(range(21, 31))
    before = history.counts("24h")
    assert before.succeeded == sum(range(1, 31))
    history.merge([Minute("a", MINUTE + 3, 31, totals(succeeded=1000))], [], history.cursors())
    assert history.counts("24h") == before and history.cursors()["a"].minutes == 31


def test_minutes_that_came_with_one_report_are_kept_until_a_later_one(history: History, clock: MovableClock) -> None:
    """The node may not have heard that they came, and tell them again, with more."""
    clock.advance(3600)
    first = [Minute("a", MINUTE + each, 1, totals(succeeded=1)) for each in range(60)]
    again = [Minute("a", MINUTE + each, 2, totals(succeeded=2)) for each in range(60)]
    history.merge(first, [], {})
    history.merge(again, [], history.cursors())
    assert history.counts("24h").succeeded == 120


def test_what_cannot_be_read_keeps_nobody_else_from_being_heard(
    history: History, caplog: pytest.LogCaptureFixture
) -> None:
    history.merge([Minute("a", MINUTE, 1, totals(succeeded=2))], [], {})
    bad = [
        b"",
        b"\xc1",
        b"\x91\xa1x",
        pack_totals([Total("t", "q", {"received": "many"}, histogram(), histogram(), {})]),
    ]  # type: ignore[dict-item]
    minutes = [Minute(f"bad-{at}", MINUTE, 1, each) for at, each in enumerate(bad)]
    minutes += [Minute("a", MINUTE, 2, b"\xc1"), Minute("b", MINUTE, 1, totals(succeeded=3))]
    records = [Records("bad-0", 1, b"\xc1"), Records("b", 1, packed(record("x", NOW)))]
    history.merge(minutes, records, {})
    assert history.counts("1h").succeeded == 5 and list(ids_of(history)) == ["x"]
    assert history.cursors()["a"].minutes == 2 and "bad-3 cannot be read" in caplog.text


def test_a_clock_far_ahead_makes_no_minutes_that_never_end(history: History, caplog: pytest.LogCaptureFixture) -> None:
    history.merge([Minute("a", MINUTE * 2, 1, totals(succeeded=2)), Minute("a", 1 << 70, 1, totals())], [], {})
    history.merge([], [Records("a", 1, packed(record("x", NOW * 3)))], {})
    assert history.counts("30d").received == 0 and "cannot be counted" in caplog.text
    assert history.tasks(TaskFilter()).rows[0].ended_at <= NOW + 86_400


def test_many_errors_of_a_task_are_counted_all_and_named_in_part(history: History) -> None:
    errors = {f"app.Error{number}": number + 1 for number in range(150)}
    for node in ("a", "b"):
        total = Total("t", "q", {"failed": sum(errors.values())}, histogram(), histogram(), errors)
        history.merge([Minute(node, MINUTE, 1, pack_totals([total]))], [], {})
    (shown,) = history.types("1h")
    assert [(each.error, each.count) for each in shown.errors[:2]] == [("", 2652), ("app.Error149", 300)]
    assert len(shown.errors) == 5


def test_deaths_of_many_errors_keep_their_names_in_the_order_in_which_they_came(history: History) -> None:
    """A counter that moved to another name would look like one that was set back."""
    for number, times in enumerate((1, 1, 50), 1):
        deaths = {f"app.Error{each}": times for each in range(40 * (number - 1), 40 * number)}
        total = Total("t", "q", {"failed": sum(deaths.values())}, histogram(), histogram(), {}, deaths)
        history.merge([Minute(f"node{number}", MINUTE, 1, pack_totals([total]))], [], {})
        (told,) = history.totals()
        assert sum(told.deaths.values()) == told.counts["failed"]
        assert told.deaths["app.Error0"] == 1
    assert len(told.deaths) == 100 and told.deaths[""] == 21 * 50


def test_a_history_of_a_newer_taskbus_is_left_alone(url: str, clock: MovableClock) -> None:
    history = open_history(url, clock)
    history._database.write(lambda cursor: cursor.execute("UPDATE taskbus_history SET version = 99"))
    with pytest.raises(ConfigError, match="version 99 of its tables, and this TaskBus knows 1"):
        open_history(url, clock).cursors()
    history.close()


def test_a_history_that_is_gone_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="does not exist"):
        open_history(f"sqlite:///{tmp_path}/nowhere/history.db")
    with pytest.raises(ConfigError, match="cannot be kept at redis://"):
        open_history("redis://localhost")
