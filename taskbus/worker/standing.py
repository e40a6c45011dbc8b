"""Standing orders: what was told to a worker about tasks that are still to come.

A revoked task is not run when it comes, here or at any worker that has heard of it. A rate limit lets a task start at
most so often here: what comes too early waits in memory as long as that is two seconds, and longer in the broker.
"""

import json
import random
import time
from collections import OrderedDict, deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from taskbus.monitor.wording import celery_headers
from taskbus.outcome import Failure, Released, Revoked
from taskbus.worker.admission import Admitted
from taskbus.worker.settlement import Ended, Held

MAX_REVOKED = 50_000
REVOKED_FOR = 10_800.0
"""How many ids are remembered, and for how many seconds: as Celery's workers do."""
AHEAD_FOR = 2.0
"""Seconds of work of a limited task that are held here; a worker that dies gives it back like all it holds."""
SHORTEST_DELAY, LONGEST_DELAY = 1.0, 60.0
"""Seconds for which the rest is given back: a limit that is changed is felt by all of it within the longest."""
REVOKED = Failure("taskbus.errors.TaskRevoked", "revoked")
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def per_second(rate: Any) -> float:
    """A rate as Celery writes it, "10/s", "10/m", "10/h" or a number a second, as tasks a second; 0 is no limit.

    Raises ``ValueError`` for what is none.
    """
    if not isinstance(rate, str):
        return float(rate or 0)
    number, _, unit = rate.partition("/")
    if unit not in _UNITS:
        raise ValueError(f"{rate!r} is not a number of tasks per s, m or h")
    return float(number) / _UNITS[unit] if number else 0.0


class Limit:
    """A token bucket that holds one token: starts of one task are at least ``1 / rate`` seconds apart."""

    def __init__(self, text: str, rate: float, now: float) -> None:
        self.text = text
        self.rate = rate
        self.waiting: deque[Held] = deque()
        self.next_at = now
        self._tail_at = now

    def take(self, held: Held, now: float) -> Ended | None:
        """Keep it here until it may start; or what it ends as, if that is too far off."""
        if len(self.waiting) < max(1.0, AHEAD_FOR * self.rate):
            self.waiting.append(held)
            return None
        self._tail_at = max(self._tail_at, now + len(self.waiting) / self.rate) + 1 / self.rate
        self._tail_at = min(self._tail_at, now + LONGEST_DELAY)
        delay = max(SHORTEST_DELAY, self._tail_at - now)
        return Ended(held, Released(delay * random.uniform(0.9, 1.0)))  # noqa: S311 (spreads load, guards nothing)

    def due(self, now: float) -> Iterable[Held]:
        """What may start now."""
        while self.waiting and self.next_at <= now:
            self.next_at = now + 1 / self.rate
            yield self.waiting.popleft()


class Standing:
    """``is_any`` is what the loop asks first: while it is False nothing is done for a task."""

    def __init__(self) -> None:
        self.is_any = False
        self.revoked: OrderedDict[str, float] = OrderedDict()
        self.stamps: dict[str, list[Any]] = {}
        self.limits: dict[str, Limit] = {}
        self._freed: list[Held] = []

    # --- orders --------------------------------------------------------------------------------------------------

    def revoke(self, task_ids: Iterable[str]) -> None:
        """Let none of these run when they come."""
        now = time.time()
        for task_id in task_ids:
            self.revoked.pop(task_id, None)
            self.revoked[task_id] = now
        while self.revoked and (len(self.revoked) > MAX_REVOKED or now - self._oldest() > REVOKED_FOR):
            self.revoked.popitem(last=False)
        self.is_any = self.is_any or bool(self.revoked)

    def _oldest(self) -> float:
        return next(iter(self.revoked.values()))

    def revoke_stamped(self, headers: Mapping[str, Sequence[Any]]) -> None:
        """Let no task run whose headers have one of these values."""
        for name, values in headers.items():
            known = self.stamps.setdefault(name, [])
            known += [value for value in values if value not in known]
        self.is_any = self.is_any or bool(self.stamps)

    def limit(self, task: str, text: str, now: float) -> None:
        """Let a task start so often from now on; "" or 0 as often as it comes. Raises ``ValueError``."""
        rate = per_second(text)
        old = self.limits.pop(task, None)
        if rate > 0:
            self.limits[task] = Limit(str(text), rate, now)
        if old is not None:
            (self.limits[task].waiting if rate > 0 else self._freed).extend(old.waiting)
        self.is_any = True

    # --- tasks ---------------------------------------------------------------------------------------------------

    def screen(self, admitted: Admitted, now: float) -> Admitted:
        """The same without what may not be run now: that has ended, or is kept here."""
        arrived, admitted.to_run = admitted.to_run, []
        for held in arrived:
            limit = self.limits.get(held.message.task) if held.message else None
            if self.is_revoked(held):
                admitted.ended.append(Ended(held, Revoked(REVOKED)))
            elif limit is None:
                admitted.to_run.append(held)
            elif (too_early := limit.take(held, now)) is not None:
                admitted.ended.append(too_early)
        return admitted

    def is_revoked(self, held: Held) -> bool:
        """Whether it was called off, by its id or by one of its headers."""
        message = held.message
        return message is not None and (message.id in self.revoked or self.has_stamp(held, self.stamps))

    def has_stamp(self, held: Held, stamps: Mapping[str, Sequence[Any]]) -> bool:
        """Whether one of its headers has one of these values."""
        if held.message is None:
            return False
        headers: Mapping[str, Any] = {**held.message.headers, **(celery_headers(held.message).get("stamps") or {})}
        return any(_meets(headers[name], values) for name, values in stamps.items() if name in headers)

    def due(self, now: float) -> list[Held]:
        """What was kept here and may start now."""
        freed, self._freed = self._freed, []
        return [*freed, *(held for limit in self.limits.values() for held in limit.due(now))]

    def next_at(self, now: float) -> float | None:
        """When ``due`` has something, by the monotonic clock."""
        if self._freed:
            return now
        return min((limit.next_at for limit in self.limits.values() if limit.waiting), default=None)

    def kept(self) -> list[Held]:
        """What is kept here."""
        return [*self._freed, *(held for limit in self.limits.values() for held in limit.waiting)]

    def empty(self, only: Collection[int] | None = None) -> list[Held]:
        """Take out what is kept here: all, or what has one of these ``id()``."""
        chosen = [held for held in self.kept() if only is None or id(held) in only]
        gone = {id(held) for held in chosen}
        self._freed = [held for held in self._freed if id(held) not in gone]
        for limit in self.limits.values():
            limit.waiting = deque(held for held in limit.waiting if id(held) not in gone)
        return chosen


def _meets(header: Any, values: Sequence[Any]) -> bool:
    """A stamp is one value or a list of them; in a header of ours it is text, a list as JSON."""
    found: list[Any] = list(header) if isinstance(header, list) else [header]
    if isinstance(header, str) and header.startswith("["):
        try:
            found += json.loads(header)
        except ValueError:
            pass
    return any(value in found for value in values)
