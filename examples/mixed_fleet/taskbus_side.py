"""The same task, moved to TaskBus: the queue and the results stay where they are, and in the form Celery knows."""

import os

from taskbus import TaskBus

URL = os.environ.get("MIXED_FLEET_URL", "redis://localhost:6379/0")

app = TaskBus(
    "mixed_fleet",
    broker=URL,
    results=URL,
    default_queue="invoices",
    celery_queues=("invoices",),
    celery_results=URL,
)


@app.task(name="invoices.total")
def total(number: int, amounts: list[int]) -> dict[str, object]:
    return {"number": number, "total": sum(amounts), "by": "taskbus"}
