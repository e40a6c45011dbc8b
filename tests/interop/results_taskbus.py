"""The TaskBus application of the two fleets that share results."""

from typing import Any

from taskbus import Context, RetryPolicy, TaskBus
from tests.interop import results_shop

app = TaskBus("results_taskbus")
NEVER = RetryPolicy.never()

for function in results_shop.TASKS:
    app.task(name=f"shop.{function.__name__}", retry=NEVER)(function)


@app.task(name="shop.told_id", retry=NEVER)
def told_id(task_id: str) -> None:
    results_shop.told_id(task_id)


@app.task(name="shop.told_all", retry=NEVER)
def told_all(request: dict[str, Any], error: Any, traceback: Any) -> None:
    results_shop.write(key="told_all", who="taskbus", task_id=request["id"], error=error, traceback=traceback)


@app.task(name="shop.who", retry=NEVER)
def who(*values: Any) -> str:
    return "taskbus"


@app.task(name="shop.third_time")
def third_time(ctx: Context) -> int:
    if ctx.attempt < 3:
        ctx.retry("not yet", delay=0.05)
    return ctx.attempt


@app.task(name="shop.unkept", retry=NEVER, store_results=False)
def unkept(value: int) -> int:
    return value


@app.task(name="shop.strange", retry=NEVER)
def strange() -> Any:
    return {1, 2} and {"when": None, "bytes": b"\xff\x00", "nested": [{"a": (1, 2)}]}


@app.task(name="shop.foreign", queue="results-theirs", retry=NEVER)
def foreign(x: int, y: int = 100) -> int:
    """Is Celery's: on its queue, nobody else takes it."""
    raise NotImplementedError


@app.task(name="shop.foreign_fail", queue="results-theirs", retry=NEVER)
def foreign_fail(value: int = 0) -> int:
    raise NotImplementedError


@app.task(name="shop.ours_add", queue="ours-alone", retry=NEVER)
def ours_add(x: int, y: int = 100) -> int:
    return x + y


@app.task(name="shop.ours_total", queue="ours-alone", retry=NEVER)
def ours_total(numbers: list[int]) -> int:
    return sum(numbers)
