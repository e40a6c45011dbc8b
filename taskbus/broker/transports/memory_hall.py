"""The queues, exchanges and workers that brokers with the same ``memory://`` URL share. Callers hold its lock."""

import heapq
import os
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

from taskbus.broker.transports.envelope import check_exchange, matching
from taskbus.broker.transports.port import Parcel
from taskbus.errors import PublishFailed

READY, DELAYED, CLAIMED = 0, -1, -2
MOST_IDS = 100_000
"""Ids of published messages remembered at once; beyond that the oldest is forgotten before its time."""


@dataclass(slots=True)
class Row:
    """A message. ``owner`` is ``READY``, ``DELAYED``, for a moment ``CLAIMED``, or the id of its holder."""

    tag: int
    queue: str
    parcel: Parcel
    sent_at: float
    due_at: float | None
    owner: int
    fence: int = 0
    crashes: int = 0
    losses: int = 0

    @property
    def place(self) -> tuple[int, int]:
        return -self.parcel.priority, self.tag


@dataclass(slots=True)
class Worker:
    name: str
    incarnation: str
    queues: tuple[str, ...]
    started_at: float
    lease_until: float
    held: dict[int, Row] = field(default_factory=dict)


class Hall:
    """Rows by tag, and two heaps a queue, of ready and of delayed tags; outdated entries are skipped when met."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.rows: dict[int, Row] = {}
        self.workers: dict[int, Worker] = {}
        self.worker_ids = count(1)
        self.fence = 0
        self.queues: dict[str, tuple[float | None, float]] = {}
        self.exchanges: dict[str, str] = {}
        self.bindings: dict[str, dict[tuple[str, str], None]] = {}
        self.bells: weakref.WeakSet[Bell] = weakref.WeakSet()
        self._published: dict[str, float] = {}
        self._tags = count(1)
        self._ready: dict[str, list[tuple[tuple[int, int], int]]] = {}
        self._delayed: dict[str, list[tuple[float, int]]] = {}

    # --- messages ---

    def is_new(self, id: str, now: float, window: float) -> bool:
        """Whether no message with this id was accepted within ``window`` seconds; from now on one was."""
        published = self._published
        if published.get(id, now) > now:
            return False
        published.pop(id, None)  # so that it goes to the end: the first is the oldest
        published[id] = now + window
        while len(published) > MOST_IDS or published[next(iter(published))] <= now:
            del published[next(iter(published))]
        return True

    def add(self, queue: str, parcel: Parcel, now: float) -> None:
        row = Row(next(self._tags), queue, parcel, now, parcel.due_at, READY)
        self.rows[row.tag] = row
        self.give_back(row, parcel.due_at if parcel.due_at is not None and parcel.due_at > now else None)

    def give_back(self, row: Row, due_at: float | None) -> None:
        """Put a message into its queue, to be ready now or at ``due_at``."""
        if due_at is None:
            row.owner = READY
            heapq.heappush(self._ready.setdefault(row.queue, []), (row.place, row.tag))
        else:
            row.owner, row.due_at = DELAYED, due_at
            heapq.heappush(self._delayed.setdefault(row.queue, []), (due_at, row.tag))

    def take(self, queue: str, limit: int) -> list[Row]:
        heap = self._ready.get(queue, [])
        rows: list[Row] = []
        while heap and len(rows) < limit:
            row = self.rows.get(heapq.heappop(heap)[1])
            if row is not None and row.owner == READY:
                row.owner = CLAIMED  # an outdated twin further down the heap must not be taken too
                rows.append(row)
        return rows

    def promote(self, queue: str, now: float) -> None:
        """Make ready what has become due."""
        heap = self._delayed.get(queue, [])
        while heap and heap[0][0] <= now:
            due_at, tag = heapq.heappop(heap)
            row = self.rows.get(tag)
            if row is not None and row.owner == DELAYED and row.due_at == due_at:
                self.give_back(row, None)

    def next_due_at(self, queues: Sequence[str]) -> float | None:
        return min((self._delayed[queue][0][0] for queue in queues if self._delayed.get(queue)), default=None)

    def purge(self, queue: str) -> int:
        tags = [row.tag for row in self.rows.values() if row.queue == queue and row.owner in (READY, DELAYED)]
        for tag in tags:
            del self.rows[tag]
        self._ready.pop(queue, None)
        self._delayed.pop(queue, None)
        return len(tags)

    # --- topology ---

    def route(self, exchange: str, key: str) -> list[str]:
        if exchange not in self.exchanges:
            raise PublishFailed(f"there is no exchange {exchange!r}; declare it before publishing to it")
        return matching(self.exchanges[exchange], key, self.bindings.get(exchange, ()))

    def declare_exchange(self, exchange: str, type: str, *, passive: bool) -> None:
        found = self.exchanges.get(exchange)
        check_exchange(exchange, type, found, passive=passive)
        self.exchanges.setdefault(exchange, type)

    def count(self, queue: str) -> tuple[int, int]:
        """How many messages are ready in a queue, and how many workers consume from it."""
        ready = sum(row.queue == queue and row.owner == READY for row in self.rows.values())
        return ready, sum(queue in worker.queues for worker in self.workers.values())

    def unused_queues(self, now: float) -> list[str]:
        return [name for name, (expires, at) in self.queues.items() if expires is not None and at + expires < now]

    def delete_queue(self, queue: str, *, if_unused: bool, if_empty: bool) -> int:
        messages, consumers = self.count(queue)
        if (if_unused and consumers) or (if_empty and messages):
            return 0
        self.queues.pop(queue, None)
        for bound in self.bindings.values():
            for pair in [pair for pair in bound if pair[0] == queue]:
                del bound[pair]
        return self.purge(queue)

    # --- waking up ---

    def ring(self) -> None:
        for bell in list(self.bells):
            bell.ring()


class Bell:
    """A pipe that becomes readable when a message may have become ready."""

    def __init__(self, hall: Hall) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self._hall = hall
        hall.bells.add(self)

    def ring(self) -> None:
        try:
            os.write(self._writer, b".")
        except BlockingIOError:
            return  # it is ringing already, loudly

    def fileno(self) -> int:
        return self._reader

    def drain(self) -> None:
        try:
            while len(os.read(self._reader, 65536)) == 65536:
                continue
        except BlockingIOError:
            return

    def close(self) -> None:
        with self._hall.lock:
            self._hall.bells.discard(self)
        os.close(self._reader)
        os.close(self._writer)
