"""``taskbus nodes``: which node a name means, where it is given in full or in short."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
import sample
from cli_runs import taskbus
from worker_process import StartWorker, wait_until

from taskbus import TaskBus
from taskbus.monitor.report import NodeState, pack_state
from taskbus.store.report_opening import open_reports
from taskbus.store.reports import Report, ReportStore

SILENT = 60.0
"""Seconds after which nobody believes that a node is there, and within which it is still listed."""


@pytest.fixture(autouse=True)
def place(bus: TaskBus, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands' queue is that of the test, and something was sent there once."""
    monkeypatch.setenv("TASKBUS_BROKER", bus.broker_url)
    sample.add.delay(1, 1)


@pytest.fixture
def reports(bus: TaskBus) -> Iterator[ReportStore]:
    with closing(open_reports(bus.results_url)) as store:
        yield store


@pytest.fixture
def seen(reports: ReportStore) -> Callable[..., None]:
    """Say that nodes of these names have reported, so many seconds ago: ``seen("w1@a", ago=60.0)``."""

    def say(*names: str, ago: float = 0.0, kind: str = "worker") -> None:
        for name in names:
            at = time.time() - ago
            reports.post(Report(f"{name}-{ago:g}", 1, at, pack_state(NodeState(kind, name, queues=("mail",)))), 0)

    return say


def shown(name: str) -> str:
    done = taskbus("nodes", "show", name, "-o", "json")
    assert done.status == 0, done.err
    return str(done.json["node"])


def test_a_name_without_its_host_means_the_one_living_node_that_has_it(seen: Callable[..., None]) -> None:
    seen("w1@a", "w2@a", "w22@b")
    seen("w2@b", ago=SILENT)
    assert shown("w1") == "w1@a-0"
    assert shown("w2") == "w2@a-0"
    assert shown("w1@a") == "w1@a-0"
    assert shown("w2@b-60") == "w2@b-60"


def test_a_short_name_of_several_is_refused_with_those_it_could_mean(seen: Callable[..., None]) -> None:
    seen("w1@b", "w1@a", "w2@a")
    for command in (("show", "w1"), ("grow", "w1"), ("limit", "w1", "sample.add", "1/s"), ("stop", "w1", "--yes")):
        done = taskbus("nodes", *command)
        assert done.status == 1
        assert "'w1' is the short name of 2 nodes: w1@a, w1@b" in done.err
    assert shown("w1@b") == "w1@b-0"


def test_a_short_name_is_a_whole_word_and_never_an_empty_one(seen: Callable[..., None]) -> None:
    seen("w1@a", "@b", "plain")
    for name in ("w", "W1", "a", "", "@", "w1@", "w*"):
        done = taskbus("nodes", "show", name)
        assert (done.status, "there is no node" in done.err) == (3, True), name
    assert shown("plain") == "plain-0"


def test_a_node_that_is_silent_is_found_by_its_short_name_if_no_living_one_has_it(seen: Callable[..., None]) -> None:
    seen("w1@a", ago=SILENT)
    assert shown("w1") == "w1@a-60"
    assert "silent" in taskbus("nodes", "show", "w1").out


def test_a_worker_obeys_by_its_short_name_and_is_called_by_its_whole_one(
    bus: TaskBus, start_worker: StartWorker, reports: ReportStore
) -> None:
    worker = start_worker("-c", "1", "--name", "ann@home")
    wait_until(lambda: reports.nodes(), what="a report")
    told = taskbus("nodes", "grow", "ann", "-o", "json")
    assert (told.status, told.json["items"][0]["node"]) == (0, "ann@home")
    wait_until(lambda: len(worker.runners()) == 2, what="two runners")
    assert taskbus("nodes", "limit", "ann", "sample.add", "7/m").status == 0
    wait_until(lambda: taskbus("nodes", "show", "ann", "-o", "json").json["limits"] == {"sample.add": "7/m"})
    assert taskbus("nodes", "shrink", "ann").status == 0
    wait_until(lambda: len(worker.runners()) == 1, what="one runner")
    asked = taskbus("nodes", "stop", "ann")
    assert (asked.status, "ann@home" in asked.err) == (2, True)
    assert taskbus("nodes", "stop", "ann", "--yes").status == 0
    assert worker.process.wait(20) == 0
