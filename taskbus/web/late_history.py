"""A history that cannot be opened yet: its database is not up, its file is locked, or has no room."""

import logging
import threading
from collections.abc import Callable

from taskbus.errors import TaskBusError
from taskbus.history.history import History

log = logging.getLogger(__name__)
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds between two tries; each pause is twice as long as the one before."""


class LateHistory:
    """Calls ``open`` again and again in a thread of its own, until it succeeds; then ``adopt``, and ends.

    ``told``: why it failed last, ``tries`` how often. The log says it once, and when it is there.
    """

    def __init__(self, open: Callable[[], History], adopt: Callable[[History], None], why: TaskBusError) -> None:
        self._open, self._adopt = open, adopt
        self.told, self.tries = str(why), 1
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="taskbus-history-opening", daemon=True)

    def start(self) -> None:
        """Try from now on."""
        log.error("no history is kept yet, opening it is tried again: %s", self.told)
        self._thread.start()

    def stop(self) -> None:
        """Try no more; waits for a try that is going on. What that opens is adopted all the same."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        pause = FIRST_PAUSE
        while not self._stopped.wait(pause):
            pause = min(2 * pause, LONGEST_PAUSE)
            try:
                history = self._open()
            except TaskBusError as error:
                self.told, self.tries = str(error), self.tries + 1
                continue
            log.info("the history can be opened now, and is kept from here on")
            self._adopt(history)
            return
