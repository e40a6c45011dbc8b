"""Which runner gets what, and how much to fetch: claim what free slots can take, and a little ahead for quick tasks.

A task is quick if it has lately taken less than 10 ms, a few round trips to a broker: fetched one by one, such tasks
would leave the runners idle for much of the time. Only quick tasks are sent ahead of a free slot, at most 25 ms of work
a runner, and never behind one that may be slow: nothing hides behind a long task. What turns out to be in the wrong
place is given back, uncounted.
"""

import itertools
import math
from collections import deque
from collections.abc import Iterable, Mapping

from taskbus.failpoint import failpoint
from taskbus.worker.options import TaskSpec
from taskbus.worker.runner.protocol import Job
from taskbus.worker.runners import Runner, job_of
from taskbus.worker.settlement import Held

QUICK = 0.01
AHEAD_FOR = 0.025
MAX_AHEAD = 256
PATIENCE = 0.1
"""Seconds that a delivery may wait here for a slot, and a runner with work ahead may be silent."""
FIRST_CAUTION, CAUTION = 0.1, 1.0
"""Seconds during which only free slots are filled, after something had to be given back; doubled if that happens again
soon. A machine that merely stuttered costs a tenth of a second, and slow tasks among quick ones are still heeded."""


class Dispatcher:
    """Holds what was fetched and is not yet with a runner."""

    def __init__(self, specs: Mapping[str, TaskSpec], threads: int, coroutines: int) -> None:
        self._sync_slots = max(1, threads)
        self._coroutine_slots = coroutines
        self._has_sync = any(not spec.is_async for spec in specs.values()) or not specs
        self._has_async = any(spec.is_async for spec in specs.values())
        self._tags = itertools.count(1)
        self._sync: deque[Held] = deque()
        self._async: deque[Held] = deque()
        self._suspects: deque[Held] = deque()
        self._cleared: Runner | None = None
        self._pace: dict[str, float] = {}
        self._mean = 0.0
        self._lately_async: deque[bool] = deque(maxlen=64)
        self._cautious_until = -math.inf
        self._caution = FIRST_CAUTION

    @property
    def parked(self) -> int:
        """How many deliveries wait here."""
        return len(self._sync) + len(self._async) + len(self._suspects)

    def waiting(self) -> list[Held]:
        """The deliveries that wait here."""
        return [*self._sync, *self._async, *self._suspects]

    def park(self, held: Held, now: float) -> None:
        """Take a delivery that is to be run."""
        held.parked_at = now
        if held.is_suspect:
            self._suspects.append(held)
            return
        self._lately_async.append(held.spec.is_async)
        (self._async if held.spec.is_async else self._sync).append(held)

    def room(self, runners: Iterable[Runner], now: float) -> int:
        """How many deliveries to fetch now."""
        ready = self._open(runners)
        sync_room = self._sync_room(ready, now) if self._has_sync else 0
        if not self._has_async:
            return sync_room
        async_room = sum(min(self._coroutine_slots - runner.async_load, runner.budget) for runner in ready)
        async_room -= len(self._async)
        if not self._has_sync or (self._lately_async and all(self._lately_async)):
            return max(async_room, sync_room, 0)
        # Both kinds come from one queue, and which one is next is not known before it is fetched: with every main slot
        # taken, one delivery at a time is tried, so that no more than one can be kept from other workers.
        may_try = async_room > 0 and not self.parked and now >= self._cautious_until
        return sync_room or int(may_try)

    def _sync_room(self, ready: list[Runner], now: float) -> int:
        ahead = self._ahead(now)
        slots = self._sync_slots + 2 * ahead
        capacity = sum(min(slots, runner.sync_load + runner.budget) for runner in ready)
        load = len(self._sync) + sum(runner.sync_load for runner in ready)
        # Fetching one by one would cost a transaction for each: wait until half of what fits is done.
        return max(0, capacity - load) if not ahead or load <= capacity // 2 else 0

    def _ahead(self, now: float) -> int:
        if not 0.0 < self._mean < QUICK or now < self._cautious_until:
            return 0
        return min(MAX_AHEAD, int(AHEAD_FOR / self._mean))

    def assign(self, runners: Iterable[Runner], now: float) -> None:
        """Send what is parked to runners that have room, the idlest first."""
        if not self.parked:
            return
        failpoint("dispatch.before")
        self._isolate_suspects(runners)
        ready = sorted((runner for runner in self._open(runners) if not runner.is_choked), key=_load)
        ahead = self._ahead(now)
        for position, runner in enumerate(ready):
            if not runner.held:  # it had nothing to say: what it is given now is what it may be silent about
                runner.heard_at = max(runner.heard_at, now)
            share = -(-len(self._sync) // (len(ready) - position))
            jobs = [self._job(runner, held) for held in self._take_sync(runner, share, ahead)]
            share = -(-len(self._async) // (len(ready) - position))
            room = min(share, self._coroutine_slots - runner.async_load, runner.budget)
            jobs += [self._job(runner, self._async.popleft()) for _ in range(room)]
            if jobs:
                runner.run(jobs)

    def _isolate_suspects(self, runners: Iterable[Runner]) -> None:
        """Give each suspect a runner of its own. If none is empty, the least busy one gets nothing until it is."""
        able = [runner for runner in runners if runner.is_up and not runner.is_stopping and not runner.is_isolated]
        for runner in able:
            if self._suspects and not runner.held and not runner.judging:
                runner.is_isolated = True
                runner.run([self._job(runner, self._suspects.popleft())])
        able = [runner for runner in able if not runner.is_isolated]
        if not self._suspects or not able:
            self._cleared = None
        elif self._cleared not in able:
            self._cleared = min(able, key=_load)

    def _open(self, runners: Iterable[Runner]) -> list[Runner]:
        """The runners that take any task now."""
        return [
            runner
            for runner in runners
            if runner.is_up and not runner.is_stopping and not runner.is_isolated and runner is not self._cleared
        ]

    def _take_sync(self, runner: Runner, share: int, ahead: int) -> Iterable[Held]:
        while self._sync and share > 0 and runner.budget > 0:
            held = self._sync[0]
            held.is_slow = not (held.message and self._pace.get(held.message.task, QUICK) < QUICK)
            fits_ahead = not held.is_slow and not runner.slow_load and runner.sync_load < self._sync_slots + ahead
            if runner.sync_load >= self._sync_slots and not fits_ahead:
                return
            share -= 1
            yield self._sync.popleft()

    def _job(self, runner: Runner, held: Held) -> Job:
        held.tag = next(self._tags)
        held.pid = runner.pid
        runner.held[held.tag] = held
        runner.budget -= 1
        if held.spec.is_async:
            runner.async_load += 1
        else:
            runner.sync_load += 1
            runner.slow_load += held.is_slow
        return job_of(held)

    def release(self, runner: Runner, tag: int) -> Held | None:
        """Take a delivery back from a runner: it has ended there, or will not start."""
        held = runner.held.pop(tag, None)
        if held is None:
            return None
        if held.spec.is_async:
            runner.async_load -= 1
        else:
            runner.sync_load -= 1
            runner.slow_load -= held.is_slow
        runner.is_isolated = runner.is_isolated and bool(runner.held)
        return held

    def learn(self, held: Held, ran_for: float) -> None:
        """Remember how long an attempt took."""
        if held.message is None or held.spec.is_async:
            return
        task = held.message.task
        known = self._pace.get(task)
        self._pace[task] = ran_for if known is None else 0.8 * known + 0.2 * ran_for
        self._mean = ran_for if not self._mean else 0.9 * self._mean + 0.1 * ran_for

    def misplaced(self, runners: Iterable[Runner], now: float) -> list[Held]:
        """Deliveries to be given back: they have waited here too long. Runners with stuck work ahead must return it."""
        for runner in runners:
            is_silent = now - runner.heard_at > PATIENCE
            if runner.sync_load > self._sync_slots and is_silent and not runner.is_recalled:
                runner.is_recalled = True
                runner.send("recall")
                self._be_cautious(now)
        late = [held for held in itertools.chain(self._sync, self._async) if now - held.parked_at > PATIENCE]
        if late:
            self._be_cautious(now)
            self.empty(late)
        return late

    def _be_cautious(self, now: float) -> None:
        if now < self._cautious_until:
            return
        is_again = now - self._cautious_until < 2 * CAUTION
        self._caution = min(CAUTION, 2 * self._caution) if is_again else FIRST_CAUTION
        self._cautious_until = now + self._caution

    def empty(self, only: list[Held] | None = None) -> list[Held]:
        """Take out what is parked, all of it or only some."""
        chosen = self.waiting() if only is None else only
        gone = {id(held) for held in chosen}
        self._sync = deque(held for held in self._sync if id(held) not in gone)
        self._async = deque(held for held in self._async if id(held) not in gone)
        self._suspects = deque(held for held in self._suspects if id(held) not in gone)
        return chosen

    def next_look(self, runners: Iterable[Runner]) -> float | None:
        """When ``misplaced`` may find something, by the monotonic clock; None while nothing can be."""
        instants = [held.parked_at for held in (*itertools.islice(self._sync, 1), *itertools.islice(self._async, 1))]
        instants += [
            runner.heard_at for runner in runners if runner.sync_load > self._sync_slots and not runner.is_recalled
        ]
        return min(instants) + PATIENCE if instants else None


def _load(runner: Runner) -> int:
    return runner.sync_load + runner.async_load
