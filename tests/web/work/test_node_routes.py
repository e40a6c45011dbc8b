"""Routes of nodes: what they say, and what workers are told by them."""

import threading
from typing import Any
from urllib.parse import quote

import msgpack
import pytest
from starlette.testclient import TestClient

from taskbus.monitor.report import NodeState, pack_state
from taskbus.store.reports import Answer, Report
from taskbus.web.house import House
from tests.web.work.rig import HOSTILE, get, post, report
from tests.web.work.waiting import wait_until

# --- nodes -----------------------------------------------------------------------------------------------------------


class Obedient:
    """A worker's node that answers what it is told."""

    def __init__(self, house: House) -> None:
        self.told: list[Any] = []
        self._house = house
        self._node = report(house)
        self._number = 1
        self._seen = 0

    def turn(self) -> None:
        inbox = self._post(())
        answers = []
        for order in inbox.orders:
            self._seen = order.number
            self.told.append(msgpack.unpackb(order.order))
            answers.append(Answer(order.number, self._node, msgpack.packb({"ok": "will do"})))
        self._post(answers)

    def _post(self, answers: Any) -> Any:
        self._number += 1
        state = NodeState("worker", "ann@home")
        now = self._house.clock()
        return self._house.reports.post(Report(self._node, self._number, now, pack_state(state)), self._seen, answers)


@pytest.mark.parametrize("name", ["taskbus-77@box", "box:77", "taskbus-77@box-1"])
def test_a_worker_without_a_name_is_found_by_what_its_failed_attempts_call_it(
    house: House, viewer: TestClient, name: str
) -> None:
    report(house, "taskbus-77@box", host="box", pid=77)
    report(house, "taskbus-7@box", host="box", pid=7)
    assert get(viewer, f"/nodes/{quote(name)}")["node"]["name"] == "taskbus-77@box"
    get(viewer, "/nodes/box:78", 404)


@pytest.mark.parametrize(
    ("act", "body", "order"),
    [
        ("grow", {"n": 2}, {"do": "pool_grow", "n": 2}),
        ("shrink", {"n": 1}, {"do": "pool_shrink", "n": 1}),
        ("stop", {}, {"do": "shutdown"}),
        ("limit", {"task": "t", "rate": "5/m"}, {"do": "rate_limit", "task_name": "t", "rate_limit": "5/m"}),
        ("add_queue", {"queue": "q"}, {"do": "add_consumer", "queue": "q"}),
        ("cancel_queue", {"queue": "q"}, {"do": "cancel_consumer", "queue": "q"}),
        ("ask", {"command": "stats"}, {"do": "stats"}),
    ],
)
def test_a_worker_is_told_by_one_order_and_its_answer_is_waited_for(
    house: House, admin: TestClient, act: str, body: Any, order: Any
) -> None:
    node, stop = Obedient(house), threading.Event()

    def live() -> None:
        while not stop.wait(0.02):
            node.turn()

    thread = threading.Thread(target=live)
    thread.start()
    try:
        answer = post(admin, f"/nodes/ann@home/{act}", body)
        wait_until(lambda: node.told, what="the order")
    finally:
        stop.set()
        thread.join()
    assert node.told == [order]
    assert answer == {"ok": None if act == "stop" else "will do", "error": None}


def test_nodes_are_listed_and_shown_and_one_that_is_silent_is_told_so(
    house: House, operator: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    report(house, limits=(("shop.mail", "5/m"),), runners=((9, 1024),))
    (node,) = (each for each in get(operator, "/nodes")["items"] if each["kind"] == "worker")
    assert (node["name"], node["slots"], node["is_alive"]) == ("ann@home", 4, True)
    shown = get(operator, "/nodes/ann@home")
    assert (shown["limits"], shown["runners"]) == ({"shop.mail": "5/m"}, [{"pid": 9, "rss": 1024}])
    monkeypatch.setattr("taskbus.web.api.nodes.TIMEOUT", 0.1)
    assert "nobody answered" in post(operator, "/nodes/ann@home/grow", {"n": 1}, 504)["error"]
    post(operator, "/nodes/ann@home/grow", {"n": 0}, 400)
    post(operator, "/nodes/ann@home/stop", status=403)
    post(operator, "/nodes/ann@home/ask", {"command": "shutdown"}, 400)
    for name in HOSTILE:
        post(operator, f"/nodes/{quote(name, safe='').replace('.', '%2E')}/grow", {"n": 1}, 404)
