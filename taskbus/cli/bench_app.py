"""The application that ``taskbus bench`` measures: tasks that only count that they ran."""

import os

from taskbus.app import TaskBus
from taskbus.cli.counting import Counter

COUNTER = "_TASKBUS_BENCH_COUNTER"
QUEUE = "_TASKBUS_BENCH_QUEUE"

app = TaskBus("bench", result_ttl=60.0)
queue = os.environ.get(QUEUE, "bench")
counter = Counter(os.environ[COUNTER]) if COUNTER in os.environ else None


@app.task(name="bench.noop", queue=queue, store_results=False)
def noop(number: int) -> None:
    """Keep no result."""
    if counter is not None:
        counter.hit()


@app.task(name="bench.kept", queue=queue, store_results=True)
def kept(number: int) -> int:
    """Keep a result."""
    if counter is not None:
        counter.hit()
    return number


@app.task(name="bench.passed", queue=queue, store_results=False)
def passed(number: int) -> int:
    """Pass on what it is given; keep no result."""
    if counter is not None:
        counter.hit()
    return number


@app.task(name="bench.joined", queue=queue, store_results=False)
def joined(numbers: list[int]) -> int:
    """The body of a chord; keep no result."""
    if counter is not None:
        counter.hit()
    return len(numbers)


@app.task(name="bench.kept_joined", queue=queue, store_results=True)
def kept_joined(numbers: list[int]) -> int:
    """The body of a chord; keep a result."""
    if counter is not None:
        counter.hit()
    return len(numbers)
