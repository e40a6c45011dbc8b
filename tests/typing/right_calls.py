"""Calls that type checkers must accept, with the types they must see; nothing here runs.

mypy --strict and pyright (strict) both check this file: an error in it is a fault in TaskBus's annotations.
"""

from collections.abc import Coroutine, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, assert_type

from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import Session, scoped_session

from taskbus import (
    AsyncResult,
    Config,
    Context,
    Middleware,
    RetryPolicy,
    State,
    Task,
    TaskBus,
    any_of,
    as_completed,
    at,
    cron,
    every,
    solar,
    task,
)

app = TaskBus("typed")


@dataclass(frozen=True)
class Order:
    number: int
    total: Decimal


@app.task
def add(a: int, b: int = 1) -> int:
    return a + b


@app.task(queue="images", time_limit=30, soft_time_limit=20, priority=5, retry=RetryPolicy.never())
def resize(path: Path, *, width: int = 200) -> str:
    return f"{path}:{width}"


@app.task
async def fetch(url: str) -> bytes:
    return url.encode()


@app.task(name="pages.follow", store_results=False, at_most_once=True, result_ttl=60.0, serializer="json")
async def follow(ctx: Context, url: str, depth: int = 1) -> list[str]:
    return [url] * (depth + ctx.attempt)


@app.task
def charge(ctx: Context, order: Order) -> Decimal:
    if ctx.attempt > 3:
        ctx.reject("too many")
    return order.total


@app.task
def sweep(ctx: Context) -> None:
    ctx.retry(delay=1.5)


@task
def unbound(values: list[int], /, *more: int, **named: float) -> float:
    return sum(values) + sum(more) + sum(named.values())


@task(queue="mail")
async def unbound_async(ctx: Context) -> int:
    return ctx.attempt


@app.task
def store(value: Any, twice: bool = False) -> int:
    return 2 if twice else 1


@app.task
def log(*values: object, **named: object) -> None: ...


def sending() -> None:
    assert_type(add.delay(2, 3), AsyncResult[int])
    assert_type(add.delay(a=2), AsyncResult[int])
    assert_type(add.delay(2, 3).get(timeout=10), int)
    assert_type(resize.delay(Path("a.png"), width=100).get(), str)
    assert_type(fetch.delay("https://example.org"), AsyncResult[bytes])
    assert_type(follow.delay("https://example.org", depth=2).get(), list[str])
    assert_type(charge.delay(Order(1, Decimal(10))).get(), Decimal)
    assert_type(sweep.delay(), AsyncResult[None])
    assert_type(unbound.delay([1], 2, 3, weight=0.5), AsyncResult[float])
    assert_type(unbound_async.delay(), AsyncResult[int])
    store.delay({"any": "value"}, twice=True)  # mypy sees AsyncResult[Any] here, pyright AsyncResult[int]
    store.delay(value=1)
    assert_type(log.delay("any", "values", key=1), AsyncResult[None])


async def sending_from_async_code() -> None:
    assert_type(await add.adelay(2, b=3), AsyncResult[int])
    assert_type(await (await fetch.adelay("https://example.org")).aget(timeout=1.0), bytes)
    assert_type(await add.options(priority=9).adelay(2), AsyncResult[int])


def sending_with_options() -> None:
    assert_type(add.options(countdown=60).delay(2, 3), AsyncResult[int])
    assert_type(add.options(countdown=timedelta(minutes=1), expires=3600).delay(2), AsyncResult[int])
    assert_type(resize.options(eta=datetime.now(UTC), queue="slow").delay(Path("a.png")).get(), str)
    assert_type(
        follow.options(task_id="x", headers={"tenant": "a"}).delay("https://example.org"), AsyncResult[list[str]]
    )
    later = charge.options(priority=9)
    assert_type([later.delay(Order(n, Decimal(n))) for n in range(3)], list[AsyncResult[Decimal]])
    assert_type(add.apply_async((2, 3), countdown=5, priority=1), AsyncResult[int])
    assert_type(add.apply_async(kwargs={"a": 2}, expires=timedelta(hours=1)), AsyncResult[int])


def sending_in_a_transaction(session: Session, scoped: scoped_session[Session], connection: Connection) -> None:
    assert_type(add.using(session).delay(2, 3), AsyncResult[int])
    assert_type(resize.using(scoped).options(countdown=5).delay(Path("a.png"), width=1), AsyncResult[str])
    assert_type(follow.using(connection).apply_async(("https://example.org",), priority=1), AsyncResult[list[str]])
    assert_type(add.using(session)(2, 3), int)


async def sending_in_a_transaction_from_async_code(session: AsyncSession, connection: AsyncConnection) -> None:
    assert_type(await add.using(session).adelay(2, b=3), AsyncResult[int])
    assert_type(await fetch.using(connection).options(priority=9).adelay("https://example.org"), AsyncResult[bytes])


def sending_in_a_batch() -> None:
    with app.batch():
        sent = [add.delay(n, n) for n in range(100)]
    with app.batch(max_size=10):
        sweep.delay()
    for done in as_completed(sent, timeout=60):
        assert_type(done, AsyncResult[int])
        assert_type(done.get(), int)


def calling_as_plain_functions() -> None:
    assert_type(add(2, 3), int)
    assert_type(charge(Order(1, Decimal(10))), Decimal)
    assert_type(unbound([1], 2, weight=0.5), float)
    made: Coroutine[Any, Any, bytes] = fetch("https://example.org")
    made.close()


async def awaiting_as_plain_coroutines() -> None:
    assert_type(await fetch("https://example.org"), bytes)
    assert_type(await follow("https://example.org"), list[str])
    assert_type(await unbound_async(), int)


def asking_for_results(result: AsyncResult[int]) -> None:
    assert_type(result.id, str)
    assert_type(result.state, State)
    assert_type(result.wait(timeout=1), State)
    result.forget()
    assert_type(app.result("id").get(), Any)
    assert_type(app.send("elsewhere.task", (1, 2), {"x": 3}, queue="q"), AsyncResult[Any])


def passing_tasks_around(known: Task[[int, int], int]) -> int:
    return known.delay(1, 2).get()


class Tenant(Middleware):
    @contextmanager
    def running(self, context: Context) -> Generator[None]:
        assert_type(context.headers.get("tenant"), str | None)
        yield


with TaskBus("other", broker="memory://x", middleware=[Tenant()], raises=[KeyError], lease=10.0) as other:
    other.include("tasks")
    assert_type(other.config, Config)


@app.task(schedule=cron("*/5 * * * *", tz="Europe/Paris", jitter=3) | every(30))
def scheduled(ctx: Context) -> None:
    assert_type(ctx.scheduled_at, float | None)
    assert_type(ctx.schedule, str)


def right_schedules() -> None:
    app.schedule("a", add.s(1), every(timedelta(minutes=5), anchor=0), catch_up="all", overlap="skip")
    app.schedule("b", scheduled, at(datetime(2027, 1, 1, tzinfo=UTC)))
    app.schedules.add("c", add.s(1, b=2), any_of(solar("sunset", latitude=1, longitude=2), every(7)), replace=True)
    assert_type(app.schedules.next("c")[0], tuple[float, float])
    assert_type(app.schedules.get("c").next_at, float | None)
