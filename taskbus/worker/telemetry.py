"""What is told of tasks to whoever watches: noted by the supervisor's loop, put into words by another thread.

Telling must not slow the tasks. So a worker tells of at most ``rate`` tasks a second, chosen as they arrive and then
told in full; what fails is always told. The rest is counted. What nobody fetches is bounded, and what is over it is
counted too.
"""

import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, NamedTuple

from taskbus.broker.delivery import Settlement
from taskbus.monitor import events
from taskbus.monitor.bucket import Bucket
from taskbus.outcome import Crashed, Dead, Failure, Outcome, Reason, Released, Succeeded
from taskbus.store.base import Bury
from taskbus.worker.runners import Runner
from taskbus.worker.settlement import Ended, Held

MAX_WAITING = 10_000
"""Facts that may wait to be told: while the connection is down, or the thread too slow."""
MAX_GIVEN_BACK = 1_000
"""Tasks of which it is remembered that they were told of and given back, so as not to tell twice that they came."""
LOOK = 0.2
"""Seconds between looks at what the runners have started."""


class Fact(NamedTuple):
    """Something that happened to a task at an instant. ``outcome`` None: it was received, or has started."""

    held: Held
    kind: str
    at: float
    outcome: Outcome | None = None
    ran_for: float = 0.0


class Telemetry:
    """``is_on`` is what the loop asks before anything else: while it is False nothing is done for a task.

    ``dropped`` counts the tasks that were not told of. ``ring``: what wakes the thread that calls ``take``.
    """

    def __init__(self, rate: int, *, is_on: bool = False) -> None:
        self.is_on = is_on
        self.dropped = 0
        self.ring: Callable[[], None] = lambda: None
        self._bucket = Bucket(rate)
        self._facts: deque[Fact] = deque()
        self._look_at = 0.0
        self._given_back: dict[str, bool] = {}

    # --- in the loop ---------------------------------------------------------------------------------------------

    def received(self, arrived: Sequence[Held]) -> None:
        """These are to be run."""
        self._bucket.fill()
        at = time.time()
        for held in arrived:
            if self._given_back and held.message and self._given_back.pop(held.message.id, False):
                held.is_told = True  # it was received before, and has not been anywhere else since
            elif self._bucket.left >= 1.0 and len(self._facts) < MAX_WAITING:
                self._bucket.left -= 1.0
                held.is_told = True
                self._facts.append(Fact(held, "received", at))
            else:
                self.dropped += 1
        self.ring()

    def next_look(self, runners: Iterable[Runner]) -> float | None:
        """When to look at the runners again; None while they do nothing."""
        return self._look_at if any(runner.held for runner in runners) else None

    def look(self, runners: Iterable[Runner], now: float) -> None:
        """Note what has started, at most every ``LOOK`` seconds; what is quicker is noted when it has ended."""
        if now < self._look_at:
            return
        self._look_at = now + LOOK
        wall = time.time()
        for runner in runners:
            for entry in runner.running() if runner.held else ():
                held = runner.held.get(entry.tag)
                if held is not None and held.is_told and not held.is_start_told:
                    held.is_start_told = True
                    self._facts.append(Fact(held, "started", wall - (now - entry.started)))
                    self.ring()

    def ended(self, ended: Sequence[Ended], settlements: Sequence[Settlement], stale: Collection[int]) -> None:
        """These have ended, and been settled so."""
        for each, settled in zip(ended, settlements, strict=True):
            held, outcome = each.held, each.outcome
            if held.message is None or held.delivery.tag in stale:
                continue
            if type(outcome) is Released:
                if held.is_told and len(self._given_back) < MAX_GIVEN_BACK:
                    self._given_back[held.message.id] = True
                continue
            if isinstance(outcome, Crashed):
                buried = _burial(settled)
                if buried is None:
                    continue
                outcome = Dead(Reason.POISON, buried)
            if held.is_told or type(outcome) is not Succeeded:
                self._note_end(each, outcome)
        self.ring()

    def _note_end(self, each: Ended, outcome: Outcome) -> None:
        held, began = each.held, each.started_at
        at = began + each.ran_for if began else time.time()
        if len(self._facts) >= MAX_WAITING:
            self.dropped += 1
            return
        if not held.is_told:
            self._facts.append(Fact(held, "received", began or at))
        if began and not held.is_start_told:
            self._facts.append(Fact(held, "started", began))
        self._facts.append(Fact(held, "ended", at, outcome, each.ran_for))

    # --- in the other thread -------------------------------------------------------------------------------------

    def take(self) -> list[events.Event]:
        """What has happened since the last call, in words."""
        told: list[events.Event] = []
        while self._facts:
            told += _worded(self._facts.popleft())
        return told


def _worded(fact: Fact) -> list[events.Event]:
    message: Any = fact.held.message
    match fact.kind:
        case "received":
            return [events.received(message, fact.at)]
        case "started":
            return [events.started(message.id, fact.at)]
        case _:
            return events.ended(message.id, fact.outcome, fact.at, fact.ran_for)


def _burial(settled: Settlement) -> Failure | None:
    return next((change.letter.failure for change in settled.changes if isinstance(change, Bury)), None)
