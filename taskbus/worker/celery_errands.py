"""Tasks that the supervisor runs itself, for the sake of Celery: they read and write results, and send."""

from collections.abc import Mapping
from dataclasses import replace

from taskbus.broker.delivery import Settlement
from taskbus.celery_results import unlocking
from taskbus.config import Config
from taskbus.store.base import Store
from taskbus.worker.admission import Admitted
from taskbus.worker.celery_desk import CeleryDesk
from taskbus.worker.celery_ends import CeleryEnds
from taskbus.worker.celery_flows import CeleryFlows
from taskbus.worker.celery_unlock import CeleryUnlock
from taskbus.worker.options import TaskSpec
from taskbus.worker.settlement import Held


class CeleryErrands:
    """``celery.chord_unlock``, and members of flows on their way to Celery and back; and what such tasks end in."""

    def __init__(self, specs: Mapping[str, TaskSpec], config: Config, worker: str, store: Store) -> None:
        self.desk = CeleryDesk(specs, config, worker)
        self.ends = CeleryEnds(self.desk)
        self._unlock = CeleryUnlock(self.desk)
        self._flows = CeleryFlows(self.desk, store)

    def relieved(self, admitted: Admitted, now: float) -> Admitted:
        """What was admitted, with these errands done, to be settled as they say. ``now`` is the broker's."""
        others: list[Held] = []
        unlocks: list[Held] = []
        settled: list[Settlement] = []
        for held in admitted.to_run:
            message = held.message
            if message is None:
                others.append(held)
            elif message.task == unlocking.TASK:
                unlocks.append(held)
            elif self._flows.is_mine(message):
                settled.append(self._flows.settled(held, now))
            else:
                others.append(held)
        if unlocks:
            settled += self._unlock.settled(unlocks, now)
        return replace(admitted, to_run=others, other=[*admitted.other, *settled])
