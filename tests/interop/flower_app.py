"""What a Flower needs to know of a TaskBus application: the names of its tasks, for limits can be set only on those."""

import os

from celery import Celery

app = Celery("work", broker=os.environ["INTEROP_BROKER"])


def elsewhere(*args: object, **kwargs: object) -> None:
    """Stands for what only workers have."""


for name in ("add", "instant", "wait_for", "wait_once", "wait_async", "boom", "once_more", "refuse"):
    app.task(name=f"tests.interop.work_app.{name}")(elsewhere)
