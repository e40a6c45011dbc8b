"""Celery's results as those of TaskBus's: what an ``AsyncResult`` asks of a store."""

from collections.abc import Callable, Mapping, Sequence

from taskbus.celery_results.document import stored
from taskbus.celery_results.port import CeleryResults
from taskbus.store.base import StoredResult


class CeleryResultStore:
    """See ``ResultStore``. A value is read as data, an error by its class's name; nothing is imported by it."""

    def __init__(self, celery_results: CeleryResults) -> None:
        self.celery_results = celery_results

    def results(self, task_ids: Sequence[str]) -> Mapping[str, StoredResult]:
        found = self.celery_results.documents(task_ids)
        return {task_id: stored(fields, task_id) for task_id, fields in found.items()}

    def forget(self, task_ids: Sequence[str]) -> None:
        self.celery_results.forget(task_ids)

    def subscribe(self, notify: Callable[[], None]) -> Callable[[], None]:
        return self.celery_results.subscribe(notify)

    def close(self) -> None:
        self.celery_results.close()
