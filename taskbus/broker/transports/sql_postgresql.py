"""The SQL transport's steps on PostgreSQL: each is one statement, and wakes who should know in the same breath."""

import math
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from taskbus.broker.transports.features import Features
from taskbus.broker.transports.kombu_transport import StorageTransport
from taskbus.broker.transports.port import Claimed, Holder, Parcel
from taskbus.broker.transports.sql_floors import MANY, Floors, everywhere
from taskbus.broker.transports.sql_parts import PROMOTE_LIMIT, lease_lost, pieces
from taskbus.broker.transports.sql_server import ServerStorage
from taskbus.broker.transports.sql_server_session import ServerSession
from taskbus.broker.transports.sql_steps import Key, Return
from taskbus.failpoint import failpoint

MOST_BYTES = 64 << 20
"""Of bodies in one statement. PostgreSQL's own limit is 1 GiB."""


class PostgresSteps:
    """See ``sql_steps.Steps``."""

    is_settled_at_once = True

    def __init__(self, session: ServerSession) -> None:
        self.sql = session.sql
        self._floors = Floors()

    # --- in ---

    def is_published_at_once(self, parcels: Sequence[Parcel], window: float) -> bool:
        return len(parcels) == 1 or sum(len(parcel.body) for parcel in parcels) <= MOST_BYTES

    def publish(self, cursor: Any, parcels: Sequence[Parcel], window: float) -> set[str]:
        if len(parcels) == 1:
            return {queue for (queue,) in self._publish_one(cursor, parcels[0], window)}
        waited_for: set[str] = set()
        for some in pieces(parcels, MOST_BYTES):
            keys, bodies, priorities, dues, properties, _, ids = zip(*some, strict=True)
            columns = (list(keys), [9 - each for each in priorities], list(dues), list(bodies), list(properties))
            if window and any(ids):
                cursor.execute(self.sql["publish_once"], (*columns, list(ids), window))
            else:
                cursor.execute(self.sql["publish"], columns)
            waited_for.update(queue for (queue,) in cursor.fetchall())
        return waited_for

    def _publish_one(self, cursor: Any, parcel: Parcel, window: float) -> list[Any]:
        key, body, priority, due_at, properties, _, id = parcel
        row = (key, 9 - priority, due_at, body, properties)
        if window and id:
            cursor.execute(self.sql["publish_one_once"], (id, window, *row))
        else:
            cursor.execute(self.sql["publish_one"], row)
        return list(cursor.fetchall())

    # --- out ---

    def claim(
        self, session: ServerSession, holder: Holder, queues: Sequence[str], limit: int
    ) -> tuple[dict[str, list[Claimed]], float | None]:
        taken: dict[str, list[Claimed]] = {queue: [] for queue in queues}
        hungry, heeds_due, blind_for = list(queues), True, 0.0 if session.clock.is_passed else self._floors.used_for
        while True:
            floors = self._floors.of(hungry) if blind_for else everywhere(hungry)
            started = time.monotonic()
            parameters = (floors, hungry, heeds_due, holder.id, limit, limit, holder.id)
            *rows, (is_due, *_, is_there, ready, _, next_due_at) = session.single(partial(self._claim, parameters))
            if not blind_for:
                got_many = len(rows) >= max(limit, MANY)
                self._floors.looked_everywhere(time.monotonic() - started, got_many=got_many)
            if is_due and heeds_due:
                heeds_due, blind_for = False, 0.0
                session.single(partial(self._promote, queues))
                failpoint("promote.inside")
                continue
            if ready and is_there is None:
                raise lease_lost(holder)
            failpoint("fetch.inside")
            found = [Claimed(*row[:8]) for row in sorted(rows)]
            self._floors.claimed(found)
            for claimed in found:
                taken[claimed.queue].append(claimed)
            limit -= len(found)
            if not found or not limit or len(hungry) == 1:
                if blind_for and limit:  # it came up short, of what it looked at
                    next_due_at = min(session.clock.now() + blind_for, next_due_at or math.inf)
                return {queue: rows for queue, rows in taken.items() if rows}, next_due_at
            share = (limit + len(found)) // ready
            hungry = [queue for queue in hungry if len(taken[queue]) >= share]

    def _claim(self, parameters: Sequence[Any], cursor: Any) -> list[Any]:
        return list(cursor.execute(self.sql["claim"], parameters).fetchall())

    def _promote(self, queues: Sequence[str], cursor: Any) -> None:
        cursor.execute(self.sql["promote"], (list(queues), PROMOTE_LIMIT))

    # --- settling ---

    def take_off(self, cursor: Any, owner: int, keys: Sequence[Key]) -> set[int]:
        tags, fences = map(list, zip(*keys, strict=True))
        return {tag for (tag,) in cursor.execute(self.sql["ack"], (tags, fences, owner)).fetchall()}

    def give_back(self, cursor: Any, owner: int, returns: Sequence[Return]) -> set[int]:
        self._floors.forget()
        tags, fences, delays, crashes = map(list, zip(*returns, strict=True))
        parameters = (tags, fences, list(map(float, delays)), list(map(int, crashes)), owner)
        return {tag for tag, _ in cursor.execute(self.sql["give_back"], parameters).fetchall()}

    def existing(self, cursor: Any, tags: Sequence[int]) -> set[int]:
        return {tag for (tag,) in cursor.execute(self.sql["existing"], (list(tags),)).fetchall()}

    def held(self, session: ServerSession, owner: int, tags: Sequence[int]) -> dict[int, int]:
        return dict(session.read("held", (owner, list(tags))))

    # --- leases ---

    def join(self, cursor: Any, row: Sequence[Any]) -> int:
        return int(cursor.execute(self.sql["join"], row).fetchone()[0])

    def renew(self, cursor: Any, holder: Holder) -> int | None:
        found = cursor.execute(self.sql["renew"], (holder.lease, holder.id)).fetchone()
        return None if found is None else found[0] or 0

    def attend(self, cursor: Any, holder: Holder, queues: str) -> None:
        cursor.execute(self.sql["attend"], (queues, holder.id))

    def give_back_unseen(self, cursor: Any, holder: Holder, fence: int) -> None:
        self._floors.forget()
        cursor.execute(self.sql["give_back_unseen"], (holder.id, fence))

    def give_back_all(self, cursor: Any, workers: Sequence[int], *, are_lost: bool) -> int:
        self._floors.forget()
        statement = self.sql["reap_messages" if are_lost else "leave_messages"]
        cursor.execute(self.sql["forget_workers"], (list(workers),))
        return sum(count for count, _ in cursor.execute(statement, (list(workers),)).fetchall())


FEATURES = Features(
    name="postgresql",
    durable=True,
    priorities=True,
    delays=True,
    fanout=True,
    atomic_settle=True,
    processes=True,
    dedup=True,
    notes=(
        "tables live in the schema public, or ?schema= names another",
        "not through a pooler that shares a connection between transactions: LISTEN needs one of its own",
    ),
)


class PostgresqlTransport(StorageTransport):
    """kombu's name for it."""

    open = staticmethod(partial(ServerStorage, features=FEATURES, steps=PostgresSteps))
