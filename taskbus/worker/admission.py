"""From a fetch to what is run of it: looked at, begun where it belongs to a flow, taken off the queue if need be."""

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from taskbus.broker.consumer import Consumer
from taskbus.broker.delivery import Act, Delivery, Record, Settlement
from taskbus.errors import BrokerError, StoreError
from taskbus.outcome import Released
from taskbus.worker.flows import Flows, Looked
from taskbus.worker.intake import Intake
from taskbus.worker.settlement import Ended, Held


@dataclass(slots=True)
class Admitted:
    """What was fetched, sorted: to be run, ended without a run, to be settled as it is."""

    to_run: list[Held] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    other: list[Settlement] = field(default_factory=list)

    def add(self, looked: Looked) -> None:
        match looked:
            case Held():
                self.to_run.append(looked)
            case Ended():
                self.ended.append(looked)
            case Settlement():
                self.other.append(looked)


class Admission:
    """Decides what of a fetch is run. ``record`` and ``shared`` are those of ``Consumer.settle``."""

    def __init__(self, intake: Intake, flows: Flows, consumer: Consumer, record: Record, *, shared: bool) -> None:
        self._intake = intake
        self._flows = flows
        self._consumer = consumer
        self._record = record
        self._shared = shared

    def admit(self, deliveries: Sequence[Delivery]) -> Admitted:
        """Sort what was fetched, each kind in its order."""
        now = self._consumer.now()
        looked: list[Looked] = [self._intake.look(delivery, now) for delivery in deliveries]
        admitted = Admitted()
        for each in self._flows.look(looked, now):
            admitted.add(each)
        self._ack_first(admitted)
        return admitted

    def _ack_first(self, admitted: Admitted) -> None:
        """Take ``at_most_once`` deliveries off their queue before they run; from here a crash loses them, as asked.

        Those of flows stay on it, so that their flow learns of a loss: ``Intake`` buries them when they come again.
        """
        to_run = admitted.to_run
        once = [held for held in to_run if held.spec.at_most_once and not held.flow]
        if not once:
            return
        try:
            stale = self._consumer.settle(
                [Settlement(held.delivery) for held in once], self._record, shared=self._shared
            )
        except (BrokerError, StoreError):
            admitted.ended += (Ended(held, Released()) for held in once)
            gone = {held.delivery.tag for held in once}
        else:
            gone = {delivery.tag for delivery in stale}
            for held in once:
                held.is_acked = True
        admitted.to_run = [held for held in to_run if held.delivery.tag not in gone]

    def own_up(self, started: Iterable[Held]) -> None:
        """Before all is given back as if it had not run: count what may have, if it must not run again."""
        crashed = [Settlement(held.delivery, Act.CRASH) for held in started if held.runs_once and not held.is_acked]
        if crashed:
            with contextlib.suppress(BrokerError):  # else its lease will run out, which counts it too
                self._consumer.settle(crashed, None, shared=self._shared)
