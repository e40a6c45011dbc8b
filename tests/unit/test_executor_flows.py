"""The executor, for tasks of flows: what they are given comes first, what they return is packed, chunks, replacing."""

import asyncio
import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tenacity import stop_after_attempt, wait_fixed

from taskbus import Context, FailedTask, Middleware, RetryPolicy, Task, TaskBus, codec, group
from taskbus.message import CHUNK, FLOW, Message
from taskbus.outcome import Dead, Reason, Replaced, Retrying, Succeeded
from taskbus.store.flows import Flow, Node
from taskbus.wire import compact
from taskbus.worker.runner.executor import Executor
from taskbus.worker.runner.protocol import Job, Report

NOW = 1_800_000_000.0
TWICE = RetryPolicy(stop=stop_after_attempt(2), wait=wait_fixed(7))
IN_FLOW = {FLOW: "F"}
IN_CHUNK = {FLOW: "F", CHUNK: "1"}


@dataclasses.dataclass
class Point:
    x: int
    y: int


Execute = Callable[..., Report]


@pytest.fixture
def execute(app: TaskBus) -> Execute:
    """Makes one attempt of a task of a flow; ``inputs`` as in a ``Job``, ``body`` its positional arguments."""

    def run(task: Task[..., Any], *body: Any, inputs: Any = None, max_bytes: int = 10_000, **changes: Any) -> Report:
        call = codec.encode_call(body, changes.pop("kwargs", {}), "msgpack")
        message = Message("0198-id", task.name, call)._replace(**{"sent_at": NOW, "headers": IN_FLOW, **changes})
        job = Job(1, 5, message.queue, message.priority, compact.encode(message), None, inputs)
        executor = Executor(app.tasks, app.middleware, max_bytes, lambda: NOW)
        return asyncio.run(executor.execute_async(job)) if task.is_async else executor.execute(job)

    return run


def value(report: Report) -> Any:
    assert isinstance(report.outcome, Succeeded), report.outcome
    assert report.outcome.result is not None
    return codec.decode(report.outcome.result, report.outcome.content_type)


# --- what it is given ------------------------------------------------------------------------------------------------


def test_what_it_is_given_comes_before_its_own_arguments(app: TaskBus, execute: Execute) -> None:
    @app.task
    def scale(ctx: Context, number: int, factor: int, *, plus: int = 0) -> int:
        assert (ctx.flow_id, ctx.task_id) == ("F", "0198-id")
        return number * factor + plus

    assert value(execute(scale, 3, inputs=codec.encode(5), kwargs={"plus": 1})) == 16


def test_what_it_is_given_may_be_in_another_encoding(app: TaskBus, execute: Execute) -> None:
    @app.task
    async def same(given: object) -> object:
        return given

    assert value(execute(same, inputs=["json", codec.encode({"a": [1]}, "json")])) == {"a": [1]}
    assert value(execute(same, inputs=codec.encode(None))) is None


def test_a_join_gives_a_list_in_its_order_and_lists_for_joins_in_it(app: TaskBus, execute: Execute) -> None:
    @app.task
    def same(given: list[Any]) -> list[Any]:
        return given

    one, two, three = map(codec.encode, (1, 2, 3))
    assert value(execute(same, inputs=[[one, [[two, three]], [[]]]])) == [1, [2, 3], []]
    assert value(execute(same, inputs=[[]])) == []
    assert value(execute(same, inputs=[[codec.encode(n) for n in range(10_000)]], max_bytes=1 << 20)) == [
        *range(10_000)
    ]


def test_what_failed_is_given_as_a_failed_task(app: TaskBus, execute: Execute) -> None:
    failed = ["an-id", "shop.pay", "builtins.ValueError", "no money"]

    @app.task
    def complain(one: FailedTask, text: str) -> str:
        return f"{one.task} {one.task_id} {one.error} {one.message} {text}"

    @app.task
    def count(all: list[int | FailedTask]) -> list[bool]:
        return [isinstance(each, FailedTask) for each in all]

    assert value(execute(complain, "so", inputs=failed)) == "shop.pay an-id builtins.ValueError no money so"
    assert value(execute(count, inputs=[[codec.encode(1), failed, codec.encode(2)]])) == [False, True, False]


def test_what_it_is_given_is_converted_as_the_hint_says(app: TaskBus, execute: Execute) -> None:
    @app.task
    def total(points: list[Point]) -> int:
        return sum(point.x * point.y for point in points)

    points = [codec.encode(Point(2, 3)), codec.encode(Point(4, 5))]
    assert value(execute(total, inputs=[points])) == 26


def test_what_does_not_fit_is_a_dead_letter(app: TaskBus, execute: Execute) -> None:
    @app.task
    def nothing() -> None: ...

    outcome = execute(nothing, inputs=codec.encode(1)).outcome
    assert isinstance(outcome, Dead) and outcome.reason is Reason.BAD_ARGUMENTS
    outcome = execute(nothing, inputs=b"\xc1").outcome
    assert isinstance(outcome, Dead) and outcome.reason is Reason.UNDECODABLE


# --- what it returns -------------------------------------------------------------------------------------------------


def test_a_value_is_packed_for_the_flow_though_results_are_off(app: TaskBus, execute: Execute) -> None:
    @app.task(store_results=False, serializer="json")
    def five() -> int:
        return 5

    assert execute(five).outcome == Succeeded(b"5", "json")
    assert execute(five, headers={}).outcome == Succeeded(None, "json")


