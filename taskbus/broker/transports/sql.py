"""The SQL transport: messages are rows, a delivery is a row with an owner, an owner is a worker with a lease.

Every step is one transaction, so a process that dies leaves either all of it or nothing. No step holds a lock longer
than it runs, and no table remembers a lock: whoever finds an expired lease may reap it.
"""

import json
import os
import uuid
from collections.abc import Callable, Sequence
from sqlite3 import Cursor
from typing import Any

from taskbus.broker.delivery import Act, Delivery, Record, Settlement
from taskbus.broker.queues import QueueSize, WorkerEntry
from taskbus.broker.transports import sql_topology
from taskbus.broker.transports.features import Features
from taskbus.broker.transports.kombu_transport import StorageTransport
from taskbus.broker.transports.port import Claimed, Claims, Holder, Opening, Parcel, QueueCount
from taskbus.broker.transports.sql_parts import (
    DELAYED,
    PROMOTE_LIMIT,
    READY,
    Refused,
    lease_lost,
    note,
    sizes_of,
    workers_of,
)
from taskbus.broker.transports.sql_session import SQL, Session
from taskbus.broker.transports.turns import in_turn, share_out
from taskbus.database.port import Watch
from taskbus.database.remark import Remark
from taskbus.errors import PublishFailed
from taskbus.failpoint import failpoint
from taskbus.message import Message

FEATURES = Features(
    name="sql",
    durable=True,
    priorities=True,
    delays=True,
    fanout=True,
    atomic_settle=True,
    processes=True,
    notes=(
        "one file on one host: not on a network file system",
        "synchronous=NORMAL: a power cut may undo the last commits, not with synchronous=FULL in the address",
    ),
)


