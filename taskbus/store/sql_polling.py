"""Waiting for results on a database that tells nobody of a change: MySQL and MariaDB are asked again and again.

Only while somebody waits; often after something moved, ever less often without. Who asks is whoever is notified.
"""

import threading
from collections.abc import Callable, Iterable, Sequence

from taskbus.store.base import StoredResult

SHORTEST, LONGEST, GROWTH = 0.02, 1.0, 1.5
"""Seconds from one look to the next, and by how much they grow from look to look."""


class Polling:
    """Notifies each subscriber on a timer of its own, which ``looked`` sets back."""

    def __init__(self) -> None:
        self._bells: frozenset[threading.Event] = frozenset()
        self._lock = threading.Lock()
        self._asked: tuple[object, ...] = ()

    def looked(self, task_ids: Sequence[str], found: Iterable[StoredResult]) -> None:
        """Somebody asked for these results: look again soon, if that was for other tasks or one of them has ended."""
        asked = (len(task_ids), task_ids[0], task_ids[-1])
        if self._bells and (asked != self._asked or any(result.state.is_final for result in found)):
            for bell in self._bells:
                bell.set()
        self._asked = asked

    def subscribe(self, notify: Callable[[], None]) -> Callable[[], None]:
        """See ``Store.subscribe``."""
        stopped, bell = threading.Event(), threading.Event()

        def run() -> None:
            pause = SHORTEST
            while not stopped.is_set():
                if bell.wait(pause):
                    bell.clear()
                    pause = SHORTEST
                else:
                    pause = min(pause * GROWTH, LONGEST)
                    notify()

        def stop() -> None:
            with self._lock:
                self._bells -= {bell}
            stopped.set()
            bell.set()

        with self._lock:
            self._bells |= {bell}
        threading.Thread(target=run, name="taskbus-look", daemon=True).start()
        return stop
