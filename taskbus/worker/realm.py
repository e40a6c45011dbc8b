"""What of a worker remote control may look at and change; only the supervisor's thread may touch it."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from taskbus.broker.consumer import Consumer
from taskbus.config import Config
from taskbus.worker.crew import Crew
from taskbus.worker.dispatch import Dispatcher
from taskbus.worker.options import TaskSpec, WorkerInfo
from taskbus.worker.runners import Runner
from taskbus.worker.settlement import Ended, Held
from taskbus.worker.standing import Standing
from taskbus.worker.telemetry import Telemetry

CLOCKS_APART = 0.1
"""Seconds by which the wall clock must have been set before instants of the past are told otherwise than before."""


class Active(NamedTuple):
    """An attempt that runs now, in this slot of this runner, since this instant."""

    held: Held
    runner: Runner
    slot: int
    since: float


@dataclass(slots=True)
class Realm:
    """``node`` is what Celery's tools call this worker. ``end`` takes attempts to be settled, ``stop`` stops it in good
    order, ``watch`` has time limits watched from now on, ``refetch`` has it look for what there is to fetch.
    ``totals``: attempts that have ended, by task. ``specs`` are the supervisor's own, by which it receives.
    ``fetched_at``: when the broker last answered a fetch.
    """

    node: str
    config: Config
    info: WorkerInfo
    specs: dict[str, TaskSpec]
    crew: Crew
    dispatcher: Dispatcher
    consumer: Consumer
    standing: Standing
    telemetry: Telemetry
    end: Callable[[list[Ended]], None]
    stop: Callable[[], None]
    watch: Callable[[], None]
    refetch: Callable[[], None]
    totals: Counter[str] = field(default_factory=Counter)
    started_at: float = field(default_factory=time.monotonic)
    fetched_at: float = 0.0
    _offset: float = 0.0

    def runners(self) -> list[Runner]:
        """The runners of now; a copy, so that any thread may walk through it."""
        return list(self.crew.runners.values())

    def active(self) -> Iterator[Active]:
        """What runs now."""
        offset = time.time() - time.monotonic()
        if abs(offset - self._offset) > CLOCKS_APART:
            self._offset = offset
        for runner in self.runners():
            for entry in runner.running():
                held = runner.held.get(entry.tag)
                if held is not None and held.message is not None:
                    yield Active(held, runner, entry.slot, self._offset + entry.started)

    def reserved(self) -> list[Held]:
        """What this worker holds that does not run yet."""
        running = {id(active.held) for active in self.active()}
        held = [each for runner in self.runners() for each in list(runner.held.values())]
        held += [*self.dispatcher.waiting(), *self.standing.kept()]
        return [each for each in held if id(each) not in running and each.message is not None]

    @property
    def slots(self) -> int:
        """How many attempts of ``def`` tasks may run at once; of ``async def`` tasks where there are no others."""
        has_sync = any(not spec.is_async for spec in self.specs.values())
        each = max(1, self.config.threads) if has_sync else self.config.coroutines
        return max(1, self.crew.size) * each
