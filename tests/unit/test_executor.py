"""The executor: whatever a message holds and a task does, one attempt becomes one outcome."""

import asyncio
import contextvars
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tenacity import retry_if_exception_type, stop_after_attempt, stop_after_delay, wait_fixed

from taskbus import Context, Middleware, Reject, RetryPolicy, Task, TaskBus
from taskbus.context import current
from taskbus.errors import SoftTimeLimitExceeded, TimeLimitExceeded
from taskbus.outcome import Dead, Outcome, Reason, Retrying, Succeeded
from taskbus.wire import compact
from taskbus.worker.runner.executor import LONGEST_DELAY, Executor
from taskbus.worker.runner.protocol import Job, Report

NOW = 1_800_000_000.0
TWICE = RetryPolicy(stop=stop_after_attempt(2), wait=wait_fixed(7))
MAX_BYTES = 10_000


def job_of(task: Task[..., Any], *args: Any, start_by: float | None = None, **changes: Any) -> Job:
    message = task.message(args, {})._replace(**{"sent_at": NOW, **changes})
    return Job(1, 5, message.queue, message.priority, compact.encode(message), start_by)


Execute = Callable[..., Report]


@pytest.fixture
def execute(app: TaskBus) -> Execute:
    """Makes one attempt of a task, ``def`` or ``async def``, and returns the report."""

    def run(task: Task[..., Any], *args: Any, **changes: Any) -> Report:
        executor = Executor(app.tasks, app.middleware, MAX_BYTES, lambda: NOW)
        job = job_of(task, *args, **changes)
        return asyncio.run(executor.execute_async(job)) if task.is_async else executor.execute(job)

    return run


def failing(app: TaskBus, error: Callable[[], BaseException], **options: Any) -> Task[..., Any]:
    @app.task(**{"retry": TWICE, **options})
    def fails() -> None:
        raise error()

    return fails


def test_a_task_that_returns_has_succeeded_with_its_encoded_value(app: TaskBus, execute: Execute) -> None:
    @app.task
    def add(a: int, b: int) -> int:
        return a + b

    report = execute(add, 2, 3)
    assert (report.tag, report.outcome) == (1, Succeeded(b"\x05", "msgpack"))
    assert report.started_at == NOW
    assert report.ran_for > 0


def test_a_coroutine_that_returns_has_succeeded_too(app: TaskBus, execute: Execute) -> None:
    @app.task(serializer="json")
    async def add(a: int, b: int) -> int:
        await asyncio.sleep(0)
        return a + b

    assert execute(add, 2, 3).outcome == Succeeded(b"5", "json")


def test_a_task_that_keeps_no_results_reports_none(app: TaskBus, execute: Execute) -> None:
    @app.task(store_results=False)
    def quiet() -> object:
        return object()

    assert execute(quiet).outcome == Succeeded(None, "msgpack")


def test_a_task_sees_its_own_context_and_leaves_none_behind(app: TaskBus, execute: Execute) -> None:
    seen: list[Context | None] = []

    @app.task(queue="images", priority=3)
    def look(ctx: Context, word: str) -> str:
        seen.extend([ctx, current.get()])
        return word

    report = execute(look, "hello", id="an-id", attempt=2, headers={"trace": "1"})
    assert isinstance(report.outcome, Succeeded)
    assert seen[0] is seen[1]
    context = seen[0]
    assert context is not None
    assert (context.task_id, context.task, context.attempt) == ("an-id", look.name, 2)
    assert (context.queue, context.priority, context.fencing_token) == ("images", 3, 5)
    assert (context.headers, context.sent_at, context.shutting_down) == ({"trace": "1"}, NOW, False)
    assert current.get() is None


def test_context_variables_set_by_one_task_are_not_seen_by_the_next(app: TaskBus, execute: Execute) -> None:
    tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant", default="nobody")

    @app.task
    def enter(name: str) -> str:
        before = tenant.get()
        tenant.set(name)
        return before

    assert [execute(enter, name).outcome for name in "ab"] == [Succeeded(b"\xa6nobody")] * 2


def test_a_failure_is_retried_after_the_time_the_policy_says(app: TaskBus, execute: Execute) -> None:
    outcome = execute(failing(app, lambda: ValueError("no luck"))).outcome
    assert isinstance(outcome, Retrying)
    assert (outcome.delay, outcome.failure.type, outcome.failure.message) == (7.0, "builtins.ValueError", "no luck")
    assert outcome.failure.traceback.endswith("ValueError: no luck\n")


def test_the_last_attempt_the_policy_grants_ends_in_retries_exhausted(app: TaskBus, execute: Execute) -> None:
    assert reason(execute(failing(app, ValueError), attempt=2)) is Reason.RETRIES_EXHAUSTED


def test_a_policy_that_stops_after_a_delay_counts_from_the_send(app: TaskBus, execute: Execute) -> None:
    task = failing(app, ValueError, retry=RetryPolicy(stop=stop_after_delay(60), wait=wait_fixed(0)))
    assert isinstance(execute(task, sent_at=NOW - 50).outcome, Retrying)
    assert reason(execute(task, sent_at=NOW - 70)) is Reason.RETRIES_EXHAUSTED


