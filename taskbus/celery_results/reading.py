"""Celery's results as those of TaskBus's: what an ``AsyncResult`` asks of a store."""

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

from taskbus.celery_results.document import stored
from taskbus.celery_results.opening import open_celery_results
from taskbus.celery_results.port import CeleryResults
from taskbus.config import Config
from taskbus.store.base import ResultStore, StoredResult


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


class EitherStore:
    """Results of tasks of which only the id is known: in ``first``, and where that knows nothing in ``second``.

    See ``ResultStore``. Both are opened when they are first asked.
    """

    def __init__(self, first: Callable[[], ResultStore], second: Callable[[], ResultStore]) -> None:
        self._first = first
        self._second = second

    def results(self, task_ids: Sequence[str]) -> Mapping[str, StoredResult]:
        found = self._first().results(task_ids)
        missing = [task_id for task_id in task_ids if task_id not in found]
        return {**found, **self._second().results(missing)} if missing else found

    def forget(self, task_ids: Sequence[str]) -> None:
        self._first().forget(task_ids)
        self._second().forget(task_ids)

    def subscribe(self, notify: Callable[[], None]) -> Callable[[], None]:
        with ExitStack() as begun:
            for store in (self._first(), self._second()):
                begun.callback(store.subscribe(notify))
            return begun.pop_all().close


class CeleryReader:
    """Celery's results for an application that shares queues with it, opened when first used."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._opening = threading.Lock()
        self._store: CeleryResultStore | None = None

    def beside(self, own: Callable[[], ResultStore]) -> Callable[[], ResultStore]:
        """Where the results are of tasks whose queue is not known: ``own``, and what Celery keeps, if it shares any."""
        if not self._config.celery_results:
            return own
        either = EitherStore(own, self._opened)
        return lambda: either

    def asked_of(self, queue: str) -> Callable[[], ResultStore] | None:
        """Where the result of a task is that was sent to ``queue``; None: where all others are."""
        is_shared = bool(self._config.celery_results) and queue in self._config.celery_queues
        return self._opened if is_shared else None

    def _opened(self) -> ResultStore:
        with self._opening:
            if self._store is None:
                opened = open_celery_results(self._config.celery_results, self._config.result_ttl)
                self._store = CeleryResultStore(opened)
            return self._store

    def close(self) -> None:
        """Release connections; it opens again when it is used again."""
        with self._opening:
            store, self._store = self._store, None
        if store is not None:
            store.close()