class SqlStorage:
    """A ``Storage`` on a SQL database."""

    features = FEATURES

    def __init__(self, opening: Opening) -> None:
        self._session = Session(opening.url, opening.timeout)
        self.now = opening.clock
        self.database = self._session.database.identity

    # --- in ---

    def publish(self, parcels: Sequence[Parcel]) -> None:
        failpoint("publish.before")
        with self._session.writing(PublishFailed) as cursor:
            self._insert(cursor, parcels)
            failpoint("publish.inside")
        failpoint("publish.after")

    def publish_in(self, cursor: Any, parcels: Sequence[Parcel]) -> None:
        """Publish inside the open transaction of a cursor of the caller's, on the same file; nothing is committed."""
        self._insert(cursor, parcels)

    def _insert(self, cursor: Cursor, parcels: Sequence[Parcel]) -> None:
        now = self.now()
        rows = [
            (key, 9 - priority, due_at, READY if due_at is None or due_at <= now else DELAYED, now, body, properties)
            for key, body, priority, due_at, properties, *_ in sql_topology.routed(cursor, SQL, parcels)
        ]
        if len(rows) == 1:
            cursor.execute(SQL["publish"], rows[0])
        else:
            cursor.executemany(SQL["publish"], rows)

    # --- leases ---

    def join(self, name: str, queues: Sequence[str], lease: float) -> Holder:
        incarnation, now = uuid.uuid4().hex, self.now()
        with self._session.writing() as cursor:
            cursor.execute(SQL["join"], (incarnation, name, os.getpid(), json.dumps(list(queues)), now, now + lease))
            holder = Holder(int(cursor.lastrowid or 0), incarnation, lease)
        return holder

    def renew(self, holder: Holder) -> None:
        failpoint("renew.before")
        with self._session.writing() as cursor:
            if cursor.execute(SQL["renew"], (self.now() + holder.lease, holder.id)).rowcount == 0:
                raise lease_lost(holder)

    def reap(self) -> int:
        now = self.now()
        reaped = 0
        if self._session.read("expired", (now,))[0][0]:
            with self._session.writing() as cursor:
                reaped = cursor.execute(SQL["reap_messages"], (now,)).rowcount
                cursor.execute(SQL["reap_workers"], (now,))
                failpoint("reap.inside")
        for (queue,) in self._session.read("unused_queues", (now,)):
            self.delete_queue(queue, if_unused=True, if_empty=False)
        return reaped

    def attend(self, holder: Holder, queues: Sequence[str]) -> None:
        with self._session.writing() as cursor:
            cursor.execute(SQL["attend"], (json.dumps(list(queues)), holder.id))

    def leave(self, holder: Holder) -> None:
        failpoint("release.before")
        with self._session.writing() as cursor:
            cursor.execute(SQL["leave_messages"], (holder.id,))
            cursor.execute(SQL["leave_worker"], (holder.id,))

    # --- out ---

    def claim(self, holder: Holder, queues: Sequence[str], limit: int) -> Claims:
        names, now = json.dumps(list(queues)), self.now()
        ready, due, next_due_at = _sort_out(self._session.read("probe", (names,)), now)
        if limit < 1 or not (ready or due):
            return Claims([], next_due_at)
        with self._session.writing() as cursor:
            for queue in due:
                cursor.execute(SQL["promote"], (queue, now, PROMOTE_LIMIT))
            if due:
                failpoint("promote.inside")
                ready, _, next_due_at = _sort_out(cursor.execute(SQL["probe"], (names,)).fetchall(), now)
            cursor.execute(SQL["next_fence"])
            fence = cursor.execute(SQL["fence"], (holder.id,)).fetchone()
            if fence is None:  # what a forgotten worker took, nobody would ever reap
                raise lease_lost(holder)
            claimed = _claim_in_turn(cursor, (holder.id, fence[0]), ready, limit)
            failpoint("fetch.inside")
        failpoint("fetch.after")
        return Claims(claimed, next_due_at)

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
        owner = holder.id if holder else READY
        stale: list[Delivery] = []
        ready: list[Parcel] = []
        try:
            if record is not None and not shared:
                settlements, stale = self._split(owner, settlements)
                ready = note(record, settlements, None)
                record = None
            while settlements:
                try:
                    self._settle(owner, settlements, encode, record, ready)
                    break
                except _Stale:
                    settlements, more = self._split(owner, settlements)
                    stale += more
        except Refused:
            return None
        failpoint("settle.after")
        return stale

    def _settle(
        self,
        owner: int,
        settlements: Sequence[Settlement],
        encode: Callable[[Message], Parcel],
        record: Record | None,
        ready: Sequence[Parcel],
    ) -> None:
        """All of it in one transaction, publishing what is ``ready`` too.

        Raises ``_Stale``, having done nothing, if one of them is not held any more.
        """
        now = self.now()
        count = 0
        acks: list[tuple[Any, ...]] = []
        returns: list[tuple[Any, ...]] = []
        parcels = list(ready)
        for settlement in settlements:
            delivery, delay = settlement.delivery, settlement.delay
            if settlement.follow_ups:
                parcels += map(encode, settlement.follow_ups)
            if delivery is None:
                continue
            count += 1
            key = (delivery.tag, owner, delivery.fence)
            if settlement.act is Act.ACK:
                acks.append(key)
            else:
                place = (DELAYED, now + delay) if delay > 0 else (READY, None)
                returns.append((*place, settlement.act is Act.CRASH, *key))
        with self._session.writing() as cursor:
            for statement, rows in (("ack", acks), ("give_back", returns)):
                if rows:
                    count -= cursor.executemany(SQL[statement], rows).rowcount
            if count:
                raise _Stale
            if record is not None:
                parcels += note(record, settlements, cursor)
            if parcels:
                self._insert(cursor, parcels)
            failpoint("settle.inside")

    def _split(self, owner: int, settlements: Sequence[Settlement]) -> tuple[Sequence[Settlement], list[Delivery]]:
        """Those still held, and the deliveries of the others; of two for the same delivery the second is stale."""
        tags = json.dumps([each.delivery.tag for each in settlements if each.delivery])
        fences = dict(self._session.read("held", (owner, tags)))
        held, stale = [], []
        for each in settlements:
            if each.delivery is None or fences.pop(each.delivery.tag, None) == each.delivery.fence:
                held.append(each)
            else:
                stale.append(each.delivery)
        return held, stale

    # --- views ---

    def sizes(self) -> list[QueueSize]:
        return sizes_of(self._session.read("sizes"), lambda queue: self._session.read("oldest", (queue,))[0][0])

    def peek(self, queue: str, limit: int) -> list[Claimed]:
        rows = self._session.read("peek_ready", (queue, limit))
        rows += self._session.read("peek_delayed", (queue, limit - len(rows)))
        return [Claimed(*row) for row in rows]

    def withdraw(self, claimed: Claimed) -> bool:
        with self._session.writing() as cursor:
            return cursor.execute(SQL["withdraw"], (claimed.tag, claimed.queue)).rowcount > 0

    def workers(self) -> list[WorkerEntry]:
        return workers_of(self._session.read("workers"))

    def ping(self) -> None:
        with self._session.writing():
            return

    def examine(self) -> list[Remark]:
        return []  # doctor looks at the file itself

    def watch(self) -> Watch:
        return self._session.database.watch()

    def close(self) -> None:
        self._session.database.leave()

    # --- topology ---

    def purge(self, queue: str) -> int:
        with self._session.writing() as cursor:
            return sql_topology.purge(cursor, SQL, queue)

    def declare_queue(self, queue: str, *, expires: float | None, passive: bool) -> QueueCount:
        with self._session.writing() as cursor:
            return sql_topology.declare_queue(cursor, SQL, queue, expires, self.now(), passive=passive)

    def delete_queue(self, queue: str, *, if_unused: bool, if_empty: bool) -> int:
        with self._session.writing() as cursor:
            return sql_topology.delete_queue(cursor, SQL, queue, if_unused=if_unused, if_empty=if_empty)

    def declare_exchange(self, exchange: str, type: str, *, passive: bool) -> None:
        with self._session.writing() as cursor:
            sql_topology.declare_exchange(cursor, SQL, exchange, type, passive=passive)

    def delete_exchange(self, exchange: str, *, if_unused: bool) -> None:
        with self._session.writing() as cursor:
            sql_topology.delete_exchange(cursor, SQL, exchange, if_unused=if_unused)

    def bind(self, queue: str, exchange: str, key: str) -> None:
        with self._session.writing() as cursor:
            cursor.execute(SQL["bind"], (exchange, queue, key))

    def unbind(self, queue: str, exchange: str, key: str) -> None:
        with self._session.writing() as cursor:
            cursor.execute(SQL["unbind"], (exchange, queue, key))


class _Stale(Exception):
    """A delivery among those to settle is not held any more."""


def _sort_out(probed: Sequence[Any], now: float) -> tuple[list[str], list[str], float | None]:
    """The queues where something is ready, those where something has become due, and the next instant after now."""
    ready = [queue for queue, is_ready, _ in probed if is_ready]
    due = [queue for queue, _, due_at in probed if due_at is not None and due_at <= now]
    return ready, due, min((due_at for _, _, due_at in probed if due_at is not None), default=None)


def _claim_in_turn(cursor: Cursor, mark: tuple[int, int], queues: Sequence[str], limit: int) -> list[Claimed]:
    def take(queue: str, count: int) -> list[Claimed]:
        return list(map(Claimed._make, sorted(cursor.execute(SQL["claim"], (*mark, queue, count)).fetchall())))

    return in_turn(share_out(queues, limit, take).values())


class SqlTransport(StorageTransport):
    """kombu's name for it."""

    open = SqlStorage
