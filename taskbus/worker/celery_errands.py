"""Tasks that the supervisor runs itself, for the sake of Celery: they read and write results, and send."""

from taskbus.broker.delivery import Settlement
from taskbus.celery_results import unlocking
from taskbus.store.base import Store
from taskbus.worker.celery_desk import CeleryDesk
from taskbus.worker.celery_flows import CeleryFlows
from taskbus.worker.celery_unlock import CeleryUnlock
from taskbus.worker.settlement import Held


class CeleryErrands:
    """``celery.chord_unlock``, and members of flows on their way to Celery and back."""

    def __init__(self, desk: CeleryDesk, store: Store) -> None:
        self._unlock = CeleryUnlock(desk)
        self._flows = CeleryFlows(desk, store)

    def take(self, to_run: list[Held], now: float) -> tuple[list[Held], list[Settlement]]:
        """Of what is to be run, that which is for the runners; and how to settle the rest. ``now`` is the broker's."""
        others: list[Held] = []
        unlocks: list[Held] = []
        settled: list[Settlement] = []
        for held in to_run:
            message = held.message
            if message is None:
                others.append(held)
            elif message.task == unlocking.TASK:
                unlocks.append(held)
            elif self._flows.is_mine(message):
                settled.append(self._flows.settled(held, now))
            else:
                others.append(held)
        return others, settled + (self._unlock.settled(unlocks, now) if unlocks else [])
