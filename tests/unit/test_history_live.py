"""What is now: rates, quantiles and nodes, from real reports in a store in memory; and the collector's thread."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from taskbus.errors import StoreError
from taskbus.history.collector import Collector
from taskbus.history.history import History
from taskbus.history.opening import open_history
from taskbus.history.shapes import plain
from taskbus.monitor.report import NodeState, Running, Total, pack_state, pack_totals
from taskbus.store.memory_reports import MemoryReports
from taskbus.store.reports import Report
from taskbus.testing.clock import MovableClock
from tests.contract.history_rig import histogram, packed, record, totals
from tests.contract.test_history_merging import MINUTE
from tests.servers.server import until


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock(float(MINUTE * 60))


@pytest.fixture
def reports(clock: MovableClock) -> MemoryReports:
    return MemoryReports(clock)


@pytest.fixture
def history(tmp_path: Path, clock: MovableClock) -> Iterator[History]:
    history = open_history(f"sqlite:///{tmp_path}/history.db", clock)
    yield history
    history.close()


@pytest.fixture
def collector(history: History, reports: MemoryReports, clock: MovableClock) -> Collector:
    return Collector(history, reports, clock)


def post(reports: MemoryReports, number: int, at: float, node: str = "a", **fields: Any) -> None:
    state = fields.pop("state", NodeState("worker", f"celery@{node}", queues=("default",)))
    reports.post(Report(node, number, at, pack_state(state), **fields), 0)


def test_rates_are_differences_of_what_was_counted(
    collector: Collector, reports: MemoryReports, clock: MovableClock
) -> None:
    post(reports, 1, clock(), minutes={MINUTE: totals(succeeded=1000)})
    collector.turn()
    assert collector.snapshot().rates.succeeded == 0.0  # who knows how long ago that was
    for second in range(1, 21):
        clock.advance(1)
        post(reports, 1 + second, clock(), minutes={MINUTE: totals(succeeded=1000 + 30 * second, failed=second)})
        collector.turn()
    now = collector.snapshot()
    assert now.rates.succeeded == pytest.approx(30) and now.rates.failed == pytest.approx(1)
    assert now.run.count == now.wait.count == 20 * 31 and now.run.p50 == pytest.approx(1.8, abs=0.2)
    (task,) = now.types
    assert (task.task, task.failed) == ("mail.send", 20) and task.rate == pytest.approx(31)
    (queue,) = now.queues
    assert (queue.queue, queue.workers) == ("default", 1) and queue.rate == pytest.approx(31)
    (node,) = now.nodes
    assert node.is_alive and node.rate == pytest.approx(31) and now.tail_hidden == 31
    seconds = collector.seconds(last=30)
    assert len(seconds.t) == 30 and seconds.succeeded[-20:] == [30.0] * 20 and sum(seconds.succeeded[:10]) == 0
    assert collector.seconds(task="mail.send", last=5).succeeded == [30.0] * 5
    assert collector.seconds(queue="other", last=5).succeeded == [0.0] * 5
    clock.advance(120)
    collector.turn()
    now = collector.snapshot()
    assert now.rates.succeeded == 0 and now.run.count == 0 and now.run.p50 is None and now.types[0].failed == 0


def test_what_came_late_is_spread_over_the_time_that_it_took(
    collector: Collector, reports: MemoryReports, clock: MovableClock
) -> None:
    post(reports, 1, clock(), minutes={MINUTE: totals(succeeded=1)})
    collector.turn()
    clock.advance(10)
    post(reports, 2, clock(), minutes={MINUTE: totals(succeeded=101)})
    collector.turn()
    assert collector.seconds(last=12).succeeded == pytest.approx([0, 0, *[10.0] * 10])


def test_a_node_is_alive_as_long_as_it_reports(
    collector: Collector, reports: MemoryReports, clock: MovableClock
) -> None:
    running = [
        Running("t", "mail.send", "default", 1, clock() - 9, 7, 0),
        Running("u", "x", "q", 2, clock() - 99, 8, 1),
    ]
    busy = NodeState(
        "worker", "celery@a", queues=("default",), active=2, running=running, cpu=1.0, sampled=10, dropped=3
    )
    post(reports, 1, clock(), state=busy)
    post(reports, 1, clock(), node="b", state=NodeState("beat", "beat@b"))
    collector.turn()
    clock.advance(2)
    post(reports, 2, clock(), state=busy._replace(cpu=2.0))
    collector.turn()
    now = collector.snapshot()
    assert [(each.node, each.is_alive) for each in now.nodes] == [("a", True), ("b", True)]
    assert now.nodes[0].cpu_share == pytest.approx(0.5) and (now.one_of, now.dropped, now.active) == (10, 3, 2)
    assert [(each.worker, each.running.id) for each in now.running] == [("celery@a", "u"), ("celery@a", "t")]
    assert {each.queue: each.running for each in now.queues} == {"default": 1}
    clock.advance(31)
    collector.turn()
    assert [each.is_alive for each in collector.snapshot().nodes] == [False, False]
    assert collector.snapshot().running == []


def test_the_tail_shows_fifty_and_says_how_many_more(
    collector: Collector, reports: MemoryReports, clock: MovableClock
) -> None:
    post(reports, 1, clock(), records=packed(record("long ago", clock() - 60)))
    collector.turn()
    assert collector.snapshot().tail == []
    clock.advance(1)
    told = [record(f"id-{each}", clock(), weight=10) for each in range(80)]
    post(reports, 2, clock(), minutes={MINUTE: totals(succeeded=800)}, records=packed(*told))
    collector.turn()
    now = collector.snapshot()
    assert [row.id for row in now.tail] == [f"id-{each}" for each in range(30, 80)] and now.tail_hidden == 750
    assert now.tail[0].task == "mail.send" and now.tail[0].waited == 1.0
    clock.advance(1)
    collector.turn()
    assert collector.snapshot().tail == [] and plain(now)["tail"][0]["id"] == "id-30"


def test_a_chart_of_a_quarter_of_an_hour_joins_memory_to_the_history(
    collector: Collector, history: History, reports: MemoryReports, clock: MovableClock
) -> None:
    post(reports, 1, clock(), minutes={MINUTE - 5: totals(succeeded=600)})
    collector.turn()
    clock.advance(60)
    for second in range(1, 41):
        clock.advance(1)
        post(reports, 1 + second, clock(), minutes={MINUTE + 1: totals(succeeded=4 * second)})
        collector.turn()
    chart = collector.series("15m")
    by_instant = dict(zip(chart.t, chart.succeeded, strict=True))
    assert chart.step == 10 and all(later - at == 10 for at, later in zip(chart.t, chart.t[1:], strict=False))
    assert [by_instant[(MINUTE - 5) * 60.0 + at] for at in range(0, 60, 10)] == pytest.approx([10.0] * 6)
    assert by_instant[(MINUTE + 1) * 60.0 + 10] == pytest.approx(4.0)
    assert len({len(column) for column in chart[1:]}) == 1
    assert collector.series("1h") == history.series("1h")


class Broken:
    """Reports, or a history, whose every call fails while it is broken."""

    def __init__(self, whole: Any, *names: str) -> None:
        self._whole = whole
        self._names = names
        self.is_broken = True

    def __getattr__(self, name: str) -> Any:
        if self.is_broken and name in self._names:
            raise StoreError("the disk is full")
        return getattr(self._whole, name)


def test_a_history_that_fails_takes_nothing_from_the_picture_and_catches_up(
    history: History, reports: MemoryReports, clock: MovableClock
) -> None:
    broken: Any = Broken(history, "cursors", "merge")
    collector = Collector(broken, reports, clock)
    for second in range(3):
        post(reports, 1 + second, clock(), minutes={MINUTE: totals(succeeded=10 * second)})
        with pytest.raises(StoreError, match="disk is full"):
            collector.turn()
        clock.advance(1)
    assert collector.snapshot().error == "the disk is full" and collector.snapshot().rates.succeeded == 2.0
    broken.is_broken = False
    collector.turn()
    assert collector.snapshot().error == "" and history.counts("1h").succeeded == 20


def test_the_thread_collects_without_a_page_and_ends_when_told(history: History, tmp_path: Path) -> None:
    reports = MemoryReports()
    whole = open_history(f"sqlite:///{tmp_path}/now.db")
    collector = Collector(whole, reports)
    collector.start()
    try:
        now = time.time()
        post(reports, 1, now, minutes={int(now // 60): totals(succeeded=7)}, records=packed(record("x", now)))
        until(lambda: whole.counts("1h").succeeded == 7, "what was counted is in the history")
        known = collector.wait(None, 5)
        assert collector.wait(known, 5) is not known
        collector.watch(20)
        again = Report("a", 2, now, pack_state(NodeState("worker", "a")))
        until(lambda: reports.post(again, 0).watched_until > now + 9, "nodes are told that a page is open")
    finally:
        collector.stop()
    last = collector.snapshot()
    assert collector.wait(last, 1.5) is last
    collector.start()
    assert collector.wait(last, 5) is not last
    collector.stop()
    whole.close()


def test_whoever_was_away_for_long_catches_up_in_parts(
    history: History, reports: MemoryReports, clock: MovableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskbus.history.collector.MINUTES_AT_ONCE", 7)
    monkeypatch.setattr("taskbus.history.collector.RECORDS_AT_ONCE", 5)
    merged: list[int] = []
    merge = history.merge
    monkeypatch.setattr(history, "merge", lambda *given: (merged.append(len(given[0])), merge(*given)))
    for number in range(1, 101):
        post(reports, number, clock(), minutes={MINUTE - 200 + number: totals(succeeded=1)},
             records=packed(record(f"id-{number}", clock())))  # fmt: skip
    collector = Collector(history, reports, clock)
    for _ in range(30):
        collector.turn()
        collector._merge_at = 0.0
    assert history.counts("24h").succeeded == 100 and history.kept().rows == 100
    assert max(merged) <= 7 and len(merged) >= 15


def test_a_snapshot_of_a_large_fleet_is_cheap(
    collector: Collector, reports: MemoryReports, clock: MovableClock
) -> None:
    """100 workers, 200 tasks, 50 queues. The figure of a quiet machine is 10 ms; this one may be busy."""
    taken = []
    for second in range(1, 6):
        clock.advance(1)
        for node in range(100):
            cells = [
                Total(f"task.{task}", f"queue-{task % 50}", {"received": second, "succeeded": second},
                      histogram(*[0.01] * second), histogram(*[0.5] * second), {})
                for task in range(node % 10, 200, 10)
            ]  # fmt: skip
            state = NodeState("worker", f"celery@{node}", queues=[f"queue-{each}" for each in range(50)], active=4)
            post(reports, second, clock(), f"node-{node}", state=state, minutes={MINUTE: pack_totals(cells)})
        collector.turn()
        nodes = reports.nodes()
        began = time.thread_time()
        snapshot = collector._live.snapshot(clock(), nodes)
        taken.append(time.thread_time() - began)
    assert (len(snapshot.types), len(snapshot.queues), len(snapshot.nodes)) == (200, 50, 100)
    assert min(taken) < 0.03, taken
