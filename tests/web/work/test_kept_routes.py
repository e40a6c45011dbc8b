"""Routes of workflows, dead letters and schedules; and who may use which route."""

from urllib.parse import quote

from starlette.testclient import TestClient

from taskbus import chain, chord, group
from taskbus.outcome import Failure
from taskbus.store.base import Filter
from taskbus.store.flows import EndNode, NodeState
from taskbus.web.api.registry import ENDPOINTS
from taskbus.web.house import House
from taskbus.web.shapes.basis import Role
from taskbus.wire import compact
from tests.web.work.rig import bury, get, post, waiting
from tests.web.work.waiting import wait_until

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


def test_a_join_is_drawn_behind_its_members_and_not_behind_what_they_follow(house: House, viewer: TestClient) -> None:
    mail, bill = house.app.tasks["shop.mail"], house.app.tasks["shop.bill"]
    flow = chain(mail.si("first"), group(mail.si("a"), mail.si("b")), bill.si(1)).delay().flow_id
    shown = get(viewer, f"/flows/{flow}")
    kinds = {node["id"]: node["kind"] for node in shown["nodes"]}
    assert sorted((kinds[start], kinds[end]) for start, end in shown["edges"]) == [
        ("join", "task"), ("task", "join"), ("task", "join"), ("task", "task"), ("task", "task"),
    ]  # fmt: skip


# --- dead letters ----------------------------------------------------------------------------------------------------


def test_dead_letters_are_listed_newest_first_page_by_page_grouped_and_shown(house: House, viewer: TestClient) -> None:
    for number in range(5):
        bury(house.app, f"dead-{number}", f"user-{number}", task="shop.bill" if number > 2 else "shop.mail")
    first = get(viewer, "/dlq?limit=3")
    second = get(viewer, f"/dlq?limit=3&after={quote(first['next'])}")
    assert [letter["id"] for page in (first, second) for letter in page["items"]] == [
        f"dead-{n}" for n in (4, 3, 2, 1, 0)
    ]
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


def test_a_secret_argument_is_left_out_of_the_error_that_quotes_it(house: House, viewer: TestClient) -> None:
    bury(house.app, "dead-1", "ann", password="open sesame", quoted="open sesame")
    shown = [get(viewer, path) for path in ("/dlq", "/dlq/groups", "/dlq/dead-1", "/tasks/dead-1")]
    house.history = None
    shown.append(get(viewer, "/tasks"))
    assert ["*** is refused" in str(each) for each in shown] == [True] * 5
    assert [each for each in shown if "sesame" in str(each)] == []


def test_the_graph_of_a_workflow_shows_errors_without_secrets(house: House, viewer: TestClient) -> None:
    mail, bill = house.app.tasks["shop.mail"], house.app.tasks["shop.bill"]
    flow = chord([mail.si("a", password="open sesame"), mail.si("b")], bill.si(1)).delay().flow_id
    delivery = house.app.broker.peek("default", 10)[0]
    dead = compact.decode(delivery.wire, "default", 0, 1 << 20).id
    bury(house.app, dead, "a", password="open sesame", quoted="open sesame")
    failure = Failure("builtins.ValueError", "open sesame is refused by amqp://bob:hunter2@box")
    house.store.apply([EndNode(flow, dead, NodeState.FAILURE, 100.0, failure=failure)])
    shown = get(viewer, f"/flows/{flow}")
    assert "*** is refused by amqp://bob:***@box" in str(shown)
    assert "sesame" not in str(shown)


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
