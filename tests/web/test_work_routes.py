"""Routes of queues, tasks, nodes, workflows, dead letters and schedules: what they say, and what they do."""

import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import quote
from uuid import UUID

import msgpack
import pytest
from starlette.testclient import TestClient

from taskbus import TaskBus, chord, codec, cron
from taskbus.message import Message
from taskbus.monitor.report import NodeState, Running, pack_state
from taskbus.outcome import Failure, Reason, State
from taskbus.store.base import Bury, DeadLetter, FailedAttempt, Filter, SaveAttempt, SaveResult, StoredResult
from taskbus.store.report_opening import open_reports
from taskbus.store.reports import Answer, Report
from taskbus.web.api.registry import ENDPOINTS
from taskbus.web.house import House
from taskbus.web.shapes.basis import Role
from taskbus.wire import compact
from tests.web.conftest import Visitor
from tests.web.waiting import wait_until

HOSTILE = [
    "'; drop table taskbus_message; --",
    "<script>alert(1)</script>",
    "../../etc/passwd",
    "ä/ü?x=1#y",
    "%00",
    "*",
]


@pytest.fixture
def house(app: TaskBus) -> Iterator[House]:
    """A server with reports beside an application that has two tasks."""

    @app.task(name="shop.mail")
    def mail(to: str, *, count: int = 1, order: UUID | None = None, password: str = "") -> None: ...

    @app.task(name="shop.bill")
    def bill(number: int) -> None: ...

    app.schedule("nightly", mail.s("ann"), cron("0 3 * * *"))
    with closing(open_reports(app.results_url, app.clock)) as reports:
        house = House(app, reports=reports, knows_code=True)
        yield house
        house.jobs.close()


@pytest.fixture
def viewer(visitor: Visitor) -> TestClient:
    return visitor(Role.VIEWER)


@pytest.fixture
def operator(visitor: Visitor) -> TestClient:
    return visitor(Role.OPERATOR)


@pytest.fixture
def admin(visitor: Visitor) -> TestClient:
    return visitor(Role.ADMIN)


def get(client: TestClient, path: str, status: int = 200) -> Any:
    answer = client.get(f"/api/v1{path}")
    assert answer.status_code == status, answer.text
    return answer.json()


def post(client: TestClient, path: str, body: Any = None, status: int = 200) -> Any:
    answer = client.post(f"/api/v1{path}", json={} if body is None else body)
    assert answer.status_code == status, answer.text
    return answer.json()


def report(house: House, name: str = "ann@home", number: int = 1, **fields: Any) -> str:
    """A worker that reports; its node."""
    node = f"{name}-1"
    state = NodeState("worker", name, slots=4, queues=("default",), tasks=("shop.mail",), **fields)
    house.reports.post(Report(node, number, house.clock(), pack_state(state)), 0)
    return node


def bury(app: TaskBus, task_id: str, *args: Any, task: str = "shop.mail", error: str = "ValueError") -> None:
    """A dead letter as a worker leaves it."""
    failure = Failure(f"builtins.{error}", "no route to host, password=hunter2", "Traceback\n  in the shop\n")
    wire = compact.encode(Message(task_id, task, codec.encode((list(args), {})), sent_at=90.0))
    letter = DeadLetter(
        task_id, task, "default", Reason.RETRIES_EXHAUSTED, failure, wire, compact.CONTENT_TYPE, 3, 1, 90.0, 100.0
    )
    saved = StoredResult(task_id, task, State.FAILURE, failure=failure, finished_at=100.0)
    attempt = FailedAttempt(task_id, 1, 98.0, 100.0, "ann@home", failure)
    app.store.apply([SaveAttempt(attempt), SaveResult(saved, ttl=1e9), Bury(letter)])


def waiting(app: TaskBus, queue: str = "default") -> list[str]:
    return [compact.decode(each.wire, queue, 0, 1 << 20).id for each in app.broker.peek(queue, 100)]


