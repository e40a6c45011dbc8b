"""What a team with Celery has today. It knows nothing of TaskBus."""

import os

from celery import Celery

URL = os.environ.get("MIXED_FLEET_URL", "redis://localhost:6379/0")

app = Celery("mixed_fleet", broker=URL, backend=URL)
app.conf.task_default_queue = "invoices"
app.conf.task_acks_late = True
app.conf.broker_connection_retry_on_startup = True
app.conf.worker_prefetch_multiplier = 1  # with more, the idle fleet would wait for what the busy one has put by


@app.task(name="invoices.total")
def total(number: int, amounts: list[int]) -> dict[str, object]:
    return {"number": number, "total": sum(amounts), "by": "celery"}
