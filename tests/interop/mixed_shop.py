"""The TaskBus application of the mixed fleet: the same task names as ``celery_shop``."""

import os
import time
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from tenacity import stop_after_attempt, wait_fixed

from taskbus import Context, RetryPolicy, SoftTimeLimitExceeded, TaskBus
from tests.interop.ledger import meet, write

app = TaskBus("mixed_shop")
QUICKLY = RetryPolicy(stop=stop_after_attempt(5), wait=wait_fixed(0.1))


@app.task(name="shop.note", retry=QUICKLY)
def note(ctx: Context, key: str, *values: Any, **named: Any) -> None:
    write(
        who="taskbus", key=key, id=ctx.task_id, attempt=ctx.attempt, headers=dict(ctx.headers),
        values=repr([*values, named]), at=time.time(),
    )  # fmt: skip


@app.task(name="shop.add")
def add(x: int, y: int = 100) -> int:
    return x + y


@app.task(name="shop.price")
def price(amount: Decimal, when: datetime, *, parts: list[Any]) -> str:
    return f"{amount!r} {when!r} {parts!r}"


@app.task(name="shop.third_time", retry=QUICKLY)
def third_time(ctx: Context) -> str:
    if ctx.attempt < 3:
        raise ValueError(f"attempt {ctx.attempt}")
    return f"{ctx.attempt} {ctx.headers['own']}"


@app.task(name="shop.sleep", retry=RetryPolicy.never())
def sleep(seconds: float) -> str:
    deadline = time.monotonic() + seconds
    try:
        while time.monotonic() < deadline:
            time.sleep(0.01)
    except SoftTimeLimitExceeded as error:
        return str(error)
    return "slept"


@app.task(name="shop.read", retry=RetryPolicy.never())
def read(ctx: Context, path: Path) -> None:
    write(who="taskbus", key=path.read_text(), id=ctx.task_id, attempt=ctx.attempt, headers=dict(ctx.headers))


@app.task(name="shop.pass_gate")
def pass_gate(key: str, gate: Path) -> None:
    write(key=key, step="begin", pid=os.getpid())
    deadline = time.monotonic() + 60
    while not gate.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    write(key=key, step="end", pid=os.getpid())


@app.task(name="shop.together")
def together(key: str) -> None:
    meet("taskbus")
    write(who="taskbus", key=key)
