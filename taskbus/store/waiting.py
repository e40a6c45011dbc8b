"""One thread a store that waits for results on behalf of everyone in this process.

However many threads and coroutines wait, a change of the database costs one query for all the ids they wait for. The
thread starts with the first who waits and leaves a few seconds after the last.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from weakref import WeakKeyDictionary, ref

from taskbus.errors import StoreError
from taskbus.store.base import ResultStore, StoredResult

logger = logging.getLogger(__name__)

Arrival = StoredResult | Exception
"""What a waiter is handed: the final result, or why the store cannot be asked."""

REREAD_AFTER = 1.0
"""Seconds after which the store is asked again even without a sign of change."""
PATIENCE = 15.0
"""Seconds for which the store may fail before that is the error of all who wait: a server restarts in less."""
LINGER = 5.0
"""Seconds the thread stays without anyone waiting: starting it and its watch costs a millisecond."""
REST_FACTOR, MAX_REST = 9.0, 0.25
"""After a query that took CPU time the thread rests that many times as long: ten thousand ids must not fill a CPU."""
MIN_REST_FOR = 0.001
"""A shorter query costs no rest."""


class Waiting:
    """Who waits for which task of ``store``. ``add`` and ``remove`` may be called from any thread."""

    def __init__(self, store: ResultStore) -> None:
        # Weak, or the registry below would keep every store alive for ever.
        self._store = ref(store)
        self._lock = threading.Lock()
        self._wakes: dict[str, dict[object, Callable[[Arrival], None]]] = {}
        self._signal = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, task_id: str, token: object, wake: Callable[[Arrival], None]) -> None:
        """Call ``wake`` once, from the waiting thread, when the task's result is final. It must not block or raise.

        What is recorded from now on is noticed at once; call ``look`` if it may be there already.
        """
        with self._lock:
            self._wakes.setdefault(task_id, {})[token] = wake
            if self._thread is None:
                # Asks once it has subscribed: nothing recorded in between is missed.
                self._signal.set()
                self._thread = threading.Thread(target=self._run, name="taskbus-results", daemon=True)
                self._thread.start()

    def remove(self, task_id: str, token: object) -> None:
        """Wait no longer; ``wake`` may just be running."""
        with self._lock:
            wakes = self._wakes.get(task_id, {})
            wakes.pop(token, None)
            if not wakes:
                self._wakes.pop(task_id, None)

    def look(self) -> None:
        """Have the store asked now."""
        self._signal.set()

    def _run(self) -> None:
        store = self._store()
        if store is None:
            return
        try:
            cancel = store.subscribe(self._signal.set)
            try:
                self._serve(store)
            finally:
                cancel()
        except Exception as error:  # noqa: BLE001  whoever waits must hear of it, or would wait for ever
            self._fail(error)

    def _serve(self, store: ResultStore) -> None:
        needed_at = answered_at = time.monotonic()
        is_failing = False
        while True:
            self._signal.wait(REREAD_AFTER)
            self._signal.clear()
            started = time.thread_time()
            try:
                is_needed = self._ask(store)
            except StoreError as error:
                if time.monotonic() - answered_at > PATIENCE:
                    raise
                if not is_failing:
                    logger.warning("cannot ask for results, trying again for %g s: %s", PATIENCE, error)
                is_needed = is_failing = True
            else:
                answered_at, is_failing = time.monotonic(), False
            if is_needed:
                needed_at = time.monotonic()
            elif self._may_leave(needed_at):
                return
            spent = time.thread_time() - started
            if spent > MIN_REST_FOR:
                time.sleep(min(spent * REST_FACTOR, MAX_REST))

    def _may_leave(self, needed_at: float) -> bool:
        with self._lock:
            if self._wakes or time.monotonic() - needed_at < LINGER:
                return False
            self._thread = None
            return True

    def _ask(self, store: ResultStore) -> bool:
        """Whether anyone waits. Hands out the results that are there."""
        with self._lock:
            ids = list(self._wakes)
        if not ids:
            return False
        found = store.results(ids)
        self._hand_out({task_id: result for task_id, result in found.items() if result.state.is_final})
        return True

    def _hand_out(self, arrivals: Mapping[str, Arrival]) -> None:
        with self._lock:
            woken = [(wake, arrival) for key, arrival in arrivals.items() for wake in self._wakes.pop(key, {}).values()]
        for wake, arrival in woken:
            wake(arrival)

    def _fail(self, error: Exception) -> None:
        with self._lock:
            self._thread = None
            ids = list(self._wakes)
        self._hand_out(dict.fromkeys(ids, error))


def waiting_for(store: ResultStore) -> Waiting:
    """The one ``Waiting`` of ``store`` in this process."""
    with _lock:
        waiting = _waiting.get(store)
        if waiting is None:
            waiting = _waiting[store] = Waiting(store)
        return waiting


def _after_fork() -> None:
    """The thread stayed behind in the parent; the child starts its own."""
    global _lock
    _lock = threading.Lock()
    _waiting.clear()


_lock = threading.Lock()
_waiting: "WeakKeyDictionary[ResultStore, Waiting]" = WeakKeyDictionary()
os.register_at_fork(after_in_child=_after_fork)
