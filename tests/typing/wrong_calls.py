"""Calls that type checkers must refuse; nothing here runs.

Each wrong line carries the error that mypy and pyright report. Both are told to report a comment that hides nothing, so
a call that would slip through turns ``make check`` red.
"""

from pathlib import Path

from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session

from taskbus import AsyncResult, Context, RetryPolicy, TaskBus, as_completed, task

app = TaskBus("typed")


@app.task
def add(a: int, b: int = 1) -> int:
    return a + b


@app.task(queue="images")
def resize(path: Path, *, width: int = 200) -> str:
    return f"{path}:{width}"


@app.task
async def fetch(ctx: Context, url: str) -> bytes:
    return url.encode()


@task
def unbound(ctx: Context) -> None: ...


def wrong_arguments() -> None:
    add.delay("2", 3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    add.delay()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    add.delay(1, 2, 3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    add.delay(1, c=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    resize.delay(Path("a.png"), 100)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    resize.delay(Path("a.png"), width="100")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    add(1, "2")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def wrong_context() -> None:
    fetch.delay(Context("id", "fetch"), "https://example.org")  # type: ignore[call-arg, arg-type]  # pyright: ignore[reportCallIssue]
    fetch.delay()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    unbound.delay(1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def wrong_options() -> None:
    add.options(countdown="soon")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    add.options(speed=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    add.options(countdown=3).delay("2")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    add.apply_async((1, 2), headers={"n": 1})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]


def wrong_transactions(session: Session, engine: Engine) -> None:
    add.using("postgresql://localhost/shop")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    add.using(engine)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    add.using(session).delay("2", 3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    add.using(session).delay(1, c=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def wrong_results() -> None:
    text: str = add.delay(1).get()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    size: AsyncResult[int] = resize.delay(Path(text))  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    size.get("10")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    as_completed([1, 2])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def wrong_waiting() -> None:
    number: int = await add.adelay(1)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    body: bytes = fetch("https://example.org")  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    await add(number, len(body))  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]


def wrong_definitions() -> None:
    app.task(color="red")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    app.task(retry=3)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    app.task(schedule="* * * * *")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    app.task("name")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    RetryPolicy(stop=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    TaskBus("x", raises=[3])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