def test_an_error_the_policy_does_not_want_is_not_retried(app: TaskBus, execute: Execute) -> None:
    picky = RetryPolicy(retry=retry_if_exception_type(OSError))
    assert reason(execute(failing(app, ValueError, retry=picky))) is Reason.NOT_RETRYABLE


def test_a_rejected_message_is_buried_at_once(app: TaskBus, execute: Execute) -> None:
    @app.task
    def refuse(ctx: Context) -> None:
        ctx.reject("not for me")

    outcome = execute(refuse).outcome
    assert isinstance(outcome, Dead)
    assert (outcome.reason, outcome.failure.message) == (Reason.REJECTED, "not for me")
    assert reason(execute(failing(app, lambda: Reject("nor me")))) is Reason.REJECTED


@pytest.mark.parametrize(("asked", "granted"), [(12.5, 12.5), (None, 7.0), (-1.0, 0.0), (float("inf"), LONGEST_DELAY)])
def test_a_task_that_asks_for_a_retry_gets_it_when_it_wants(
    app: TaskBus, execute: Execute, asked: float | None, granted: float
) -> None:
    @app.task(retry=RetryPolicy(stop=stop_after_attempt(2), wait=wait_fixed(7), retry=retry_if_exception_type(OSError)))
    def later(ctx: Context) -> None:
        ctx.retry("the moon is not full", delay=asked)

    outcome = execute(later).outcome
    assert isinstance(outcome, Retrying)
    assert (outcome.delay, outcome.failure.message) == (granted, "the moon is not full")
    assert reason(execute(later, attempt=2)) is Reason.RETRIES_EXHAUSTED


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError()])
@pytest.mark.parametrize("is_async", [False, True])
def test_what_would_end_a_program_only_fails_its_task(
    app: TaskBus, execute: Execute, error: BaseException, is_async: bool
) -> None:
    @app.task(name="def")
    def leave() -> None:
        raise error

    @app.task(name="async")
    async def aleave() -> None:
        raise error

    assert reason(execute(aleave if is_async else leave)) is Reason.NOT_RETRYABLE


def test_sys_exit_does_not_end_the_runner(app: TaskBus, execute: Execute) -> None:
    @app.task
    def leave() -> None:
        sys.exit(3)

    outcome = execute(leave).outcome
    assert isinstance(outcome, Dead)
    assert (outcome.failure.type, outcome.failure.message) == ("builtins.SystemExit", "3")


def test_a_hard_limit_is_a_reason_of_its_own_on_the_last_attempt(app: TaskBus, execute: Execute) -> None:
    task = failing(app, TimeLimitExceeded, time_limit=9)
    assert isinstance(execute(task).outcome, Retrying)
    outcome = execute(task, attempt=2).outcome
    assert isinstance(outcome, Dead)
    assert (outcome.reason, outcome.failure.message) == (Reason.TIME_LIMIT, "it ran longer than its time_limit of 9 s")


def test_a_hard_limit_is_a_reason_of_its_own_where_the_policy_does_not_want_it(app: TaskBus, execute: Execute) -> None:
    task = failing(app, TimeLimitExceeded, retry=RetryPolicy(retry=retry_if_exception_type(Exception)))
    assert reason(execute(task)) is Reason.TIME_LIMIT


def test_a_soft_limit_is_an_error_like_others(app: TaskBus, execute: Execute) -> None:
    task = failing(app, SoftTimeLimitExceeded, soft_time_limit=2)
    outcome = execute(task).outcome
    assert isinstance(outcome, Retrying)
    assert outcome.failure.message == "it ran longer than its soft_time_limit of 2 s"
    assert reason(execute(task, attempt=2)) is Reason.RETRIES_EXHAUSTED


def test_a_policy_that_raises_buries_the_message_with_both_errors(app: TaskBus, execute: Execute) -> None:
    def judge(_: object) -> bool:
        raise RuntimeError("the judge is ill")

    task = failing(app, lambda: ValueError("the case"), retry=RetryPolicy(retry=judge))  # type: ignore[arg-type]
    outcome = execute(task).outcome
    assert isinstance(outcome, Dead)
    assert outcome.reason is Reason.NOT_RETRYABLE
    assert "the judge is ill" in outcome.failure.traceback
    assert "the case" in outcome.failure.traceback


def test_a_result_that_cannot_be_encoded_is_not_tried_again(app: TaskBus, execute: Execute) -> None:
    @app.task
    def odd() -> object:
        return object()

    assert reason(execute(odd)) is Reason.BAD_RESULT


def test_a_result_that_is_too_large_is_not_tried_again(app: TaskBus, execute: Execute) -> None:
    @app.task
    def much() -> bytes:
        return bytes(MAX_BYTES)

    outcome = execute(much).outcome
    assert isinstance(outcome, Dead)
    assert outcome.reason is Reason.BAD_RESULT
    assert "store_results=False" in outcome.failure.message


