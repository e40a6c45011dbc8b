"""What a call of Celery's says of itself is heeded: by the first look at it, by its attempt, by what comes of that."""

import asyncio
import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from tenacity import stop_after_attempt, stop_after_delay, wait_fixed

from taskbus import Context, RetryPolicy, Task, TaskBus
from taskbus.broker.delivery import Act, Delivery, Settlement
from taskbus.config import Config
from taskbus.errors import SoftTimeLimitExceeded
from taskbus.outcome import Dead, Failure, Reason, Retrying, State, Succeeded
from taskbus.store.base import Bury, SaveResult
from taskbus.wire import celery
from taskbus.worker.intake import Intake
from taskbus.worker.options import TaskSpec
from taskbus.worker.runner.celery_tasks import answer_to
from taskbus.worker.runner.executor import Executor
from taskbus.worker.runner.protocol import Job, Report
from taskbus.worker.settlement import Ended, Held, settlement

NOW = 1_800_000_000.0
TWICE = RetryPolicy(stop=stop_after_attempt(2), wait=wait_fixed(7))


def wire(*args: Any, task: str = "shop.add", **headers: Any) -> bytes:
    body = json.dumps([args, headers.pop("kwargs", {}), None]).encode()
    given = {"task": task, "id": "the-id", **headers}
    return celery.wrap(celery.Parts(body, "application/json", "utf-8", given, {"priority": 0}))


def at(instant: float) -> str:
    return datetime.fromtimestamp(instant, UTC).isoformat()


# --- the first look --------------------------------------------------------------------------------------------------


def look(sent: bytes, **spec: Any) -> Held | Ended | Settlement:
    intake = Intake({"shop.add": TaskSpec(**spec)}, Config(unknown_task_grace=60.0))
    return intake.look(Delivery(1, "shared", sent, celery.CONTENT_TYPE, 0, 1), NOW)


def test_its_time_limit_and_its_wish_for_no_result_are_its_tasks() -> None:
    looked = look(wire(timelimit=[3, 1], ignore_result=True), time_limit=50.0)
    assert isinstance(looked, Held)
    assert (looked.spec.time_limit, looked.spec.store_results) == (3, False)


@pytest.mark.parametrize("said", [None, False])
def test_what_it_does_not_say_is_as_the_task_says(said: bool | None) -> None:
    looked = look(wire(timelimit=[None, None], ignore_result=said), time_limit=50.0, store_results=False)
    assert isinstance(looked, Held)
    assert (looked.spec.time_limit, looked.spec.store_results) == (50.0, False)


def test_one_that_is_early_goes_back_until_its_time() -> None:
    looked = look(wire(eta=at(NOW + 90)))
    assert isinstance(looked, Settlement)
    assert (looked.act, looked.follow_ups) == (Act.RELEASE, ()) and looked.delay == pytest.approx(90)


def test_one_that_is_late_does_not_run() -> None:
    looked = look(wire(expires=at(NOW - 1), eta=at(NOW + 90)))
    assert isinstance(looked, Ended) and isinstance(looked.outcome, Dead)
    assert looked.outcome.reason is Reason.EXPIRED


def test_an_unknown_one_waits_as_a_message_of_celerys() -> None:
    looked = look(wire(task="shop.other", retries=1))
    assert isinstance(looked, Settlement)
    (later,) = looked.follow_ups
    assert (later.attempt, later.due_at) == (2, NOW + 5)
    again = json.loads(celery.encode(later))
    assert (again["headers"]["retries"], again["headers"]["eta"]) == (1, at(NOW + 5))


def test_one_that_cannot_be_read_becomes_a_dead_letter_with_the_bytes_as_they_came() -> None:
    sent = wire(eta="tomorrow")
    looked = look(sent)
    assert isinstance(looked, Ended) and isinstance(looked.outcome, Dead)
    assert looked.outcome.reason is Reason.UNDECODABLE and "its eta 'tomorrow'" in looked.outcome.failure.message
    (bury,) = settlement(looked, "w", NOW, Config()).changes
    assert isinstance(bury, Bury)
    assert (bury.letter.wire, bury.letter.content_type) == (sent, celery.CONTENT_TYPE)


