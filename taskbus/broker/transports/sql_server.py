"""The SQL transport on a server: PostgreSQL, or MySQL and MariaDB. The rows mean what they mean in ``sql.py``.

Workers on many hosts claim at once and never wait for each other. Every instant that is compared is the server's own.
A step whose answer got lost is found out: what a claim took and nobody saw is given back before the next one, and what
a settlement took off is not reported as stale when it is settled again.
"""

import json
import os
import uuid
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from taskbus.broker.delivery import Act, Delivery, Record, Settlement
from taskbus.broker.queues import QueueSize, WorkerEntry
from taskbus.broker.transports import sql_topology
from taskbus.broker.transports.features import Features
from taskbus.broker.transports.port import Claimed, Claims, Holder, Opening, Parcel, QueueCount
from taskbus.broker.transports.sql_doubts import Doubts
from taskbus.broker.transports.sql_parts import Refused, lease_lost, note, sizes_of, workers_of
from taskbus.broker.transports.sql_server_session import Doubt, ServerSession
from taskbus.broker.transports.sql_steps import Key, Return, Steps
from taskbus.broker.transports.turns import in_turn
from taskbus.database.cursor import ChainedCursor
from taskbus.database.port import Watch
from taskbus.database.remark import Remark
from taskbus.database.server_look import examine
from taskbus.errors import BrokerError, LeaseLost, PublishFailed
from taskbus.failpoint import failpoint
from taskbus.message import Message

FORGET_LIMIT = 5000
"""Ids forgotten in one statement; a reaper runs a few of them."""
FORGET_STEPS = 20


