"""Routes of queues, tasks and types: what they say, and what they do."""

from urllib.parse import quote

import msgpack
import pytest
from starlette.testclient import TestClient

from taskbus.monitor.report import Running, TaskRecord
from taskbus.outcome import State
from taskbus.store.base import Filter, SaveResult, StoredResult
from taskbus.store.reports import Report
from taskbus.web.house import House
from tests.web.work.rig import HOSTILE, bury, get, post, remember, report, waiting

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
    found = [get(viewer, f"/tasks?where={where}")["items"] for where in ("state:pending", "state:started")]
    assert [[item["id"] for item in items] for items in found] == [[sent], ["run-1"]]
    house.history = None
    without = get(viewer, "/tasks")
    assert [item["id"] for item in without["items"]] == ["dead-1"]
    assert "there is no history" in without["note"]
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


def test_a_call_is_offered_to_be_copied_without_the_secrets_in_its_texts(house: House, viewer: TestClient) -> None:
    url, token, card = "https://bob:s3cr3tpw@bank.example/pay", "Bearer c2VjcmV0LXRva2Vu", 4111111111111111
    texts = [url, f"call it with {token}", {"headers": {url: [token, b"password=s3cr3tpw"]}}, "password=s3cr3tpw"]
    for number, value in enumerate(texts):
        bury(house.app, f"dead-{number}", value, text=value)
    bury(house.app, "dead-all", "to", *texts, card)
    sent = house.app.send("shop.mail", [url]).id
    for task_id in (*(f"dead-{number}" for number in range(len(texts))), "dead-all", sent):
        shown = str(get(viewer, f"/tasks/{task_id}"))
        for secret in ("s3cr3tpw", "c2VjcmV0LXRva2Vu", str(card)):
            assert secret not in shown
    shown = get(viewer, "/tasks/dead-0")
    call = "'shop.mail', ['https://bob:***@bank.example/pay'], {'text': 'https://bob:***@bank.example/pay'}"
    assert call in shown["python"]
    assert '"https://bob:***@bank.example/pay"' in shown["cli"]


def test_what_has_ended_is_found_in_the_history_page_by_page_and_shown_with_its_attempts(
    house: House, viewer: TestClient
) -> None:
    now = house.clock()
    failing = TaskRecord(
        "t-1", "shop.mail", "mails", "RETRY", 1, sent_at=now - 9, started_at=now - 8, ran_for=1.0, ended_at=now - 7,
        worker="old@home", args="('ann',)", error="builtins.OSError", message="no route", retry_in=2.0, flow="f-1",
    )  # fmt: skip
    ended = failing._replace(state="SUCCESS", attempt=2, due_at=now - 5, started_at=now - 5, ended_at=now - 4, error="")
    others = [failing._replace(id=f"t-{n}", state="FAILURE", ended_at=now - n / 10) for n in range(2, 6)]
    remember(house, *others, failing, ended)
    first = get(viewer, "/tasks?where=task:shop.* state:failure&limit=3")
    second = get(viewer, f"/tasks?where=task:shop.* state:failure&limit=3&after={quote(first['next'])}")
    assert [row["id"] for page in (first, second) for row in page["items"]] == ["t-2", "t-3", "t-4", "t-5"]
    assert first["count"] == 4
    shown = get(viewer, "/tasks/t-1")
    assert (shown["row"]["state"], shown["row"]["queue"], shown["flow"]) == ("SUCCESS", "mails", "f-1")
    assert [(each["attempt"], each["state"], each["waited"], each["retry_in"]) for each in shown["attempts"]] == [
        (1, "RETRY", pytest.approx(1.0), 2.0),
        (2, "SUCCESS", pytest.approx(0.0), None),
    ]
    assert (shown["python"], shown["cli"]) == ("", "")  # what is remembered of arguments is no call
    get(viewer, "/tasks?where=state:nothing", 400)
    get(viewer, "/tasks?after=nonsense", 400)


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