# --- queues ----------------------------------------------------------------------------------------------------------


def test_a_queue_is_listed_shown_paused_resumed_and_purged(
    house: House, operator: TestClient, admin: TestClient
) -> None:
    sent = house.app.send("shop.mail", ["bob"], {"password": "hunter2", "count": 2})
    report(house)
    (queue,) = get(operator, "/queues")["items"]
    assert (queue["name"], queue["ready"], queue["workers"], queue["is_paused"]) == ("default", 1, 1, False)
    assert post(operator, "/queues/default/pause") == {"changed": True, "count": 0}
    assert post(operator, "/queues/default/pause")["changed"] is False
    assert house.reports.paused() == {"default"}
    shown = get(operator, "/queues/default")
    assert shown["queue"]["is_paused"] is True
    (message,) = shown["messages"]
    assert (message["id"], message["args"]) == (sent.id, "('bob',)")
    assert "hunter2" not in str(shown)
    assert post(operator, "/queues/default/resume")["changed"] is True
    assert house.reports.paused() == frozenset()
    post(operator, "/queues/default/purge", status=403)
    assert post(admin, "/queues/default/purge", {"dry_run": True}) == {"changed": False, "count": 1}
    assert waiting(house.app) == [sent.id]
    assert post(admin, "/queues/default/purge") == {"changed": True, "count": 1}
    assert waiting(house.app) == []


@pytest.mark.parametrize("name", HOSTILE)
def test_a_queue_of_a_hostile_name_is_not_there_and_cannot_be_paused(
    house: House, admin: TestClient, name: str
) -> None:
    house.app.send("shop.mail", ["bob"])
    path = f"/queues/{quote(name, safe='').replace('.', '%2E')}"
    assert name in get(admin, path, 404)["error"] or repr(name) in get(admin, path, 404)["error"]
    post(admin, f"{path}/pause", status=400)
    post(admin, f"{path}/purge", status=404)
    assert len(waiting(house.app)) == 1


# --- tasks -----------------------------------------------------------------------------------------------------------


def test_a_task_is_sent_by_its_name_if_it_fits(house: House, operator: TestClient) -> None:
    sent = post(operator, "/tasks", {"task": "shop.mail", "args": ["bob"], "kwargs": {"count": 3}, "priority": 7})
    (delivery,) = house.app.broker.peek("default", 10)
    assert (waiting(house.app), delivery.priority) == ([sent["id"]], 7)
    assert "did you mean 'shop.mail'?" in post(operator, "/tasks", {"task": "shop.mial"}, 404)["advice"]
    unfit = {"task": "shop.mail", "args": ["b"], "kwargs": {"order": "x"}}
    assert "argument 'order'" in post(operator, "/tasks", unfit, 400)["error"]
    post(operator, "/tasks", {"task": "shop.mail", "args": [1, 2, 3]}, 400)
    post(operator, "/tasks", {"task": "shop.mail", "args": ["b"], "queue": "no queue"}, 400)
    assert len(waiting(house.app)) == 1