class ServerStorage:
    """A ``Storage`` on a database server; ``steps`` are those of its kind."""

    def __init__(self, opening: Opening, features: Features, steps: Callable[[ServerSession], Steps]) -> None:
        self.features = features
        self._session = ServerSession(opening)
        self._steps = steps(self._session)
        self._sql = self._session.sql
        self._window = opening.dedup_window
        self._doubts = Doubts()
        self._watches: weakref.WeakSet[Watch] = weakref.WeakSet()
        self._queues: set[str] = set()
        self.now = self._session.clock.now
        self.database = self._session.database.identity

    # --- in ---

    def publish(self, parcels: Sequence[Parcel]) -> None:
        failpoint("publish.before")
        do = self._session.single if self._is_published_at_once(parcels) else self._session.write
        self._session.ring(do(partial(self._publish, parcels), PublishFailed))
        failpoint("publish.after")

    def publish_in(self, connection: Any, parcels: Sequence[Parcel]) -> None:
        """Publish inside the open transaction of a DB-API connection or cursor of the caller's, to the same database.

        Nothing is committed, and nothing is done again: the driver's errors pass through as they are. Raises
        ``PublishFailed`` for an exchange that is not there.
        """
        cursor = ChainedCursor(connection.cursor() if hasattr(connection, "cursor") else connection)
        self._session.set_now(cursor)
        self._session.database.notify(cursor, self._insert(cursor, parcels, self._window))

    def _is_published_at_once(self, parcels: Sequence[Parcel]) -> bool:
        if any(parcel.exchange for parcel in parcels):
            return False
        return self._steps.is_published_at_once(parcels, self._window)

    def _publish(self, parcels: Sequence[Parcel], cursor: Any) -> set[str]:
        waited_for = self._insert(cursor, parcels, self._window)
        failpoint("publish.inside")
        return waited_for

    def _insert(self, cursor: Any, parcels: Sequence[Parcel], window: float) -> set[str]:
        """Returns the queues to ring once this is committed."""
        if window and len(parcels) > 1:
            parcels = _once_each(parcels)
        parcels = sql_topology.routed(cursor, self._sql, parcels)
        return self._steps.publish(cursor, parcels, window) if parcels else set()

    # --- leases ---

    def join(self, name: str, queues: Sequence[str], lease: float) -> Holder:
        incarnation = uuid.uuid4().hex
        row = (incarnation, name, os.getpid(), json.dumps(list(queues)), lease)
        self._listen(queues)
        try:
            number = self._session.single(lambda cursor: self._steps.join(cursor, row))
        except Doubt:  # it may be there; by its incarnation it is found, or made once
            number = self._session.single(lambda cursor: self._steps.join(cursor, row))
        return Holder(number, incarnation, lease)

    def _listen(self, queues: Sequence[str]) -> None:
        for watch in self._watches:
            self._session.failing(partial(watch.listen, queues))
        self._queues.update(queues)

    def renew(self, holder: Holder) -> None:
        failpoint("renew.before")
        largest = self._session.single(lambda cursor: self._steps.renew(cursor, holder))
        if largest is None:
            self._doubts.forget(holder.id)
            raise lease_lost(holder)
        self._doubts.compare(holder.id, largest)

    def reap(self) -> int:
        has_expired, has_unused, has_old = self._session.read("to_reap", (self._window,))[0]
        reaped = self._session.write(self._reap) if has_expired else 0
        for (queue,) in self._session.read("unused_queues") if has_unused else ():
            self.delete_queue(queue, if_unused=True, if_empty=False)
        if has_old and self._window:
            self._forget_sent()
        return reaped

    def _reap(self, cursor: Any) -> int:
        dead = [id for (id,) in cursor.execute(self._sql["lock_expired"]).fetchall()]
        reaped = self._steps.give_back_all(cursor, dead, are_lost=True) if dead else 0
        failpoint("reap.inside")
        return reaped

    def _forget_sent(self) -> None:
        text, values = self._sql["forget_sent"], (self._window, FORGET_LIMIT)
        for _ in range(FORGET_STEPS):
            if self._session.single(lambda cursor: cursor.execute(text, values).rowcount) < FORGET_LIMIT:
                return

    def attend(self, holder: Holder, queues: Sequence[str]) -> None:
        self._listen(queues)
        self._session.single(lambda cursor: self._steps.attend(cursor, holder, json.dumps(list(queues))))

    def leave(self, holder: Holder) -> None:
        failpoint("release.before")
        self._session.write(lambda cursor: self._steps.give_back_all(cursor, [holder.id], are_lost=False))
        self._doubts.forget(holder.id)

    # --- out ---

    def claim(self, holder: Holder, queues: Sequence[str], limit: int) -> Claims:
        if self._doubts.has_unseen(holder.id):
            fence = self._doubts.seen(holder.id)
            self._session.single(lambda cursor: self._steps.give_back_unseen(cursor, holder, fence))
            self._doubts.saw(holder.id, fence)
        try:
            taken, next_due_at = self._steps.claim(self._session, holder, queues, max(0, limit))
        except LeaseLost:
            self._doubts.forget(holder.id)
            raise
        except BrokerError:
            self._doubts.lost_a_claim(holder.id)
            raise
        failpoint("fetch.after")
        if not taken:
            return Claims([], next_due_at)
        claimed = in_turn(taken.values())
        self._doubts.saw(holder.id, max(each.fence for each in claimed))
        for watch in self._watches:
            watch.hurry()
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
        settlements, stale = _first_of_each(settlements)
        asked = settlements
        ready: list[Parcel] = []
        try:
            if record is not None and not shared:
                settlements, more = self._split(holder, settlements)
                stale += more
                ready = note(record, settlements, None)
                record = None
            if settlements:
                stale += self._settle(holder, settlements, encode, record, ready)
        except Refused:
            return None
        self._doubts.settled(holder.id if holder else 0, asked)
        failpoint("settle.after")
        return stale

    def _settle(
        self,
        holder: Holder | None,
        settlements: Sequence[Settlement],
        encode: Callable[[Message], Parcel],
        record: Record | None,
        ready: Sequence[Parcel],
    ) -> list[Delivery]:
        """All of it in one transaction, publishing what is ``ready`` too.

        Returns what is not held any more, for which nothing is done.
        """
        keys, returns = _keys(settlements)
        owner = holder.id if holder else 0
        uncertain: Sequence[Settlement] = settlements
        waited_for: set[str] = set()

        def work(cursor: Any) -> list[Delivery]:
            nonlocal uncertain, waited_for
            held = self._steps.take_off(cursor, owner, keys) if keys else set()
            if returns:
                held |= self._steps.give_back(cursor, owner, returns)
            kept, stale = settlements, []
            if len(held) < len(keys) + len(returns):
                kept, missing = _part(settlements, held)
                stale = self._never_settled(cursor, holder, missing)
            parcels = [*ready, *(encode(message) for each in kept for message in each.follow_ups)]
            if record is not None:
                parcels += note(record, kept, cursor)
            if parcels:
                waited_for = self._insert(cursor, parcels, 0.0)
            failpoint("settle.inside")
            uncertain = kept
            return stale

        is_plain = record is None and not ready and not any(each.follow_ups for each in settlements)
        at_once = is_plain and self._steps.is_settled_at_once and not (keys and returns)
        try:
            stale = (self._session.single if at_once else self._session.write)(work)
        except Doubt:
            self._doubts.lost_a_settlement(owner, uncertain)
            raise
        self._session.ring(waited_for)
        return stale

    def _never_settled(self, cursor: Any, holder: Holder | None, missing: Sequence[Settlement]) -> list[Delivery]:
        """The deliveries of the missing that no earlier call, whose answer got lost, can have settled."""
        stale = [each.delivery for each in missing if each.delivery]
        if holder is None or not self._doubts.may_have_settled(holder.id, missing):
            return stale
        if cursor.execute(self._sql["is_there"], (holder.id,)).fetchone() is None:
            return stale  # it was reaped: what it held went to others, whoever settled it
        found = self._steps.existing(cursor, [each.tag for each in stale])
        return [
            each.delivery
            for each in missing
            if each.delivery
            and not (
                self._doubts.may_have_settled(holder.id, [each])
                and (each.act is not Act.ACK or each.delivery.tag not in found)
            )
        ]

    def _split(
        self, holder: Holder | None, settlements: Sequence[Settlement]
    ) -> tuple[Sequence[Settlement], list[Delivery]]:
        """Those still held, and the deliveries of the others but for those settled by a call whose answer got lost."""
        deliveries = [each.delivery for each in settlements if each.delivery]
        if not deliveries or holder is None:
            return settlements, []
        fences = self._steps.held(self._session, holder.id, [each.tag for each in deliveries])
        held = {each.tag for each in deliveries if fences.get(each.tag) == each.fence}
        kept, missing = _part(settlements, held)
        if not missing:
            return kept, []
        return kept, self._session.write(lambda cursor: self._never_settled(cursor, holder, missing))

    # --- views ---

    def sizes(self) -> list[QueueSize]:
        return sizes_of(self._session.read("sizes"), lambda queue: self._session.read("oldest", (queue,))[0][0])

    def peek(self, queue: str, limit: int) -> list[Claimed]:
        rows = self._session.read("peek_ready", (queue, limit))
        rows += self._session.read("peek_delayed", (queue, limit - len(rows)))
        return [Claimed(*row) for row in rows]

    def withdraw(self, claimed: Claimed) -> bool:
        given = claimed.tag, claimed.queue
        return bool(self._session.write(lambda cursor: cursor.execute(self._sql["withdraw"], given).rowcount))

    def workers(self) -> list[WorkerEntry]:
        return workers_of(self._session.read("workers"))

    def ping(self) -> None:
        self._session.failing(self._session.database.server_now)

    def examine(self) -> list[Remark]:
        return self._session.failing(lambda: examine(self._session.database))

    def watch(self) -> Watch:
        watch = self._session.database.watch()
        if self._queues:
            self._session.failing(partial(watch.listen, self._queues))
        self._watches.add(watch)
        return watch

    def close(self) -> None:
        self._session.database.leave()

    # --- topology ---

    def purge(self, queue: str) -> int:
        return self._session.write(lambda cursor: sql_topology.purge(cursor, self._sql, queue))

    def declare_queue(self, queue: str, *, expires: float | None, passive: bool) -> QueueCount:
        return self._session.write(
            lambda cursor: sql_topology.declare_queue(cursor, self._sql, queue, expires, passive=passive)
        )

    def delete_queue(self, queue: str, *, if_unused: bool, if_empty: bool) -> int:
        return self._session.write(
            lambda cursor: sql_topology.delete_queue(cursor, self._sql, queue, if_unused=if_unused, if_empty=if_empty)
        )

    def declare_exchange(self, exchange: str, type: str, *, passive: bool) -> None:
        self._session.write(
            lambda cursor: sql_topology.declare_exchange(cursor, self._sql, exchange, type, passive=passive)
        )

    def delete_exchange(self, exchange: str, *, if_unused: bool) -> None:
        self._session.write(
            lambda cursor: sql_topology.delete_exchange(cursor, self._sql, exchange, if_unused=if_unused)
        )

    def bind(self, queue: str, exchange: str, key: str) -> None:
        self._session.write(lambda cursor: cursor.execute(self._sql["bind"], (exchange, queue, key)))

    def unbind(self, queue: str, exchange: str, key: str) -> None:
        self._session.write(lambda cursor: cursor.execute(self._sql["unbind"], (exchange, queue, key)))


