"""What the loop counts of each task, and of which it lets a record be made.

This is the hot path: two steps a task, at its fetch and at its settlement, together below a microsecond; all words are
found by another thread. Failures, retries and revocations are told in full. Successes above ``rate`` a second are told
by samples: each says for how many it stands, and within a second or so all of them are accounted for.
"""

import time
from bisect import bisect_left
from collections import deque
from collections.abc import Collection, Sequence
from typing import NamedTuple

from taskbus.broker.delivery import Settlement
from taskbus.clock import Clock, wall_clock
from taskbus.monitor.bucket import Bucket
from taskbus.monitor.histogram import BOUNDS
from taskbus.monitor.tallies import Cell, Key, Tallies
from taskbus.outcome import Crashed, Dead, Failure, Outcome, Reason, Released, Replaced, Retrying, Revoked, Succeeded
from taskbus.store.base import Bury
from taskbus.worker.settlement import Ended, Held

MAX_WAITING = 10_000
"""Records that may wait to be made and posted."""
MAX_BYTES = 16 << 20
"""Bytes of messages and results that are kept for them."""
DIED = "taskbus.worker.RunnerDied"
ROUND_UP = 1.0
"""Seconds after which successes that were passed over are told by one of them at the latest."""


class Fact(NamedTuple):
    """One attempt, or delivery, that ended at an instant; ``weight``: how many like it this one stands for.

    ``outcome`` is the last word: a crash is ``Retrying`` here, or ``Dead`` if no other attempt is made. ``letter``: the
    id of the dead letter that it became.
    """

    ended: Ended
    outcome: Outcome
    at: float
    weight: int = 1
    letter: str = ""