def test_what_waits_runs_and_died_is_found_and_told_in_detail(house: House, viewer: TestClient) -> None:
    sent = house.app.send("shop.mail", ["bob"], {"password": "hunter2"}).id
    bury(house.app, "dead-1", "carl")
    running = Running("run-1", "shop.mail", "default", 2, house.clock() - 5, 77, 0, (3, 10, "half", 1.0))
    report(house, running=(running,))
    found = [
        item["id"]
        for where in ("state:pending", "state:started", "")
        for item in get(viewer, f"/tasks?where={where}")["items"]
    ]
    assert found == [sent, "run-1", "dead-1"]
    shown = get(viewer, f"/tasks/{sent}")
    assert (shown["is_waiting"], shown["row"]["state"], shown["row"]["queue"]) == (True, "PENDING", "default")
    assert "hunter2" not in str(shown)
    assert shown["cli"].startswith("taskbus call -Q default -- shop.mail")
    shown = get(viewer, "/tasks/run-1")
    assert (shown["is_running"], shown["row"]["state"], shown["row"]["attempt"]) == (True, "STARTED", 2)
    assert shown["progress"] == {"done": 3, "total": 10, "note": "half", "at": 1.0}
    shown = get(viewer, "/tasks/dead-1")
    assert (shown["is_dead_letter"], shown["row"]["state"], shown["row"]["args"]) == (True, "FAILURE", "('carl',)")
    assert [(each["attempt"], each["error"], each["ran_for"]) for each in shown["attempts"]] == [
        (1, "builtins.ValueError", 2.0)
    ]
    assert shown["python"] == "app.send('shop.mail', ['carl'], queue='default', priority=3)"


@pytest.mark.parametrize("task_id", HOSTILE)
def test_a_task_of_a_hostile_id_is_not_known(house: House, operator: TestClient, task_id: str) -> None:
    path = f"/tasks/{quote(task_id, safe='').replace('.', '%2E')}"
    assert repr(task_id) in get(operator, path, 404)["error"]
    post(operator, f"{path}/retry", status=404)
    assert post(operator, f"{path}/revoke") == {"changed": True, "count": 0}


def test_a_dead_task_is_retried_as_it_was_or_with_arguments_that_fit(house: House, operator: TestClient) -> None:
    bury(house.app, "dead-1", "carl")
    bury(house.app, "dead-2", "dora")
    assert post(operator, "/tasks/dead-1/retry") == {"id": "dead-1"}
    post(operator, "/tasks/dead-2/retry", {"args": ["dora", 7]}, 409)
    assert post(operator, "/tasks/dead-2/retry", {"args": ["emma"], "kwargs": {"count": 2}}) == {"id": "dead-2"}
    assert sorted(waiting(house.app)) == ["dead-1", "dead-2"]
    assert house.store.count_dead_letters(Filter()) == 0
    assert "('emma',)" in str(get(operator, "/queues/default")["messages"])


def test_a_task_that_went_well_is_never_sent_from_what_is_remembered(house: House, operator: TestClient) -> None:
    saved = StoredResult("well-1", "shop.mail", State.SUCCESS, b"\xc0", finished_at=100.0)
    house.store.apply([SaveResult(saved, ttl=1e9)])
    refused = post(operator, "/tasks/well-1/retry", status=409)
    assert "its message is gone" in refused["error"] and "give all of its arguments" in refused["advice"]
    post(operator, "/tasks/well-1/retry", {"args": ["only these"]}, 409)
    sent = post(operator, "/tasks/well-1/retry", {"args": ["emma"], "kwargs": {}})["id"]
    assert sent != "well-1" and waiting(house.app) == [sent]
    post(operator, "/tasks/well-1/revoke", status=409)


def test_a_revocation_is_an_order_to_all_that_outlives_every_worker(house: House, operator: TestClient) -> None:
    assert post(operator, "/tasks/abc/revoke", {"terminate": True})["changed"] is True
    inbox = house.reports.post(Report("later-1", 1, house.clock(), b""), 0)
    (order,) = inbox.orders
    assert msgpack.unpackb(order.order) == {"do": "revoke", "task_id": ["abc"], "terminate": True}
    assert order.until - house.clock() > 3 * 3600 - 60


def test_types_are_those_that_workers_know_where_there_is_no_history(house: House, viewer: TestClient) -> None:
    report(house)
    (found,) = get(viewer, "/types")["items"]
    assert (found["task"], found["workers"], found["is_registered"]) == ("shop.mail", ["ann@home"], True)
    assert get(viewer, "/types/shop.mail")["type"]["task"] == "shop.mail"
    assert "did you mean" in get(viewer, "/types/shop.mial", 404)["advice"]


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
    (node,) = get(operator, "/nodes")["items"]
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


