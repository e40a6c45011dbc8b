"""Results, dead letters and flows in this process, gone with it: for tests and for the memory broker."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from taskbus.clock import Clock, wall_clock
from taskbus.database.remark import Remark
from taskbus.message import Recorded
from taskbus.outcome import State
from taskbus.store import flow_starts, matching, taking
from taskbus.store.base import (
    AnyChange,
    Bury,
    DeadLetter,
    Exhume,
    FailedAttempt,
    Filter,
    ForgetAttempts,
    ForgetFailure,
    Group,
    Purge,
    SaveAttempt,
    SaveResult,
    StoredResult,
)
from taskbus.store.flow_rows import Work
from taskbus.store.flow_steps import KINDS, work_out
from taskbus.store.flows import Begun, FlowView, NodeView, Start
from taskbus.store.memory_flows import MemoryFlows
from taskbus.store.named import Named

SWEEP_LIMIT = 1000
NOTHING = Recorded()
FAILED = (State.FAILURE, State.REVOKED)


class MemoryStore:
    """A store without a database: ``apply`` takes part in no transaction but its own."""

    database = ""

    def __init__(self, clock: Clock = wall_clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._results: dict[str, tuple[StoredResult, float]] = {}
        self._attempts: dict[str, dict[int, FailedAttempt]] = {}
        self._letters: dict[str, DeadLetter] = {}
        self._flows = MemoryFlows(clock)
        self._subscribers: dict[object, Callable[[], None]] = {}

    def apply(self, changes: Sequence[AnyChange], transaction: Any = None) -> Recorded | None:
        with self._lock:
            possible = self._possible(changes)
            if possible is None:
                return None
            work: Work | None = None
            if not KINDS.isdisjoint(map(type, changes)):
                work = work_out(self._flows, [change for change in changes if type(change) in KINDS])  # type: ignore[misc]
                if work is None:
                    return None
            for change in possible:
                self._write(change)
            recorded = NOTHING if work is None else self._close(work)
            subscribers = list(self._subscribers.values())
        for notify in subscribers:
            notify()
        return recorded

    def _close(self, work: Work) -> Recorded:
        recorded = work.close()
        for task_id in work.forgotten:
            self._results.pop(task_id, None)
        for result in work.results.values():
            self._write(result)
        return recorded

    def _possible(self, changes: Sequence[AnyChange]) -> Sequence[AnyChange] | None:
        if taking.KINDS.isdisjoint(map(type, changes)):
            return changes
        asked = {change.task_id for change in changes if taking.asks(change)}
        there = {task_id: self._letters[task_id].dead_at for task_id in asked & self._letters.keys()}
        return taking.possible(changes, there)

    def _write(self, change: AnyChange) -> None:
        match change:
            case SaveResult(result, ttl):
                known = self._alive(result.task_id)
                if known is None or not known.state.is_final:
                    self._results[result.task_id] = (result, self._clock() + ttl)
            case SaveAttempt(attempt):
                self._attempts.setdefault(attempt.task_id, {})[attempt.attempt] = attempt
            case ForgetAttempts(task_id):
                self._attempts.pop(task_id, None)
            case Bury(letter):
                self._letters[letter.task_id] = replace(letter, attempts=())
            case Exhume(task_id):
                self._letters.pop(task_id, None)
                self._attempts.pop(task_id, None)
                self._results.pop(task_id, None)
            case ForgetFailure(task_id):
                known = self._alive(task_id)
                if known is not None and known.state in FAILED:
                    del self._results[task_id]
            case Purge(task_id):
                if self._letters.pop(task_id, None) is not None:
                    self._attempts.pop(task_id, None)

    def _alive(self, task_id: str) -> StoredResult | None:
        result, expires_at = self._results.get(task_id, (None, 0.0))
        return result if expires_at > self._clock() else None

    def results(self, task_ids: Sequence[str]) -> Mapping[str, StoredResult]:
        with self._lock:
            return {task_id: result for task_id in task_ids if (result := self._alive(task_id)) is not None}

    def forget(self, task_ids: Sequence[str]) -> None:
        with self._lock:
            for task_id in task_ids:
                self._results.pop(task_id, None)

    def attempts(self, task_ids: Sequence[str]) -> Mapping[str, Sequence[FailedAttempt]]:
        with self._lock:
            return {task_id: self._attempts_of(task_id) for task_id in task_ids if task_id in self._attempts}

    def _attempts_of(self, task_id: str) -> tuple[FailedAttempt, ...]:
        return tuple(attempt for _, attempt in sorted(self._attempts.get(task_id, {}).items()))

    def dead_letters(
        self, where: Filter, *, limit: int, after: tuple[float, str] | None = None, is_newest_first: bool = False
    ) -> Sequence[DeadLetter]:
        with self._lock:
            found = [
                letter
                for letter in sorted(self._letters.values(), key=matching.position, reverse=is_newest_first)
                if matching.is_behind(letter, after, is_newest_first) and matching.matches(letter, where)
            ]
            return [replace(letter, attempts=self._attempts_of(letter.task_id)) for letter in found[:limit]]

    def count_dead_letters(self, where: Filter) -> int:
        with self._lock:
            return sum(matching.matches(letter, where) for letter in self._letters.values())

    def dead_letter_groups(self, where: Filter) -> Sequence[Group]:
        with self._lock:
            return matching.groups(letter for letter in self._letters.values() if matching.matches(letter, where))

    def sweep(self, now: float) -> int:
        with self._lock:
            over = [task_id for task_id, (_, expires_at) in self._results.items() if expires_at <= now][:SWEEP_LIMIT]
            for task_id in over:
                del self._results[task_id]
            return len(over) + self._flows.sweep(now, SWEEP_LIMIT)

    def begin(self, starts: Sequence[Start]) -> Sequence[Begun]:
        with self._lock:
            return flow_starts.begin(self._flows, starts)

    def flow(self, flow_id: str) -> FlowView | None:
        with self._lock:
            return self._flows.flow(flow_id)

    def flows(self, *, limit: int, before: tuple[float, str] | None = None) -> Sequence[FlowView]:
        with self._lock:
            return self._flows.flows(limit, before)

    def nodes(self, flow_id: str, *, limit: int, after: str = "") -> Sequence[NodeView]:
        with self._lock:
            return self._flows.nodes(flow_id, limit, after)

    def subscribe(self, notify: Callable[[], None]) -> Callable[[], None]:
        token = object()
        with self._lock:
            self._subscribers[token] = notify

        def cancel() -> None:
            with self._lock:
                self._subscribers.pop(token, None)

        return cancel

    def examine(self) -> list[Remark]:
        return []

    def close(self) -> None:
        """Nothing to release."""


_named: Named[MemoryStore] = Named()


def open_url(url: str, clock: Clock) -> MemoryStore:
    """The store of that name in this process; it lasts as long as someone holds it."""
    return _named.get(url, lambda: MemoryStore(clock))