class Tally:
    """Belongs to the loop; ``take`` is for another thread. ``dropped``: records that found no room."""

    def __init__(self, tallies: Tallies, rate: int, clock: Clock = wall_clock, *, keeps_records: bool = True) -> None:
        self.tallies = tallies
        self._keeps_records = keeps_records
        self.dropped = 0
        self._clock = clock
        self._bucket = Bucket(rate)
        self._facts: deque[Fact] = deque()
        self._bytes = 0
        self._taken = 0
        self._passed_over: list[Cell] = []
        self._round_up_at = 0.0
        self._stood_for = self._told = 0

    # --- in the loop ---------------------------------------------------------------------------------------------

    def received(self, arrived: Sequence[Held], ended: Sequence[Ended]) -> None:
        """These came off a queue: to be run, or ended without."""
        tallies = self.tallies
        cells = tallies.cells(self._clock())
        for held in arrived:
            message = held.message
            key = (message.task if message is not None else "", held.delivery.queue)
            cell = cells.get(key)
            if cell is None:
                cell = tallies.cell(key)
            cell.received += 1
        for each in ended:
            tallies.cell(_key(each.held)).received += 1

    def settled(self, ended: Sequence[Ended], settlements: Sequence[Settlement], stale: Collection[int]) -> None:
        """These have ended, and been settled so. ``stale``: tags of deliveries that were another worker's by then."""
        tallies = self.tallies
        now = self._clock()
        cells = tallies.cells(now)
        bucket = self._bucket
        bucket.fill()
        for position, each in enumerate(ended):
            held, outcome, started_at, ran_for = each
            message = held.message
            is_stale = bool(stale) and held.delivery.tag in stale
            if type(outcome) is not Succeeded or message is None or is_stale:
                self._ended_otherwise(each, settlements[position], now, is_stale=is_stale)
                continue
            key = (message.task, held.delivery.queue)
            cell = cells.get(key)
            if cell is None:
                cell = tallies.cell(key)
            cell.succeeded += 1
            cell.started += 1
            waited = started_at - (message.due_at or message.sent_at or started_at)
            if waited < 0.0:
                waited = 0.0
            cell.waits[bisect_left(BOUNDS, waited)] += 1
            cell.wait_sum += waited
            cell.runs[bisect_left(BOUNDS, ran_for)] += 1
            cell.run_sum += ran_for
            if bucket.left >= 1.0:
                bucket.left -= 1.0
                self._note(Fact(each, outcome, now, cell.skipped + 1))
                cell.skipped = 0
            else:
                if not cell.skipped:
                    self._pass_over(cell)
                cell.skipped += 1
                cell.last = each

    def tick(self, now: float) -> None:
        """Tell by one of them of the successes that no record stands for yet."""
        if not self._passed_over or now < self._round_up_at:
            return
        at = self._clock()
        passed, self._passed_over = self._passed_over, []
        for cell in passed:
            if cell.skipped and cell.last is not None:
                self._note(Fact(cell.last, cell.last.outcome, at, cell.skipped))
                cell.skipped, cell.last = 0, None

    def next_at(self) -> float | None:
        """When ``tick`` has something to do, by the monotonic clock."""
        return self._round_up_at if self._passed_over else None

    def _pass_over(self, cell: Cell) -> None:
        if not self._passed_over:
            self._round_up_at = time.monotonic() + ROUND_UP
        self._passed_over.append(cell)

    def _ended_otherwise(self, each: Ended, settled: Settlement, at: float, *, is_stale: bool) -> None:
        """Count, and note, what is no success."""
        cell, outcome = self.tallies.cell(_key(each.held)), each.outcome
        if is_stale or type(outcome) is Released:
            cell.given_back += 1
            return
        if each.started_at:
            cell.lasted(_waited(each), each.ran_for)
        letter = next((change.letter for change in settled.changes if type(change) is Bury), None)
        match outcome:
            case Succeeded() | Replaced():
                cell.succeeded += 1
            case Retrying(_, failure):
                cell.retried += 1
                cell.erred(failure.type)
            case Revoked():
                cell.revoked += 1
            case Crashed(how) if letter is None:
                cell.crashed += 1
                outcome = Retrying(0.0, Failure(DIED, f"its runner died of {how}"))
                cell.erred(DIED)
            case Crashed():
                assert letter is not None
                outcome = Dead(letter.reason, letter.failure)
        if isinstance(outcome, Dead):
            self._count_dead(cell, outcome)
        self._note(Fact(each, outcome, at, 1, letter.task_id if letter is not None else ""))

    def _count_dead(self, cell: Cell, outcome: Dead) -> None:
        match outcome.reason:
            case Reason.REJECTED:
                cell.rejected += 1
            case Reason.EXPIRED:
                cell.expired += 1
            case _:
                cell.died(outcome.failure.type)
                cell.failed += 1

    def _note(self, fact: Fact) -> None:
        if not self._keeps_records:
            return
        size = _size(fact)
        if len(self._facts) >= MAX_WAITING or self._bytes - self._taken + size > MAX_BYTES:
            self.dropped += fact.weight
            return
        self._bytes += size
        if type(fact.outcome) is Succeeded:
            self._stood_for += fact.weight
            self._told += 1
        self._facts.append(fact)

    def sampled(self) -> int:
        """Of how many successes one was lately recorded."""
        stood_for, told = self._stood_for, self._told
        self._stood_for = self._told = 0  # what the other thread adds in between is lost: it is a hint, and no count
        return max(1, round(stood_for / told)) if told else 1

    # --- in the other thread -------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._facts)

    def take(self, limit: int) -> list[Fact]:
        """The oldest of what is to be recorded, ``limit`` at most; each is given out once."""
        facts: list[Fact] = []
        while self._facts and len(facts) < limit:
            fact = self._facts.popleft()
            self._taken += _size(fact)
            facts.append(fact)
        return facts


def _key(held: Held) -> Key:
    return (held.message.task if held.message is not None else "", held.delivery.queue)


def _waited(each: Ended) -> float:
    message = each.held.message
    ready_at = (message.due_at or message.sent_at) if message is not None else 0.0
    return max(0.0, each.started_at - ready_at) if ready_at else 0.0


def _size(fact: Fact) -> int:
    message, outcome = fact.ended.held.message, fact.outcome
    size = len(message.body) if message is not None else 0
    if type(outcome) is Succeeded and outcome.result is not None:
        size += len(outcome.result)
    return size
