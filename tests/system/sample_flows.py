"""The application whose workflows the tests of workflows run."""

import os
import signal
from pathlib import Path
from threading import Event

from sample import AT_ONCE, ONCE, note
from tenacity import stop_after_attempt, wait_fixed

from taskbus import Context, FailedTask, RetryPolicy, TaskBus, group

app = TaskBus("sample_flows", unknown_task_grace=0, sweep=0.5)


@app.task
def add(a: int, b: int) -> int:
    return a + b


@app.task
async def double(number: int) -> int:
    return 2 * number


@app.task
def total(numbers: list[int]) -> int:
    return sum(numbers)


@app.task
def grand_total(numbers: list[list[int]]) -> int:
    return sum(map(sum, numbers))


@app.task
def record(path: str, text: str) -> str:
    note(path, text)
    return text


@app.task
def complain(failed: FailedTask, path: str) -> None:
    note(path, f"{failed.task.rpartition('.')[2]}:{failed.message}")


@app.task
def outcomes(values: list[int | FailedTask]) -> list[str]:
    return [each.message if isinstance(each, FailedTask) else str(each) for each in values]


@app.task(retry=ONCE)
def fails(path: str = "") -> int:
    raise ValueError("no")


@app.task(retry=RetryPolicy(stop=stop_after_attempt(2), wait=wait_fixed(86_400)))
def fails_until_tomorrow() -> int:
    raise ValueError("no")


@app.task(retry=ONCE)
def needs(path: str, number: int) -> int:
    """Fails until there is a file at ``path``."""
    if not Path(path).exists():
        raise ValueError("not yet")
    return number


@app.task(retry=AT_ONCE)
def flaky(ctx: Context, path: str, number: int) -> int:
    note(path, f"{ctx.attempt}")
    if ctx.attempt < 3:
        raise ValueError(f"attempt {ctx.attempt}")
    return number


@app.task
def dies_once(path: str, number: int) -> int:
    note(path, "ran")
    if len(Path(path).read_text().splitlines()) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@app.task(at_most_once=True)
def dies(path: str) -> int:
    note(path, "ran")
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


@app.task(at_most_once=True)
def stays(path: str) -> int:
    note(path, "ran")
    Event().wait(60)
    return 0


@app.task
def waits(ctx: Context, path: str, until: str, number: int) -> int:
    """Runs until there is a file at ``until``."""
    note(path, f"start{number}")
    pause = Event()
    while not Path(until).exists() and not ctx.shutting_down:
        pause.wait(0.01)
    note(path, f"end{number}")
    return number


@app.task(store_results=False)
def quiet(number: int) -> int:
    return number


@app.task
def unfold(ctx: Context, count: int) -> int:
    ctx.replace(group(add.s(number, 1) for number in range(count)) | total.s())


@app.task
def blob(size: int) -> bytes:
    return b"x" * size


@app.task
def sizes(blobs: list[bytes]) -> list[int]:
    return [len(each) for each in blobs]


@app.task
def adds_more(ctx: Context, path: str, count: int) -> None:
    """Adds members to its own batch, which note that they ran."""
    with app.open_batch(ctx.flow_id) as batch:
        batch.add(record.s(path, f"added{number}") for number in range(count))


@app.task
def which_flow(ctx: Context) -> str:
    return ctx.flow_id
