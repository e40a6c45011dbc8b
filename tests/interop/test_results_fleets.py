"""Three ways: Celery and TaskBus as sender, as worker and as reader of results; and workflows that both work on."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
from celery import chain, chord
from celery.result import AsyncResult

import taskbus
from taskbus.errors import FlowFailed, RemoteError
from taskbus.outcome import State
from tests.interop.results_canvases import BAD, GOOD, WHO, Sent, by_id, got, read_by, send_all, sent
from tests.interop.results_fleet import BOTH, OURS, PATIENCE, THEIRS, Fleet, unique
from tests.servers.redis_server import RedisServer

pytestmark = [
    pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning"),  # which Celery calls
    pytest.mark.filterwarnings("ignore:.*never retrieved:ResourceWarning"),
]


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module", params=["all on redis", "redis and tables"])
def fleet(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, redis: RedisServer
) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("fleet")
    first, second = redis.url, redis.url.removesuffix("/0") + "/1"
    if request.param == "all on redis":
        fleet = Fleet(first, f"{first}?prefix=own", first, folder)
    else:
        fleet = Fleet(second, f"{second}?prefix=own", f"db+sqlite:///{folder}/results.db", folder)
    yield fleet.start()
    fleet.close()


WHERE = pytest.mark.parametrize("queue", [OURS, THEIRS])


# --- three ways ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reader", ["celery", "taskbus"])
@pytest.mark.parametrize("sender", ["celery", "taskbus"])
@WHERE
def test_a_value_comes_back_whoever_sends_runs_and_reads(fleet: Fleet, sender: str, queue: str, reader: str) -> None:
    task_id = sent(fleet, sender, "add", queue, 2, 3)
    assert read_by(fleet, reader, task_id, queue) == 5


@pytest.mark.parametrize("reader", ["celery", "taskbus"])
@WHERE
def test_an_error_comes_back_as_the_class_that_it_was(fleet: Fleet, queue: str, reader: str) -> None:
    task_id = sent(fleet, reader, "fail", queue, "no stock")
    with pytest.raises(ValueError) as raised:
        read_by(fleet, reader, task_id, queue)
    assert raised.value.args == ("no stock",)
    assert "ValueError: no stock" in (fleet.celery.AsyncResult(task_id).traceback or "")


@WHERE
def test_it_can_be_awaited(fleet: Fleet, queue: str) -> None:
    result = fleet.taskbus.send("shop.add", (1, 2), queue=queue)
    assert asyncio.run(result.aget(timeout=PATIENCE)) == 3
    assert result.is_ready


def test_by_its_id_alone_a_result_is_found_where_it_is(fleet: Fleet) -> None:
    theirs = fleet.sig("add", 1, 2, queue=THEIRS).apply_async()
    ours = fleet.taskbus.send("shop.add", (3, 4), queue="ours-alone")
    nobodys = fleet.taskbus.result(unique("never sent"))
    found = [fleet.taskbus.result(theirs.id), fleet.taskbus.result(ours.id)]
    assert [each.get(timeout=PATIENCE) for each in found] == [3, 7]
    assert asyncio.run(fleet.taskbus.result(theirs.id).aget(timeout=PATIENCE)) == 3
    assert nobodys.state is State.PENDING
    for each in found:
        each.forget()
        assert each.state is State.PENDING


@pytest.mark.parametrize("queue", [OURS, "ours-alone"])
def test_the_command_line_shows_a_result_wherever_it_is(fleet: Fleet, queue: str) -> None:
    sent = fleet.taskbus.send("shop.add", (1, 2), queue=queue)
    command = [sys.executable, "-m", "taskbus", "result", sent.id, "--wait", "30", "-o", "json"]
    shown = subprocess.run(command, env=fleet.environment, capture_output=True, text=True, timeout=PATIENCE)
    assert shown.returncode == 0, shown.stderr
    assert (json.loads(shown.stdout)["state"], json.loads(shown.stdout)["value"]) == ("SUCCESS", 3)


@WHERE
def test_a_retried_task_has_its_value_in_the_end(fleet: Fleet, queue: str) -> None:
    assert got(fleet.sig("third_time", queue=queue).apply_async()) == 3


def test_a_task_that_nobody_knows_is_celerys_not_registered(fleet: Fleet) -> None:
    result = fleet.taskbus.send("shop.unknown", queue=THEIRS)
    with pytest.raises(RemoteError, match=r"shop\.unknown") as raised:
        got(result)
    assert raised.value.type == "celery.exceptions.NotRegistered"


def test_the_call_is_in_an_extended_result(fleet: Fleet) -> None:
    result = fleet.sig("add", 1, y=2).apply_async()
    assert got(result) == 3
    found = AsyncResult(result.id, app=fleet.celery)
    assert (found.name, found.args, found.kwargs, found.queue, found.retries) == ("shop.add", [1], {"y": 2}, OURS, 0)


# --- links -----------------------------------------------------------------------------------------------------------


@WHERE
def test_a_link_is_given_the_value_first(fleet: Fleet, queue: str) -> None:
    key = unique("linked")
    first = fleet.sig("add", 2, 3, queue=queue)
    first.link(fleet.sig("note", key, queue=THEIRS if queue == OURS else OURS))
    result = first.apply_async()
    assert [line["value"] for line in fleet.lines(key)] == [5]
    got(result)
    assert [child.name for child in AsyncResult(result.id, app=fleet.celery).children] == ["shop.note"]


def test_two_links_and_an_immutable_one(fleet: Fleet) -> None:
    one, two, three = unique("one"), unique("two"), unique("three")
    first = fleet.sig("add", 2, 3)
    for key in (one, two):
        first.link(fleet.sig("note", key, queue=BOTH))
    first.link(fleet.sig("noted", three, 7, queue=BOTH, immutable=True))
    first.apply_async()
    assert [fleet.lines(key)[0]["value"] for key in (one, two, three)] == [5, 5, 7]


@WHERE
def test_an_errback_of_the_old_form_is_given_the_id(fleet: Fleet, queue: str) -> None:
    failed = fleet.sig("fail", queue=queue).on_error(fleet.sig("told_id", queue=queue)).apply_async()
    fleet.wait(lambda: failed.id in [line["task_id"] for line in fleet.lines("told_id")], "it is told")


@WHERE
def test_an_errback_of_the_new_form_is_given_all(fleet: Fleet, queue: str) -> None:
    failed = fleet.sig("fail", "why", queue=queue).on_error(fleet.sig("told_all", queue=queue)).apply_async()
    fleet.wait(lambda: failed.id in [line["task_id"] for line in fleet.lines("told_all")], "it is told")
    (told,) = [line for line in fleet.lines("told_all") if line["task_id"] == failed.id]
    assert told["who"] == ("taskbus" if queue == OURS else "celery")
    assert "why" in str(told["error"])
    assert "ValueError: why" in told["traceback"]


# --- chains, groups, chords ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sent_at_once(fleet: Fleet) -> Sent:
    return send_all(fleet, WHO)


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("name", GOOD)
def test_a_workflow_of_celerys_runs_to_its_end(sent_at_once: Sent, name: str, who: str) -> None:
    result, expected = sent_at_once[name, who]
    assert got(result) == expected


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("name", BAD)
def test_a_workflow_of_celerys_fails_to_its_end(fleet: Fleet, sent_at_once: Sent, name: str, who: str) -> None:
    result, expected = sent_at_once[name, who]
    with pytest.raises(expected, match="bad"):
        got(by_id(fleet, result))


@WHERE
def test_the_errbacks_of_a_body_are_told_that_it_will_not_run(fleet: Fleet, queue: str) -> None:
    body = fleet.sig("total", queue=queue).on_error(fleet.sig("told_id", queue=queue))
    members = [fleet.sig("add", 1, 1, queue=OURS), fleet.sig("fail", "bad", queue=queue)]
    result = chord(members, body).apply_async()
    fleet.wait(lambda: result.id in [line["task_id"] for line in fleet.lines("told_id")], "the errback is told")


def test_a_task_that_keeps_no_result_hands_its_value_on(fleet: Fleet) -> None:
    assert got(chain(fleet.sig("unkept", 5), fleet.sig("add", 1)).apply_async()) == 6


def test_what_names_no_queue_goes_where_the_task_before_came_from(fleet: Fleet) -> None:
    steps = [fleet.celery.signature("shop.who").set(queue=OURS), fleet.celery.signature("shop.who")]
    assert got(chain(steps).apply_async()) == "taskbus"


# --- workflows of TaskBus's, with members that are Celery's ----------------------------------------------------------


def test_a_chain_of_taskbuss_goes_through_a_task_of_celerys(fleet: Fleet) -> None:
    ours, foreign = fleet.tasks["ours_add"], fleet.tasks["foreign"]
    assert got(taskbus.chain(ours.s(1, 2), foreign.s(10), ours.s(100)).delay()) == 113


def test_a_workflow_of_taskbuss_begins_and_ends_with_tasks_of_celerys(fleet: Fleet) -> None:
    ours, foreign = fleet.tasks["ours_add"], fleet.tasks["foreign"]
    assert got(taskbus.chain(foreign.s(1, 2), ours.s(10), foreign.s(100)).delay()) == 113


def test_a_chord_of_taskbuss_has_members_of_both_fleets(fleet: Fleet) -> None:
    ours, foreign, total = (fleet.tasks[name] for name in ("ours_add", "foreign", "ours_total"))
    members = [foreign.s(1, 1), ours.s(2, 2), foreign.s(3, 3)]
    assert got(taskbus.chord(members, total.s()).delay()) == 12
    assert got(taskbus.group(members).delay()) == [2, 4, 6]


def test_a_member_that_fails_in_celery_fails_what_waits_for_it(fleet: Fleet) -> None:
    result = taskbus.chain(fleet.tasks["foreign_fail"].s(1), fleet.tasks["ours_add"].s(1)).delay()
    with pytest.raises(FlowFailed, match=r"shop\.foreign_fail .* failed: bad 1"):
        got(result)


def test_a_member_that_is_sent_and_found_failed_says_why(fleet: Fleet) -> None:
    failed, fine = fleet.tasks["foreign_fail"].s(7), fleet.tasks["ours_add"].s(1, 1)
    result = taskbus.group([failed, fine]).delay()
    with pytest.raises(Exception, match="bad 7"):
        got(result)