def test_a_value_that_the_flow_cannot_keep_is_a_dead_letter(app: TaskBus, execute: Execute) -> None:
    @app.task(store_results=False)
    def strange() -> object:
        return object()

    @app.task(store_results=False)
    def long() -> bytes:
        return b"x" * 20_000

    for task in (strange, long):
        outcome = execute(task).outcome
        assert isinstance(outcome, Dead) and outcome.reason is Reason.BAD_RESULT
        assert "store_results" not in outcome.failure.message


# --- chunks ----------------------------------------------------------------------------------------------------------


def test_a_chunk_calls_the_function_for_each_list_of_arguments_in_turn(app: TaskBus, execute: Execute) -> None:
    @app.task
    def area(point: Point, factor: int = 1) -> int:
        return point.x * point.y * factor

    @app.task
    async def aarea(ctx: Context, point: Point, factor: int = 1) -> int:
        await asyncio.sleep(0)
        assert ctx.task_id
        return point.x * point.y * factor

    for task in (area, aarea):
        assert value(execute(task, [[Point(1, 2)], [Point(3, 4), 10]], headers=IN_CHUNK)) == [2, 120]
        assert value(execute(task, [], headers=IN_CHUNK)) == []
        assert value(execute(task, [[Point(1, 2)]], headers=IN_CHUNK, kwargs={"factor": 3})) == [6]


def test_each_call_of_a_chunk_is_given_what_the_flow_gives(app: TaskBus, execute: Execute) -> None:
    @app.task
    def add(a: int, b: int) -> int:
        return a + b

    assert value(execute(add, [[1], [2]], headers=IN_CHUNK, inputs=codec.encode(10))) == [11, 12]


def test_a_chunk_is_one_attempt_and_fails_as_one(app: TaskBus, execute: Execute) -> None:
    seen: list[int] = []

    @app.task(retry=TWICE)
    def fussy(number: int) -> int:
        seen.append(number)
        if number == 2:
            raise ValueError(number)
        return number

    assert isinstance(execute(fussy, [[1], [2], [3]], headers=IN_CHUNK).outcome, Retrying)
    assert seen == [1, 2]


def test_a_chunk_with_a_call_that_does_not_fit_calls_nothing(app: TaskBus, execute: Execute) -> None:
    seen: list[int] = []

    @app.task
    def note(number: int) -> None:
        seen.append(number)

    outcome = execute(note, [[1], [2, 3]], headers=IN_CHUNK).outcome
    assert isinstance(outcome, Dead) and outcome.reason is Reason.BAD_ARGUMENTS
    assert "call 2 of 2" in outcome.failure.message
    for body in ((5,), (), ([1, 2],), ([], [])):
        outcome = execute(note, *body, headers=IN_CHUNK).outcome
        assert isinstance(outcome, Dead) and outcome.reason is Reason.UNDECODABLE
    assert seen == []


# --- replacing -------------------------------------------------------------------------------------------------------


def test_a_task_is_replaced_by_what_it_says(app: TaskBus, execute: Execute) -> None:
    @app.task
    def add(a: int, b: int) -> int:
        return a + b

    @app.task(retry=TWICE)
    def plan(ctx: Context) -> int:
        ctx.replace(add.s(1, 2) | add.s(3))

    for headers, flow_id in ((IN_FLOW, "F"), ({}, None)):
        outcome = execute(plan, headers=headers).outcome
        assert isinstance(outcome, Replaced)
        flow, nodes = Flow(*outcome.flow), [Node(*node) for node in outcome.nodes]
        assert flow.last == "0198-id" and (flow_id is None or flow.id == flow_id)
        assert flow.ttl == app.config.flow_ttl
        assert [node.id for node in nodes if not node.after] != ["0198-id"]
        assert next(node for node in nodes if node.id == "0198-id").after
        assert all(node.wire for node in nodes)


class Routed(Middleware):
    """Marks what is sent, and sends it elsewhere."""

    @contextmanager
    def sending(self, message: Message) -> Iterator[Message]:
        yield message._replace(id="forged", queue="routed", headers={"trace": message.task})


def test_middleware_sees_all_that_takes_the_place_of_a_task(app: TaskBus, execute: Execute) -> None:
    @app.task
    def add(a: int, b: int = 0) -> int:
        return a + b

    @app.task
    def plan(ctx: Context) -> int:
        ctx.replace(group(add.s(1), add.s(2)) | add.si(3).options(queue="mine"))

    app.middleware.append(Routed())
    outcome = execute(plan).outcome
    assert isinstance(outcome, Replaced)
    nodes = [Node(*node) for node in outcome.nodes]
    sent = [compact.decode(node.wire, node.queue, node.priority, 1 << 20) for node in nodes if node.task]
    assert [message.headers["trace"] for message in sent] == [add.name] * 3
    assert [node.queue for node in nodes if node.task] == ["routed"] * 3
    assert [message.id for message in sent] == [node.id for node in nodes if node.task]
    assert {message.headers[FLOW] for message in sent} == {"F"}


def test_what_cannot_take_its_place_fails_the_attempt_at_the_line_that_said_it(app: TaskBus, execute: Execute) -> None:
    @app.task(retry=TWICE)
    async def plan(ctx: Context) -> None:
        ctx.replace("nothing that runs")

    first, last = execute(plan).outcome, execute(plan, attempt=2).outcome
    assert isinstance(first, Retrying) and isinstance(last, Dead)
    assert 'ctx.replace("nothing that runs")' in last.failure.traceback