# --- what comes of it ------------------------------------------------------------------------------------------------


def settled(sent: bytes, outcome: Any) -> Settlement:
    looked = look(sent)
    assert isinstance(looked, Held)
    return settlement(Ended(looked, outcome, NOW, 0.1), "w", NOW, Config())


def test_its_retry_is_the_same_call_with_one_more_retry_and_its_time() -> None:
    sent = wire(2, 3, retries=1, root_id="root", own={"a": 1}, stamps={"s": "t"}, timelimit=[9, 8])
    (again,) = settled(sent, Retrying(7.0, Failure("ValueError", "no"))).follow_ups
    after, before = json.loads(celery.encode(again)), json.loads(sent)
    assert after["body"] == before["body"]
    changed = {"retries": 2, "eta": at(NOW + 7), "expires": None, celery.SENT_AT: f"{NOW:.6f}"}
    assert after["headers"] == {**before["headers"], **changed}


def test_one_that_ignores_its_result_leaves_none() -> None:
    kept, ignored = settled(wire(), Succeeded(b"\x05")), settled(wire(ignore_result=True), Succeeded(b"\x05"))
    assert [type(change) for change in kept.changes] == [SaveResult] and ignored.changes == ()


def test_its_dead_letter_holds_what_celery_sent() -> None:
    sent = wire(retries=3)
    changes = settled(sent, Dead(Reason.RETRIES_EXHAUSTED, Failure("ValueError", "no"))).changes
    (letter,) = [change.letter for change in changes if isinstance(change, Bury)]
    assert (letter.wire, letter.attempt, letter.task_id) == (sent, 4, "the-id")
    assert [change.result.state for change in changes if isinstance(change, SaveResult)] == [State.FAILURE]


# --- the attempt -----------------------------------------------------------------------------------------------------


def execute(tasks: dict[str, Task[..., Any]], sent: bytes) -> Report:
    executor = Executor(tasks, (), 10_000, lambda: NOW)
    job = Job(1, 5, "shared", 0, sent)
    task = tasks.get(celery.decode(sent, "", 10_000).task)
    return asyncio.run(executor.execute_async(job)) if task and task.is_async else executor.execute(job)


def value(report: Report) -> Any:
    import msgpack

    assert isinstance(report.outcome, Succeeded), report.outcome
    return msgpack.unpackb(report.outcome.result)


def test_its_arguments_are_converted_by_the_tasks_type_hints(app: TaskBus) -> None:
    @app.task(name="shop.add")
    def add(ctx: Context, when: datetime, *, by: tuple[int, ...] = ()) -> list[Any]:
        return [when.year, type(by).__name__, ctx.attempt, ctx.headers["own"]]

    sent = wire("2031-05-01T12:00:00+00:00", kwargs={"by": [1]}, retries=1, own="text")
    assert value(execute(app.tasks, sent)) == [2031, "tuple", 2, "text"]


def test_pickle_buries_it_unread_under_its_name_and_id(app: TaskBus) -> None:
    app.task(name="shop.add")(lambda: None)
    sent = wire().replace(b"application/json", b"application/x-python-serialize")
    outcome = execute(app.tasks, sent).outcome
    assert isinstance(outcome, Dead) and outcome.reason is Reason.UNDECODABLE
    changes = settled(sent, outcome).changes
    (letter,) = [change.letter for change in changes if isinstance(change, Bury)]
    assert (letter.wire, letter.task_id, letter.task) == (sent, "the-id", "shop.add")
    assert "is pickle" in letter.failure.message
    assert [change.result.state for change in changes if isinstance(change, SaveResult)] == [State.FAILURE]


def test_arguments_that_do_not_fit_bury_it(app: TaskBus) -> None:
    app.task(name="shop.add")(lambda: None)
    outcome = execute(app.tasks, wire(1)).outcome
    assert isinstance(outcome, Dead) and outcome.reason is Reason.BAD_ARGUMENTS


