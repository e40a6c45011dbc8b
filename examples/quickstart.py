"""The README's example: a task for `taskbus worker -A quickstart`, started in this folder."""

from taskbus import TaskBus

app = TaskBus("quickstart")


@app.task
def add(a: int, b: int) -> int:
    return a + b
