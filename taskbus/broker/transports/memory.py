"""The memory transport: everything in this process, for tests and for trying things out; nothing outlives it.

Brokers of one process with the same URL share one hall of queues, as brokers on one file share a database.
"""

import os
import threading
import uuid
from collections.abc import Callable, Sequence

from taskbus.broker.delivery import Act, Delivery, Record, Settlement
from taskbus.broker.queues import QueueSize, WorkerEntry
from taskbus.broker.transports.features import Features
from taskbus.broker.transports.kombu_transport import StorageTransport
from taskbus.broker.transports.memory_hall import DELAYED, READY, Bell, Hall, Row, Worker
from taskbus.broker.transports.port import Claimed, Claims, Holder, Opening, Parcel, QueueCount, sealed
from taskbus.broker.transports.turns import in_turn, share_out
from taskbus.database.remark import Remark, Weight
from taskbus.errors import BrokerError, LeaseLost
from taskbus.failpoint import failpoint
from taskbus.message import Message

FEATURES = Features(
    name="memory",
    durable=False,
    priorities=True,
    delays=True,
    fanout=True,
    atomic_settle=False,
    processes=False,
    dedup=True,
    notes=("everything is lost when the process ends",),
)


class MemoryStorage:
    """A ``Storage`` in this process. ``Opening.timeout`` means nothing here: nothing is ever waited for."""

    features = FEATURES
    database = ""

    def __init__(self, opening: Opening) -> None:
        with _opening:
            self._hall = _halls.setdefault(opening.url, Hall())
        self.now = opening.clock
        self._dedup_window = opening.dedup_window
        self._pid = os.getpid()

    def _enter(self) -> threading.RLock:
        if self._pid != os.getpid():
            raise BrokerError("memory:// lives in one process, and this is a child of it; use sqlite:///file.db")
        return self._hall.lock

    # --- in ---

    def publish(self, parcels: Sequence[Parcel]) -> None:
        failpoint("publish.before")
        with self._enter():
            self._insert(parcels, self._dedup_window)
        failpoint("publish.after")

    def _insert(self, parcels: Sequence[Parcel], dedup_window: float = 0.0) -> None:
        now = self.now()
        routed = [
            (parcel, self._hall.route(parcel.exchange, parcel.key) if parcel.exchange else (parcel.key,))
            for parcel in parcels
        ]  # all of it first: when one cannot be routed, no id may be remembered
        for parcel, queues in routed:
            if dedup_window and parcel.id and not self._hall.is_new(parcel.id, now, dedup_window):
                continue
            for queue in queues:
                self._hall.add(queue, parcel, now)
        self._hall.ring()

    # --- leases ---

    def join(self, name: str, queues: Sequence[str], lease: float) -> Holder:
        with self._enter():
            now, incarnation = self.now(), uuid.uuid4().hex
            id = next(self._hall.worker_ids)
            self._hall.workers[id] = Worker(name, incarnation, tuple(queues), now, now + lease)
            return Holder(id, incarnation, lease)

    def renew(self, holder: Holder) -> None:
        failpoint("renew.before")
        with self._enter():
            self._worker(holder).lease_until = self.now() + holder.lease

    def _worker(self, holder: Holder) -> Worker:
        worker = self._hall.workers.get(holder.id)
        if worker is None:
            raise LeaseLost(f"the lease of worker {holder.incarnation} was taken away: it was not renewed in time")
        return worker

    def reap(self) -> int:
        with self._enter():
            now = self.now()
            reaped = 0
            for id in [id for id, worker in self._hall.workers.items() if worker.lease_until < now]:
                reaped += self._dismiss(id, losses=1)
            for queue in self._hall.unused_queues(now):
                self._hall.delete_queue(queue, if_unused=True, if_empty=False)
            return reaped

    def attend(self, holder: Holder, queues: Sequence[str]) -> None:
        with self._enter():
            self._worker(holder).queues = tuple(queues)
            self._hall.ring()

    def leave(self, holder: Holder) -> None:
        failpoint("release.before")
        with self._enter():
            self._dismiss(holder.id, losses=0)

    def _dismiss(self, id: int, *, losses: int) -> int:
        worker = self._hall.workers.pop(id, None)
        if worker is None:
            return 0
        for row in list(worker.held.values()):
            row.losses += losses
            self._hall.give_back(row, None)
        self._hall.ring()
        return len(worker.held)

    # --- out ---

    def claim(self, holder: Holder, queues: Sequence[str], limit: int) -> Claims:
        with self._enter():
            now = self.now()
            worker = self._worker(holder)
            for queue in queues:
                self._hall.promote(queue, now)
            rows = self._take(queues, limit)
            self._hall.fence += 1
            for row in rows:
                row.owner, row.fence = holder.id, self._hall.fence
                worker.held[row.tag] = row
            failpoint("fetch.inside")
            claims = Claims([_claimed(row, row.fence) for row in rows], self._hall.next_due_at(queues))
        failpoint("fetch.after")
        return claims

    def _take(self, queues: Sequence[str], limit: int) -> list[Row]:
        return in_turn(share_out(queues, limit, self._hall.take).values())

    # --- settling ---

    def settle(
        self,
        holder: Holder | None,
        settlements: Sequence[Settlement],
        encode: Callable[[Message], Parcel],
        record: Record | None,
        *,
        shared: bool,
    ) -> list[Delivery] | None:
        failpoint("settle.before")
        with self._enter():
            held, stale = self._split(holder, settlements)
            parcels = [encode(message) for settlement in held for message in settlement.follow_ups]
            changes = [change for settlement in held for change in settlement.changes]
            if record is not None and changes:
                recorded = record(changes, None)
                if recorded is None:
                    return None
                parcels += map(sealed, recorded.ready)
            failpoint("settle.inside")
            self._insert(parcels)
            now = self.now()
            for settlement in held:
                if settlement.delivery is not None:
                    self._act(settlement, settlement.delivery, now)
            self._hall.ring()
        failpoint("settle.after")
        return stale

    def _act(self, settlement: Settlement, delivery: Delivery, now: float) -> None:
        row = self._hall.rows[delivery.tag]
        self._hall.workers[row.owner].held.pop(row.tag)
        if settlement.act is Act.ACK:
            del self._hall.rows[row.tag]
            return
        row.crashes += settlement.act is Act.CRASH
        self._hall.give_back(row, now + settlement.delay if settlement.delay > 0 else None)

    def _split(
        self, holder: Holder | None, settlements: Sequence[Settlement]
    ) -> tuple[list[Settlement], list[Delivery]]:
        worker = self._hall.workers.get(holder.id) if holder else None
        fences = {tag: row.fence for tag, row in worker.held.items()} if worker else {}
        held: list[Settlement] = []
        stale: list[Delivery] = []
        for each in settlements:
            if each.delivery is None or fences.pop(each.delivery.tag, None) == each.delivery.fence:
                held.append(each)
            else:
                stale.append(each.delivery)
        return held, stale

    # --- views ---

    def sizes(self) -> list[QueueSize]:
        with self._enter():
            names = sorted({*self._hall.queues, *(row.queue for row in self._hall.rows.values())})
            return [self._size(name, [row for row in self._hall.rows.values() if row.queue == name]) for name in names]

    def _size(self, name: str, rows: Sequence[Row]) -> QueueSize:
        ready = [max(row.sent_at, row.due_at or 0.0) for row in rows if row.owner == READY]
        delayed = sum(row.owner == DELAYED for row in rows)
        return QueueSize(name, len(ready), delayed, len(rows) - len(ready) - delayed, min(ready, default=None))

    def peek(self, queue: str, limit: int) -> list[Claimed]:
        with self._enter():
            waiting = [row for row in self._hall.rows.values() if row.queue == queue and row.owner <= READY]
            waiting.sort(key=lambda row: (row.owner != READY, row.place if row.owner == READY else (row.due_at, 0)))
            return [_claimed(row, 0) for row in waiting[:limit]]

    def withdraw(self, claimed: Claimed) -> bool:
        with self._enter():
            row = self._hall.rows.get(claimed.tag)
            if row is None or row.owner not in (READY, DELAYED):
                return False
            del self._hall.rows[claimed.tag]  # the heaps pass over what is gone
            return True

    def workers(self) -> list[WorkerEntry]:
        with self._enter():
            return [
                WorkerEntry(
                    each.name,
                    each.incarnation,
                    os.getpid(),
                    each.queues,
                    each.started_at,
                    each.lease_until,
                    len(each.held),
                )
                for each in self._hall.workers.values()
            ]

    def ping(self) -> None:
        with self._enter():
            return

    def watch(self) -> Bell:
        with self._enter():
            return Bell(self._hall)

    def close(self) -> None:
        return

    # --- topology ---

    def examine(self) -> list[Remark]:
        return [Remark(Weight.RISK, "durability", "everything is lost when the process ends")]

    def purge(self, queue: str) -> int:
        with self._enter():
            return self._hall.purge(queue)

    def declare_queue(self, queue: str, *, expires: float | None, passive: bool) -> QueueCount:
        with self._enter():
            if not passive:
                self._hall.queues[queue] = (expires, self.now())
            elif queue not in self._hall.queues:
                raise BrokerError(f"there is no queue {queue!r}")
            return QueueCount(queue, *self._hall.count(queue))

    def delete_queue(self, queue: str, *, if_unused: bool, if_empty: bool) -> int:
        with self._enter():
            return self._hall.delete_queue(queue, if_unused=if_unused, if_empty=if_empty)

    def declare_exchange(self, exchange: str, type: str, *, passive: bool) -> None:
        with self._enter():
            self._hall.declare_exchange(exchange, type, passive=passive)

    def delete_exchange(self, exchange: str, *, if_unused: bool) -> None:
        with self._enter():
            if not (if_unused and self._hall.bindings.get(exchange)):
                self._hall.exchanges.pop(exchange, None)
                self._hall.bindings.pop(exchange, None)

    def bind(self, queue: str, exchange: str, key: str) -> None:
        with self._enter():
            self._hall.bindings.setdefault(exchange, {})[queue, key] = None

    def unbind(self, queue: str, exchange: str, key: str) -> None:
        with self._enter():
            self._hall.bindings.get(exchange, {}).pop((queue, key), None)


def _claimed(row: Row, fence: int) -> Claimed:
    parcel = row.parcel
    return Claimed(
        9 - parcel.priority, row.tag, row.queue, parcel.body, parcel.properties, fence, row.crashes, row.losses
    )


class MemoryTransport(StorageTransport):
    """kombu's name for it."""

    open = MemoryStorage


_halls: dict[str, Hall] = {}
_opening = threading.Lock()