# --- workflows -------------------------------------------------------------------------------------------------------


def test_a_workflow_is_listed_shown_as_a_graph_and_called_off(house: House, operator: TestClient) -> None:
    mail, bill = house.app.tasks["shop.mail"], house.app.tasks["shop.bill"]
    flow = chord([mail.si("a"), mail.si("b")], bill.si(1)).delay()
    (item,) = get(operator, "/flows")["items"]
    assert (item["id"], item["total"], item["done"], item["state"]) == (flow.flow_id, 3, 0, "RUNNING")
    shown = get(operator, f"/flows/{item['id']}")
    kinds = sorted((node["task"], node["kind"]) for node in shown["nodes"])
    assert kinds == [("", "join"), ("shop.bill", "task"), ("shop.mail", "task"), ("shop.mail", "task")]
    assert len(shown["edges"]) == 3
    assert [(group["total"], group["done"]) for group in shown["groups"]] == [(2, 0)]
    assert post(operator, f"/flows/{item['id']}/cancel") == {"changed": True, "count": 3}
    assert post(operator, f"/flows/{item['id']}/cancel")["changed"] is False
    post(operator, f"/flows/{item['id']}/retry", status=409)
    for path in ("/flows/none", "/flows/%3Cscript%3E"):
        get(operator, path, 404)
        post(operator, f"{path}/cancel", status=404)
        post(operator, f"{path}/retry", status=404)


# --- dead letters ----------------------------------------------------------------------------------------------------


def test_dead_letters_are_listed_page_by_page_grouped_and_shown(house: House, viewer: TestClient) -> None:
    for number in range(5):
        bury(house.app, f"dead-{number}", f"user-{number}", task="shop.bill" if number > 2 else "shop.mail")
    first = get(viewer, "/dlq?limit=3")
    second = get(viewer, f"/dlq?limit=3&after={quote(first['next'])}")
    assert [letter["id"] for page in (first, second) for letter in page["items"]] == [f"dead-{n}" for n in range(5)]
    assert (first["count"], second["next"]) == (5, None)
    assert get(viewer, "/dlq?where=task:shop.bill")["count"] == 2
    get(viewer, "/dlq?where=tsk:x", 400)
    get(viewer, "/dlq?after=nonsense", 400)
    groups = get(viewer, "/dlq/groups")
    assert [(group["task"], group["count"]) for group in groups] == [("shop.mail", 3), ("shop.bill", 2)]
    shown = get(viewer, "/dlq/dead-4")
    assert (shown["letter"]["args"], len(shown["attempts"])) == ("('user-4',)", 1)
    assert "hunter2" not in str([first, second, groups, shown])
    get(viewer, "/dlq/nothing", 404)


def test_all_that_a_filter_means_is_replayed_by_a_job_after_a_dry_run(house: House, operator: TestClient) -> None:
    for number in range(7):
        bury(house.app, f"dead-{number}", f"user-{number}", task="shop.bill" if number == 6 else "shop.mail")
    assert post(operator, "/dlq/replay", {"where": "task:shop.mail", "dry_run": True}) == {"count": 6}
    assert house.store.count_dead_letters(Filter()) == 7
    job = post(operator, "/dlq/replay", {"where": "task:shop.mail"})
    assert (job["kind"], job["total"], job["by"]) == ("replay", 6, "ann")
    wait_until(lambda: get(operator, f"/jobs/{job['id']}")["state"] == "done")
    assert get(operator, f"/jobs/{job['id']}")["done"] == 6
    assert sorted(waiting(house.app)) == [f"dead-{n}" for n in range(6)]
    assert [each["id"] for each in get(operator, "/jobs")["items"]] == [job["id"]]
    get(operator, "/jobs/none", 404)