def test_an_unknown_task_is_named(app: TaskBus) -> None:
    with TaskBus("other", broker="memory://other") as other:

        @other.task(name="elsewhere")
        def elsewhere() -> None: ...

        report = Executor(app.tasks, [], MAX_BYTES).execute(job_of(elsewhere))
    assert reason(report) is Reason.UNKNOWN_TASK
    assert isinstance(report.outcome, Dead)
    assert "'elsewhere'" in report.outcome.failure.message


@pytest.mark.parametrize("wire", [b"", b"\xff\x00junk", b"\x9a", b"\x93\x01\x02\x03"])
def test_bytes_that_are_no_message_are_undecodable(wire: bytes) -> None:
    assert reason(Executor({}, [], MAX_BYTES).execute(Job(1, 1, "default", 0, wire))) is Reason.UNDECODABLE


def test_a_body_that_is_no_call_is_undecodable(app: TaskBus, execute: Execute) -> None:
    assert reason(execute(failing(app, ValueError), body=b"\xc1")) is Reason.UNDECODABLE


def test_a_message_that_is_too_large_is_not_even_read(app: TaskBus, execute: Execute) -> None:
    assert reason(execute(failing(app, ValueError), body=bytes(MAX_BYTES))) is Reason.TOO_LARGE


def test_arguments_that_do_not_fit_are_not_tried_again(app: TaskBus, execute: Execute) -> None:
    @app.task(name="add")
    def add(a: int) -> int:
        return a

    @app.task(name="older")
    def older(a: int, b: int) -> int:
        return a

    outcome = execute(add, 1, body=older.message((1, 2), {}).body).outcome
    assert isinstance(outcome, Dead)
    assert outcome.reason is Reason.BAD_ARGUMENTS
    assert "add(a: int)" in outcome.failure.message


def test_a_message_that_expired_while_it_waited_for_its_slot_is_not_run(app: TaskBus, execute: Execute) -> None:
    task = failing(app, ValueError)
    assert reason(execute(task, start_by=time.monotonic())) is Reason.EXPIRED
    assert isinstance(execute(task, start_by=time.monotonic() + 60).outcome, Retrying)


def test_an_expiry_by_the_brokers_clock_is_not_read_off_the_hosts(app: TaskBus, execute: Execute) -> None:
    task = failing(app, ValueError)
    assert isinstance(execute(task, expires_at=NOW - 3600).outcome, Retrying)


def test_an_attempt_that_was_killed_is_judged_by_the_same_policy(app: TaskBus) -> None:
    stubborn = RetryPolicy(stop=stop_after_attempt(2), retry=retry_if_exception_type(TimeLimitExceeded))
    task = failing(app, ValueError, retry=stubborn, time_limit=3)
    executor = Executor(app.tasks, [], MAX_BYTES, lambda: NOW)
    first = executor.judge(job_of(task), "time_limit").outcome
    assert isinstance(first, Retrying)
    assert "time_limit of 3 s" in first.failure.message
    assert reason(executor.judge(job_of(task, attempt=2), "time_limit")) is Reason.TIME_LIMIT


# --- middleware --------------------------------------------------------------------------------------------------


class Noting(Middleware):
    """Notes when it is entered and left, and by what."""

    def __init__(self, name: str, notes: list[str]) -> None:
        self.name = name
        self.notes = notes

    @contextmanager
    def running(self, context: Context) -> Iterator[None]:
        self.notes.append(f"{self.name} enters {current.get() is context}")
        try:
            yield
        except BaseException as error:
            self.notes.append(f"{self.name} sees {error!r}")
            raise
        self.notes.append(f"{self.name} leaves")


@pytest.mark.parametrize("is_async", [False, True])
def test_middleware_wraps_the_attempt_and_sees_its_error(app: TaskBus, execute: Execute, is_async: bool) -> None:
    notes: list[str] = []
    app.middleware[:] = [Noting("outer", notes), Noting("inner", notes)]

    @app.task(name="def")
    def fails() -> None:
        raise ValueError(1)

    @app.task(name="async")
    async def afails() -> None:
        raise ValueError(1)

    execute(afails if is_async else fails)
    assert notes == [
        "outer enters True",
        "inner enters True",
        "inner sees ValueError(1)",
        "outer sees ValueError(1)",
    ]


def test_middleware_that_raises_fails_the_attempt(app: TaskBus, execute: Execute) -> None:
    class Broken(Middleware):
        @contextmanager
        def running(self, context: Context) -> Iterator[None]:
            if context.attempt == 1:
                raise OSError("no room")
            yield

    app.middleware[:] = [Broken()]
    outcome = execute(failing(app, ValueError)).outcome
    assert isinstance(outcome, Retrying)
    assert outcome.failure.type == "builtins.OSError"


def reason(report: Report) -> Reason:
    outcome: Outcome = report.outcome
    assert isinstance(outcome, Dead), outcome
    return outcome.reason
