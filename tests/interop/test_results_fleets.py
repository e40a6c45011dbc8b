"""Three ways: Celery and TaskBus as sender, as worker and as reader of results; and workflows that both work on."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from celery import chain, chord, group
from celery.exceptions import ChordError
from celery.result import AsyncResult

from taskbus.errors import RemoteError
from tests.interop.results_fleet import BOTH, OURS, PATIENCE, THEIRS, Fleet, unique
from tests.servers import rabbitmq_server
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


@pytest.fixture(scope="module", params=["all on redis", "redis and tables", "rabbitmq and redis"])
def fleet(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, redis: RedisServer
) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("fleet")
    first, second = redis.url, redis.url.removesuffix("/0") + "/1"
    match request.param:
        case "all on redis":
            fleet = Fleet(first, f"{first}?prefix=own", first, folder)
        case "redis and tables":
            fleet = Fleet(second, f"{second}?prefix=own", f"db+sqlite:///{folder}/results.db", folder)
        case _:
            url = rabbitmq_server.shared_node().url
            fleet = Fleet(url, f"sqlite:///{folder}/own.db", first, folder)
    yield fleet
    fleet.close()


def got(result: Any) -> Any:
    """What a reader of either kind gets."""
    return result.get(timeout=PATIENCE)


def by_id(fleet: Fleet, result: Any) -> Any:
    """The result alone: one that knows what came before raises the error of that."""
    return AsyncResult(result.id, app=fleet.celery)


WHERE = pytest.mark.parametrize("queue", [OURS, THEIRS])


# --- three ways ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reader", ["celery", "taskbus"])
@pytest.mark.parametrize("sender", ["celery", "taskbus"])
@WHERE
def test_a_value_comes_back_whoever_sends_runs_and_reads(fleet: Fleet, sender: str, queue: str, reader: str) -> None:
    task_id = sent(fleet, sender, "add", queue, 2, 3)
    assert read_by(fleet, reader, task_id, queue) == 5


def sent(fleet: Fleet, sender: str, task: str, queue: str, *args: Any) -> str:
    if sender == "celery":
        return str(fleet.sig(task, *args, queue=queue).apply_async().id)
    return fleet.taskbus.send(f"shop.{task}", args, queue=queue).id


def read_by(fleet: Fleet, reader: str, task_id: str, queue: str) -> Any:
    return got(
        AsyncResult(task_id, app=fleet.celery) if reader == "celery" else fleet.taskbus.result(task_id, queue=queue)
    )


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


@WHERE
def test_a_retried_task_has_its_value_in_the_end(fleet: Fleet, queue: str) -> None:
    assert got(fleet.sig("third_time", queue=queue).apply_async()) == 3


def test_a_task_that_nobody_knows_is_celerys_not_registered(fleet: Fleet) -> None:
    result = fleet.taskbus.send("shop.unknown", queue=THEIRS)
    with pytest.raises(RemoteError, match="shop.unknown") as raised:
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

WHO = {"ours": (OURS, OURS), "ours first": (OURS, THEIRS), "theirs first": (THEIRS, OURS), "theirs": (THEIRS, THEIRS),
       "whoever comes": (BOTH, BOTH)}  # fmt: skip
MEMBERS = pytest.mark.parametrize(("one", "two"), WHO.values(), ids=WHO.keys())


@MEMBERS
def test_a_chain_runs_on(fleet: Fleet, one: str, two: str) -> None:
    steps = [fleet.sig("add", 1, 2, queue=one), fleet.sig("add", 10, queue=two), fleet.sig("add", 100, queue=one)]
    result = chain(steps).apply_async()
    assert got(result) == 113
    assert (result.parent.get(timeout=PATIENCE), result.parent.parent.get(timeout=PATIENCE)) == (13, 3)


@MEMBERS
def test_a_group_has_its_values_in_order(fleet: Fleet, one: str, two: str) -> None:
    members = [fleet.sig("add", n, n, queue=queue) for n, queue in enumerate((one, two, one, two))]
    assert got(group(members).apply_async()) == [0, 2, 4, 6]


@MEMBERS
def test_a_chord_has_its_body_run_with_the_values_in_order(fleet: Fleet, one: str, two: str) -> None:
    members = [fleet.sig("add", n, n, queue=queue) for n, queue in enumerate((one, two, one, two))]
    assert got(chord(members, fleet.sig("listed", queue=two)).apply_async()) == [0, 2, 4, 6]


@MEMBERS
def test_a_chord_in_a_chain_is_begun_by_who_ran_the_step_before(fleet: Fleet, one: str, two: str) -> None:
    canvas = chain(
        fleet.sig("add", 1, 2, queue=one),
        group(fleet.sig("add", 10, queue=two), fleet.sig("add", 20, queue=one)),
        fleet.sig("total", queue=two),
        fleet.sig("add", 1000, queue=one),
    )
    assert got(canvas.apply_async()) == 13 + 23 + 1000


@MEMBERS
def test_chords_in_a_chord_and_chains_in_it(fleet: Fleet, one: str, two: str) -> None:
    inner = chord([fleet.sig("add", 1, 1, queue=one), fleet.sig("add", 2, 2, queue=two)], fleet.sig("total", queue=one))
    steps = chain(fleet.sig("add", 3, 3, queue=two), fleet.sig("add", 4, queue=one))
    canvas = chord([inner, steps, fleet.sig("add", 5, 5, queue=two)], fleet.sig("listed", queue=one))
    assert got(canvas.apply_async()) == [6, 10, 10]


@MEMBERS
def test_a_chain_that_ends_in_a_group_within_a_chord(fleet: Fleet, one: str, two: str) -> None:
    ends = chain(
        fleet.sig("add", 1, 2, queue=one), group(fleet.sig("add", 10, queue=two), fleet.sig("add", 20, queue=one))
    )
    assert got(chain(ends, fleet.sig("listed", queue=two)).apply_async()) == [13, 23]


@MEMBERS
def test_a_failed_member_fails_the_body_and_its_errbacks_are_told(fleet: Fleet, one: str, two: str) -> None:
    body = fleet.sig("total", queue=one).on_error(fleet.sig("told_id", queue=one))
    result = chord([fleet.sig("add", 1, 1, queue=two), fleet.sig("fail", "bad", queue=one)], body).apply_async()
    with pytest.raises(ChordError, match=r"Dependency .* raised ValueError"):
        got(by_id(fleet, result))
    fleet.wait(lambda: result.id in [line["task_id"] for line in fleet.lines("told_id")], "the errback is told")


@MEMBERS
def test_what_waits_in_a_chain_fails_with_the_step_before(fleet: Fleet, one: str, two: str) -> None:
    canvas = chain(fleet.sig("fail", "bad", queue=one), fleet.sig("add", 1, queue=two), fleet.sig("add", 2, queue=one))
    with pytest.raises(ValueError, match="bad"):
        got(canvas.apply_async())


@MEMBERS
def test_a_chain_that_fails_in_a_chord_fails_the_chord(fleet: Fleet, one: str, two: str) -> None:
    steps = chain(fleet.sig("fail", "bad", queue=one), fleet.sig("add", 1, queue=two))
    result = chord([steps, fleet.sig("add", 1, 1, queue=two)], fleet.sig("total", queue=one)).apply_async()
    with pytest.raises(ChordError):
        got(by_id(fleet, result))


def test_a_task_that_keeps_no_result_hands_its_value_on(fleet: Fleet) -> None:
    assert got(chain(fleet.sig("unkept", 5), fleet.sig("add", 1)).apply_async()) == 6


def test_what_names_no_queue_goes_where_the_task_before_came_from(fleet: Fleet) -> None:
    steps = [fleet.celery.signature("shop.who").set(queue=OURS), fleet.celery.signature("shop.who")]
    assert got(chain(steps).apply_async()) == "taskbus"