def test_its_soft_limit_reaches_a_coroutine(app: TaskBus) -> None:
    @app.task(name="shop.add")
    async def wait() -> str:
        try:
            await asyncio.sleep(60)
        except SoftTimeLimitExceeded as error:
            return str(error)
        return "it went on"

    assert value(execute(app.tasks, wire(timelimit=[30, 0.01]))) == "it ran longer than its soft_time_limit of 0.01 s"


def test_a_policy_that_counts_seconds_does_not_count_from_1970(app: TaskBus) -> None:
    @app.task(name="shop.add", retry=RetryPolicy(stop=stop_after_delay(60), wait=wait_fixed(1)))
    def fails() -> None:
        raise ValueError

    assert isinstance(execute(app.tasks, wire()).outcome, Retrying)
    old = wire(**{celery.SENT_AT: f"{NOW - 61:.6f}"})
    assert isinstance(execute(app.tasks, old).outcome, Dead)


# --- the tasks that celery takes for granted -------------------------------------------------------------------------


@pytest.fixture
def shared(tmp_path: Any) -> Any:
    with TaskBus("shop", broker=f"sqlite:///{tmp_path}/b.db", celery_queues=("celery",)) as app:

        @app.task(name="shop.add")
        def add(x: int, y: int = 100) -> int:
            return x + y

        @app.task(name="shop.slow_add")
        async def slow_add(ctx: Context, x: int) -> str:
            return f"{ctx.task} {x}"

        answer_to(app)
        yield app


@pytest.mark.parametrize(
    ("name", "args", "kwargs", "expected"),
    [
        ("map", (), {"task": {"task": "shop.add"}, "it": [1, 2]}, [101, 102]),
        ("map", (), {"task": {"task": "shop.slow_add"}, "it": [1]}, ["celery.map 1"]),
        ("starmap", (), {"task": {"task": "shop.add"}, "it": [[1, 2], [3, 4]]}, [3, 7]),
        ("chunks", (), {"task": {"task": "shop.add"}, "it": [[1, 1], [2, 2], [3, 3]], "n": 2}, [[2, 4], [6]]),
        ("accumulate", (1, 2, 3), {}, [1, 2, 3]),
        ("accumulate", (1, 2, 3), {"index": 1}, 2),
        ("backend_cleanup", (), {}, None),
    ],
)
def test_the_built_in_tasks_answer(shared: TaskBus, name: str, args: Any, kwargs: Any, expected: Any) -> None:
    assert value(execute(shared.tasks, wire(*args, task=f"celery.{name}", kwargs=kwargs))) == expected


def test_a_map_of_an_unknown_task_is_dead_and_says_so(shared: TaskBus) -> None:
    sent = wire(task="celery.map", kwargs={"task": {"task": "shop.gone"}, "it": [1]})
    outcome = execute(shared.tasks, sent).outcome
    assert isinstance(outcome, Dead) and "no task is named 'shop.gone' here" in outcome.failure.message


def test_who_shares_no_queue_has_none_of_them(app: TaskBus) -> None:
    answer_to(app)
    assert app.tasks == {}


# --- sending ---------------------------------------------------------------------------------------------------------


def test_a_task_is_sent_in_celerys_words_to_a_queue_of_celerys_only(shared: TaskBus) -> None:
    add = shared.tasks["shop.add"]
    add.options(queue="celery", priority=3).delay(1, 2)
    add.delay(1, 2)
    (theirs,), (ours,) = shared.broker.peek("celery", 5), shared.broker.peek("default", 5)
    sent = json.loads(theirs.wire)
    assert (sent["headers"]["task"], sent["headers"]["argsrepr"], sent["properties"]["priority"]) == (
        "shop.add", "(1, 2)", 3,
    )  # fmt: skip
    assert json.loads(base64.b64decode(sent["body"]))[0] == [1, 2]
    assert (theirs.content_type, ours.content_type) == (celery.CONTENT_TYPE, "application/x-taskbus")
