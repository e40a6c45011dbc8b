"""The application whose worker Celery's tools look at."""

import asyncio
import time
from pathlib import Path

from tenacity import stop_after_attempt, wait_none

from taskbus import Context, Reject, RetryPolicy, TaskBus

app = TaskBus("work", unknown_task_grace=0, sweep=1)
AT_ONCE = RetryPolicy(stop=stop_after_attempt(2), wait=wait_none())


@app.task
def add(a: int, b: int) -> int:
    return a + b


@app.task
def wait_for(path: str) -> str:
    """Run until somebody makes the file."""
    while not Path(path).exists():
        time.sleep(0.01)
    return "seen"


@app.task(retry=RetryPolicy.never())
def wait_once(path: str) -> str:
    while not Path(path).exists():
        time.sleep(0.01)
    return "seen"


@app.task
def instant() -> float:
    return time.time()


@app.task
async def wait_async(path: str) -> str:
    while not Path(path).exists():
        await asyncio.sleep(0.01)
    return "seen"


@app.task(retry=RetryPolicy.never())
def boom(text: str) -> None:
    raise ValueError(text)


@app.task(retry=AT_ONCE)
def once_more(ctx: Context) -> int:
    if ctx.attempt == 1:
        raise KeyError("first")
    return ctx.attempt


@app.task
def refuse() -> None:
    raise Reject("no good")


@app.task
def pass_on(number: int) -> str:
    """Send another task; its id."""
    return add.delay(number, 1).id
