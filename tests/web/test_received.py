"""What is told as received is what came to be done, however often it was tried and given back unrun."""

import time
from pathlib import Path
from typing import Any

import pytest

from taskbus import TaskBus
from taskbus.history.collector import Collector
from taskbus.history.opening import open_history
from taskbus.monitor.report import NodeState, pack_state
from taskbus.store.memory_reports import MemoryReports
from taskbus.store.reports import Report
from taskbus.testing.clock import MovableClock
from taskbus.web.house import House
from taskbus.web.shapes.basis import Role
from tests.contract.history_rig import totals
from tests.contract.test_history_merging import MINUTE
from tests.web.conftest import Visitor
from tests.web.test_running import free_port, get, started, wait_for
from tests.web.work.waiting import wait_until

__all__ = ["started"]


def say(reports: Any, number: int, at: float, minutes: dict[int, bytes]) -> None:
    state = pack_state(NodeState("worker", "ann@home", queues=("default",)))
    reports.post(Report("a", number, at, state, minutes=minutes), 0)


def test_counts_of_a_range_and_of_a_type_are_net_and_tell_what_was_given_back(house: House, visitor: Visitor) -> None:
    now = time.time()
    said = totals(received=19, succeeded=7, failed=2, retried=1, given_back=9)
    say(house.reports, 1, now, {int(now // 60): said})
    client = visitor(Role.VIEWER)

    def read(path: str) -> Any:
        return client.get(f"/api/v1/{path}").json()

    wait_until(lambda: read("overview")["counts"]["succeeded"] == 7, what="the report is in the history")
    counts = read("overview")["counts"]
    assert (counts["received"], counts["given_back"]) == (10, 9)
    (kind,) = read("types")["items"]
    assert kind["counts"] == counts == read("types/mail.send")["type"]["counts"]


def test_the_api_says_that_received_is_net(visitor: Visitor) -> None:
    schemas = visitor(Role.VIEWER).get("/api/v1/openapi.json").json()["components"]["schemas"]
    for name in ("Counts", "Rates"):
        assert "given back" in schemas[name]["description"]
    assert "given_back" in schemas["Counts"]["properties"]


def test_live_rates_are_net_though_what_is_given_back_is_told_a_second_later(tmp_path: Path) -> None:
    clock = MovableClock(float(MINUTE * 60))
    reports, history = MemoryReports(clock), open_history(f"sqlite:///{tmp_path}/history.db", clock)
    collector = Collector(history, reports, clock)
    say(reports, 1, clock(), {MINUTE: totals(received=0)})
    collector.turn()
    for second in range(1, 21):
        clock.advance(1)
        # 40 are received every other second, half of which come back with the next report.
        said = totals(received=40 * ((second + 1) // 2), succeeded=10 * second, given_back=20 * (second // 2))
        say(reports, 1 + second, clock(), {MINUTE: said})
        collector.turn()
    assert collector.snapshot().rates.received == pytest.approx(10)
    assert collector.seconds(last=4).received == pytest.approx([40.0, 0.0, 40.0, 0.0])
    assert all(each.rate == pytest.approx(10) for each in collector.snapshot().nodes)
    by_ten = dict(zip(collector.series("15m").t, collector.series("15m").received, strict=True))
    assert by_ten[MINUTE * 60.0 + 10] == pytest.approx((5 * 40 - 5 * 20) / 10)
    assert history.series("15m").received[-1] * 20 == pytest.approx(400 - 200)
    assert [(each.received, each.given_back) for each in [history.counts("15m")]] == [(200, 200)]
    (total,) = history.totals()
    assert (total.counts["received"], total.counts["given_back"]) == (400, 200)  # counters, which only grow
    history.close()


def test_a_bucket_in_which_more_was_given_back_than_came_is_nought(tmp_path: Path) -> None:
    clock = MovableClock(float(MINUTE * 60 + 1))
    reports, history = MemoryReports(clock), open_history(f"sqlite:///{tmp_path}/history.db", clock)
    collector = Collector(history, reports, clock)
    say(reports, 1, clock(), {MINUTE - 1: totals(received=50)})
    collector.turn()
    clock.advance(1)
    say(reports, 2, clock(), {MINUTE - 1: totals(received=50), MINUTE: totals(received=3, given_back=20)})
    collector.turn()
    assert list(history.series("15m").received)[-2:] == [pytest.approx(50 / 60), 0.0]
    assert history.counts("15m").received == 33
    assert collector.snapshot().rates.received == 0.0
    assert min(collector.seconds(last=10).received) == 0.0 and min(collector.series("15m").received) == 0.0
    history.close()


def test_a_worker_with_both_kinds_of_slots_receives_as_many_as_were_sent(started: Any, tmp_path: Path) -> None:
    broker, port = f"sqlite:///{tmp_path}/app.db", free_port()
    started("web", "-b", broker, "--port", str(port))
    with TaskBus("producer", broker=broker) as app:
        for n in range(8):
            app.send("sample.sleep", [f"{tmp_path}/{n}", 0.5])
        worker = started("worker", "-A", "sample:app", "-b", broker, "--processes", "1", "--coroutines", "4")
        wait_for(lambda: get(port, "overview")["counts"]["succeeded"] == 8, "all are done")
        assert worker.stop() == 0
        counts = get(port, "overview")["counts"]
    assert counts["given_back"] > 0, "the case was not met"
    assert counts["received"] == 8
