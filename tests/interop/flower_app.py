"""What a Flower needs to know of a TaskBus application: the names of its tasks, for limits can be set only on those."""

import os

from celery import Celery

app = Celery("work", broker=os.environ["INTEROP_BROKER"])
for name in ("add", "wait_for", "wait_async", "boom", "once_more", "refuse"):
    app.task(name=f"tests.interop.work_app.{name}")(lambda: None)
