"""Thread slots: several ``def`` tasks at once in one runner, for tasks that wait more than they compute."""

import logging
import os
import threading
from collections.abc import Sequence

from taskbus.worker.runner.main_slot import Slot

logger = logging.getLogger(__name__)


class Threads:
    """One thread for each slot, all taking from the same queue."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        self._threads = [
            threading.Thread(target=self._serve, args=(slot,), name=f"taskbus-slot-{number}", daemon=True)
            for number, slot in enumerate(slots)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Wait until every slot was told to end and has ended."""
        for thread in self._threads:
            thread.join()

    def _serve(self, slot: Slot) -> None:
        has_ended = False
        try:
            slot.serve()
            has_ended = True
        finally:
            if not has_ended:  # a fault of ours, not of a task: better a crash that is seen than a slot that is gone
                logger.critical("a thread slot died; its runner leaves", exc_info=True)
                os._exit(1)
