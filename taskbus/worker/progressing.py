"""Keeps how far tasks have come beside their results, in a thread that begins with the first task that says so."""

import logging
import threading
from collections import deque
from collections.abc import Callable

from taskbus.context import Progress
from taskbus.errors import StoreError
from taskbus.store.base import SaveResult, Store
from taskbus.store.progress import saved
from taskbus.worker.settlement import Held

logger = logging.getLogger(__name__)

EVERY = 0.5
"""Seconds between two writes."""
AT_ONCE = 500
"""Tasks whose progress is written in one step."""
FAREWELL = 1.0
"""Seconds that the last write of a worker which stops may take."""
MAX_WAITING = 10_000
"""Tasks whose progress waits for a store that is away; what is more is not kept."""


class ProgressKeeper:
    """``told``: tasks that have said how far they have come. ``ring`` is for the loop; nothing is ever waited for."""

    def __init__(self, told: deque[Held], open_store: Callable[[], Store]) -> None:
        self._told = told
        self._open_store = open_store
        self._store: Store | None = None
        self._waiting: dict[str, SaveResult] = {}
        self._bell = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_away = False

    def ring(self) -> None:
        """There is something to keep."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="taskbus-keeper", daemon=True)
            self._thread.start()
        self._bell.set()

    def close(self) -> None:
        """Write the rest."""
        self._stop.set()
        self._bell.set()
        if self._thread is not None:
            self._thread.join(FAREWELL)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._bell.wait()
            self._bell.clear()
            self._write()
            self._stop.wait(EVERY)
        self._write()

    def _write(self) -> None:
        while self._told:
            held = self._told.popleft()
            if held.message is not None and held.progress and len(self._waiting) < MAX_WAITING:
                progress = Progress(*held.progress)
                self._waiting[held.message.id] = saved(held.message.id, progress, held.spec.result_ttl)
        try:
            while self._waiting:
                ids = list(self._waiting)[:AT_ONCE]
                if self._store is None:
                    self._store = self._open_store()
                self._store.apply([self._waiting[each] for each in ids])
                for each in ids:
                    del self._waiting[each]
                self._is_away = False
        except StoreError as error:
            if not self._is_away:
                logger.warning("progress of tasks cannot be kept now: %s", error)
            self._is_away = True
            self._bell.set()  # try again
