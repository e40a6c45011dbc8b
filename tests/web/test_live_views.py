"""What each view of the live stream shows: all that its page draws, and nothing besides."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.applications import Starlette

from taskbus import TaskBus
from taskbus.monitor.report import NodeState, pack_state
from taskbus.store.reports import Report, ReportStore
from taskbus.web.house import House
from taskbus.web.server import web_app
from tests.web.conftest import running, whoever_says_so
from tests.web.test_live import Reader, served

PARTS = ("queues", "nodes", "types", "running", "problems", "tail")


@pytest.fixture
def web(app: TaskBus) -> Iterator[Starlette]:
    yield from running(web_app(app, identify=whoever_says_so))


@pytest.fixture
def port(web: Starlette) -> Iterator[int]:
    with served(web) as found:
        yield found


def say(reports: ReportStore, number: int, *, active: int, kind: str = "worker") -> None:
    """A report of a worker of four slots, so many of which are busy."""
    now = time.time()
    state = NodeState(
        kind, "w1@box", host="box", started_at=now - 60, pool="prefork", processes=4, slots=4, queues=("mail",),
        active=active, held=active, running=[("the-id", "shop.mail", "mail", 1, now - 5, 17, 0)] * min(active, 1),
    )  # fmt: skip
    reports.post(Report("w1-1", number, now, pack_state(state)), 0)


def shown(reader: Reader, name: str, wanted: Any) -> dict[str, Any]:
    """The first of the pictures in which that part is as wanted."""
    deadline = time.monotonic() + 30
    while True:
        event = reader.event()
        if wanted(event[name]):
            return event
        assert time.monotonic() < deadline, event[name]


def test_the_overview_is_told_of_nodes_as_they_come_change_and_go(house: House, port: int) -> None:
    reader = Reader(port, "?view=overview")
    shown(reader, "nodes", lambda nodes: not any(node["name"] == "w1@box" for node in nodes))
    say(house.reports, 1, active=0)
    event = shown(reader, "nodes", lambda nodes: any(node["name"] == "w1@box" for node in nodes))
    (node,) = (each for each in event["nodes"] if each["name"] == "w1@box")
    assert (node["kind"], node["slots"], node["active"], node["is_alive"]) == ("worker", 4, 0, True)
    assert node["queues"] == ["mail"]
    say(house.reports, 2, active=3)
    event = shown(reader, "nodes", lambda nodes: any(node["active"] == 3 for node in nodes))
    assert [(each["id"], each["worker"]) for each in event["running"]] == [("the-id", "w1@box")]
    house.reports.post(Report("w1-1", 3, time.time(), pack_state(NodeState("worker", "w1@box")), is_last=True), 0)
    shown(reader, "nodes", lambda nodes: not any(node["name"] == "w1@box" for node in nodes))
    reader.close()


@pytest.mark.parametrize(
    ("view", "parts"),
    [
        ("overview", {"queues", "nodes", "types", "running", "problems"}),
        ("queues", {"queues", "problems"}),
        ("nodes", {"nodes", "running", "problems"}),
        ("tasks", {"running", "tail", "types"}),
    ],
)
def test_a_view_is_sent_its_own_parts_and_the_others_empty(
    app: TaskBus, house: House, port: int, view: str, parts: set[str]
) -> None:
    app.send("shop.mail", queue="nobody-takes-it")
    say(house.reports, 1, active=1)
    reader = Reader(port, f"?view={view}")
    told = "nodes" if "nodes" in parts else "running" if "running" in parts else "queues"
    event = shown(reader, told, lambda found: found)
    assert {"now", "rates", "wait", "run"} <= event.keys()
    assert [part for part in PARTS if part not in parts and event[part]] == []
    reader.close()