def test_a_job_goes_no_faster_than_its_rate_and_may_be_stopped(house: House, operator: TestClient) -> None:
    for number in range(5):
        bury(house.app, f"dead-{number}", "ann")
    job = post(operator, "/dlq/replay", {"where": "task:*", "rate": 0.01})
    wait_until(lambda: get(operator, f"/jobs/{job['id']}")["done"] == 1)
    stopped = post(operator, f"/jobs/{job['id']}/cancel")
    assert (stopped["state"], stopped["done"]) == ("cancelled", 1)
    assert (len(waiting(house.app)), house.store.count_dead_letters(Filter())) == (1, 4)


def test_other_arguments_are_for_one_letter_and_a_letter_they_do_not_fit_stays(
    house: House, operator: TestClient
) -> None:
    bury(house.app, "dead-1", "ann")
    bury(house.app, "dead-2", "bob")
    refused = post(operator, "/dlq/replay", {"where": "task:*", "args": ["x"]}, 409)
    assert "2 dead letters match" in refused["error"]
    job = post(operator, "/dlq/replay", {"where": "id:dead-1", "args": ["x", "y"]})
    wait_until(lambda: get(operator, f"/jobs/{job['id']}")["state"] == "done")
    found = get(operator, f"/jobs/{job['id']}")
    assert (found["done"], found["failed"]) == (0, 1)
    assert "too many positional arguments" in found["error"]
    assert house.store.count_dead_letters(Filter()) == 2


def test_dead_letters_are_purged_by_an_admin_who_says_which(
    house: House, operator: TestClient, admin: TestClient
) -> None:
    bury(house.app, "dead-1", "ann")
    bury(house.app, "dead-2", "bob")
    post(operator, "/dlq/purge", {"where": "task:*"}, 403)
    for act in ("purge", "replay"):
        assert "task:*" in post(admin, f"/dlq/{act}", {"where": " "}, 400)["error"]
    assert post(admin, "/dlq/purge", {"where": "id:dead-1", "dry_run": True}) == {"count": 1}
    job = post(admin, "/dlq/purge", {"where": "id:dead-1"})
    wait_until(lambda: get(admin, f"/jobs/{job['id']}")["state"] == "done")
    assert [letter.task_id for letter in house.store.dead_letters(Filter(), limit=9)] == ["dead-2"]
    assert waiting(house.app) == []


# --- schedules -------------------------------------------------------------------------------------------------------


def test_a_schedule_is_listed_paused_resumed_and_run(house: House, operator: TestClient) -> None:
    (item,) = get(operator, "/schedules")["items"]
    assert (item["name"], item["task"], item["zone"], item["is_paused"]) == ("nightly", "shop.mail", "UTC", False)
    assert len(item["next"]) == 5 and item["next"] == sorted(item["next"])
    assert post(operator, "/schedules/nightly/pause")["changed"] is True
    assert get(operator, "/schedules")["items"][0]["next"] == []
    assert post(operator, "/schedules/nightly/pause")["changed"] is False
    assert post(operator, "/schedules/nightly/resume")["changed"] is True
    sent = post(operator, "/schedules/nightly/run")["id"]
    assert waiting(house.app) == [sent]
    for act in ("pause", "resume", "run"):
        post(operator, f"/schedules/%3Cscript%3E/{act}", status=404)


# --- all of them -----------------------------------------------------------------------------------------------------

ADMINS = {"queues.purge", "nodes.stop", "dlq.purge"}


def test_reading_is_for_viewers_changing_for_operators_and_what_is_lost_for_good_for_admins() -> None:
    own = [
        each
        for each in ENDPOINTS
        if each.tag in ("queues", "tasks", "types", "nodes", "flows", "dlq", "jobs", "schedules")
    ]
    assert len(own) == 37
    for endpoint in own:
        expected = Role.VIEWER if endpoint.method == "GET" else Role.ADMIN if endpoint.name in ADMINS else Role.OPERATOR
        assert endpoint.role is expected, endpoint.name
