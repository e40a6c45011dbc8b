"""What an autoscaler is told: of queues that nobody knows, too."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from taskbus import TaskBus
from taskbus.web.house import House
from taskbus.web.server import web_app
from taskbus.web.shapes.basis import Role
from tests.servers.rabbitmq_server import the_node
from tests.web.conftest import Visitor, asking, running, whoever_says_so
from tests.web.work.rig import get, report
from tests.web.work.waiting import wait_until


def test_a_queue_that_nobody_knows_is_no_error_and_is_named(app: TaskBus, visitor: Visitor) -> None:
    app.send("shop.mail", queue="mail")
    viewer = visitor(Role.VIEWER)
    said = get(viewer, "/scaling?queues=mail,typo,mial&slots=1")
    assert (said["queued"], said["desired"], said["unknown"]) == (1, 1, ["mial", "typo"])
    said = get(viewer, "/scaling?queues=typo")
    assert (said["queued"], said["in_flight"], said["desired"], said["unknown"]) == (0, 0, 0, ["typo"])
    assert get(viewer, "/scaling")["unknown"] == []


def test_a_queue_that_only_a_worker_knows_yet_is_known(app: TaskBus, house: House, visitor: Visitor) -> None:
    report(house)
    viewer = visitor(Role.VIEWER)
    wait_until(lambda: get(viewer, "/scaling?queues=default")["workers"] == 1, what="the worker")
    assert get(viewer, "/scaling?queues=default")["unknown"] == []


@pytest.fixture
def on_rabbitmq(tmp_path: Path) -> Iterator[tuple[TaskBus, TestClient]]:
    with TaskBus("tests", broker=the_node().url, results=f"sqlite:///{tmp_path}/results.db") as app:
        for web in running(web_app(app, identify=whoever_says_so)):
            yield app, asking(web, Role.VIEWER)


def test_where_the_broker_lists_no_queues_one_without_workers_is_asked_for_by_name(
    on_rabbitmq: tuple[TaskBus, TestClient], tmp_path: Path
) -> None:
    app, viewer = on_rabbitmq
    queue = f"scaled-{tmp_path.name}"
    for number in range(3):
        app.send("shop.mail", [number], queue=queue)
    said = get(viewer, f"/scaling?queues={queue},typo&slots=2")
    assert (said["queued"], said["workers"], said["desired"], said["unknown"]) == (3, 0, 2, ["typo"])