def _once_each(parcels: Sequence[Parcel]) -> Sequence[Parcel]:
    """The parcels without those whose id has come before."""
    first: dict[str, Parcel] = {}
    for parcel in parcels:
        if parcel.id:
            first.setdefault(parcel.id, parcel)
    if len(first) == sum(bool(parcel.id) for parcel in parcels):
        return parcels
    return [parcel for parcel in parcels if not parcel.id or first[parcel.id] is parcel]


def _first_of_each(settlements: Sequence[Settlement]) -> tuple[Sequence[Settlement], list[Delivery]]:
    """Of two settlements of one delivery the second is stale."""
    tags = {each.delivery.tag for each in settlements if each.delivery}
    if len(tags) == sum(each.delivery is not None for each in settlements):
        return settlements, []
    kept, stale = [], []
    for each in settlements:
        if each.delivery is None or each.delivery.tag in tags:
            kept.append(each)
            tags.discard(each.delivery.tag if each.delivery else -1)
        else:
            stale.append(each.delivery)
    return kept, stale


def _keys(settlements: Sequence[Settlement]) -> tuple[list[Key], list[Return]]:
    """What is to be taken off, and what is to be given back."""
    keys, returns = [], []
    for act, delivery, delay in ((each.act, each.delivery, each.delay) for each in settlements):
        if delivery is None:
            continue
        if act is Act.ACK:
            keys.append(Key(delivery.tag, delivery.fence))
        else:
            returns.append(Return(delivery.tag, delivery.fence, delay, act is Act.CRASH))
    return keys, returns


def _part(settlements: Sequence[Settlement], held: set[int]) -> tuple[list[Settlement], list[Settlement]]:
    """The settlements of what is held or of nothing, and the others."""
    kept: list[Settlement] = []
    missing: list[Settlement] = []
    for each in settlements:
        (kept if each.delivery is None or each.delivery.tag in held else missing).append(each)
    return kept, missing
