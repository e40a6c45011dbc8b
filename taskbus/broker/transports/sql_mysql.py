"""The SQL transport's steps on MySQL and MariaDB: rows are locked and read first, then changed by their ids."""

import random
from collections.abc import Sequence
from functools import partial
from typing import Any

from taskbus.broker.transports.features import Features
from taskbus.broker.transports.kombu_transport import StorageTransport
from taskbus.broker.transports.port import Claimed, Holder, Parcel
from taskbus.broker.transports.sql_parts import PROMOTE_LIMIT, lease_lost, pieces
from taskbus.broker.transports.sql_server import ServerStorage
from taskbus.broker.transports.sql_server_session import ServerSession
from taskbus.broker.transports.sql_steps import Key, Return
from taskbus.broker.transports.turns import share_out
from taskbus.failpoint import failpoint

MOST_BYTES = 4 << 20
"""Of bodies in one statement: max_allowed_packet is 16 MiB unless set, and escaping may double them."""


class MysqlSteps:
    """See ``sql_steps.Steps``."""

    is_settled_at_once = False

    def __init__(self, session: ServerSession) -> None:
        self.sql = session.sql

    # --- in ---

    def is_published_at_once(self, parcels: Sequence[Parcel], window: float) -> bool:
        return not (window and any(parcel.id for parcel in parcels)) and len(pieces(parcels, MOST_BYTES)) <= 1

    def publish(self, cursor: Any, parcels: Sequence[Parcel], window: float) -> set[str]:
        ids = sorted({parcel.id for parcel in parcels if parcel.id}) if window else []
        if ids:
            token = self._note_sent(cursor, ids, window)
            if len(parcels) == 1:
                cursor.execute(self.sql["publish_fresh"], (*_values(parcels[0]), parcels[0].id, token))
                return set()
            found = cursor.execute(self._with_marks("fresh", ids), (*ids, token)).fetchall()
            fresh = {id for (id,) in found}
            parcels = [parcel for parcel in parcels if not parcel.id or parcel.id in fresh]
        for some in pieces(parcels, MOST_BYTES):
            rows = ", ".join([self.sql["publish_row"]] * len(some))
            values = [value for parcel in some for value in _values(parcel)]
            cursor.execute(self.sql["publish"].replace("{rows}", rows), values)
        return set()

    def _note_sent(self, cursor: Any, ids: Sequence[str], window: float) -> int:
        """Those of these ids that were not accepted within the window are now, and bear the token that is returned."""
        token = random.getrandbits(62)
        rows = ", ".join([self.sql["note_sent_row"]] * len(ids))
        values = [value for id in ids for value in (id, token)]
        cursor.execute(self.sql["note_sent"].replace("{rows}", rows), (*values, window, window))
        return token

    # --- out ---

    def claim(
        self, session: ServerSession, holder: Holder, queues: Sequence[str], limit: int
    ) -> tuple[dict[str, list[Claimed]], float | None]:
        probed = session.single(lambda cursor: self._probe(cursor, queues))
        ready, due, next_due_at = _sort_out(probed)
        if not ready and not due:
            return {}, next_due_at

        def take(cursor: Any) -> tuple[dict[str, list[Claimed]], float | None]:
            if cursor.execute(self.sql["lock_holder"], (holder.id,)).fetchone() is None:
                raise lease_lost(holder)
            now_ready, next_due = (self._promote(cursor, queues, due)) if due else (ready, next_due_at)
            taken = self._pick_in_turn(cursor, now_ready, limit)
            self._mark(cursor, holder, taken)
            failpoint("fetch.inside")
            return taken, next_due

        return session.write(take)

    def _probe(self, cursor: Any, queues: Sequence[str]) -> list[Any]:
        text = " UNION ALL ".join([self.sql["probe"]] * len(queues))
        return list(cursor.execute(text, [name for queue in queues for name in (queue,) * 3]).fetchall())

    def _promote(self, cursor: Any, queues: Sequence[str], due: Sequence[str]) -> tuple[list[str], float | None]:
        for queue in due:
            ids = [id for (id,) in cursor.execute(self.sql["due"], (queue, PROMOTE_LIMIT)).fetchall()]
            if ids:
                cursor.execute(self._with_marks("promote", ids), ids)
        failpoint("promote.inside")
        ready, _, next_due_at = _sort_out(self._probe(cursor, queues))
        return ready, next_due_at

    def _pick_in_turn(self, cursor: Any, queues: Sequence[str], limit: int) -> dict[str, list[Claimed]]:
        locked: dict[str, set[int]] = {queue: set() for queue in queues}

        def take(queue: str, count: int) -> list[Claimed]:
            known = locked[queue]  # what this transaction has locked is found again
            found = cursor.execute(self.sql["pick"], (queue, len(known) + count)).fetchall()
            fresh = [Claimed._make(row) for row in found if row[1] not in known][:count]
            known.update(claimed.tag for claimed in fresh)
            return fresh

        taken = share_out(queues, limit, take)
        return {queue: rows for queue, rows in taken.items() if rows}

    def _mark(self, cursor: Any, holder: Holder, taken: dict[str, list[Claimed]]) -> None:
        """Make them the holder's; last of all, since whoever draws a fence makes others wait for it."""
        ids = [claimed.tag for found in taken.values() for claimed in found]
        if not ids:
            return
        fence = int(cursor.execute(self.sql["next_fence"]).lastrowid)
        cursor.execute(self._with_marks("take", ids), (holder.id, fence, *ids))
        for found in taken.values():
            found[:] = [claimed._replace(fence=fence) for claimed in found]

    # --- settling ---

    def take_off(self, cursor: Any, owner: int, keys: Sequence[Key]) -> set[int]:
        held = self._lock(cursor, owner, keys)
        if held:
            cursor.execute(self._with_marks("ack", held), held)
        return set(held)

    def give_back(self, cursor: Any, owner: int, returns: Sequence[Return]) -> set[int]:
        held = set(self._lock(cursor, owner, [Key(each.tag, each.fence) for each in returns]))
        alike: dict[tuple[float, bool], list[int]] = {}
        for tag, _, delay, is_crash in returns:
            if tag in held:
                alike.setdefault((max(delay, 0.0), is_crash), []).append(tag)
        for (delay, is_crash), tags in alike.items():
            if delay:
                cursor.execute(self._with_marks("put_off", tags), (delay, int(is_crash), *tags))
            else:
                cursor.execute(self._with_marks("give_back", tags), (int(is_crash), *tags))
        return held

    def _lock(self, cursor: Any, owner: int, keys: Sequence[Key]) -> list[int]:
        pairs = ", ".join(["(%s, %s)"] * len(keys))
        text = self._with_marks("lock_held", keys).replace("{pairs}", pairs)
        values = (*(key.tag for key in keys), *(value for key in keys for value in key), owner)
        return [tag for (tag,) in cursor.execute(text, values).fetchall()]

    def existing(self, cursor: Any, tags: Sequence[int]) -> set[int]:
        return {tag for (tag,) in cursor.execute(self._with_marks("existing", tags), list(tags)).fetchall()}

    def held(self, session: ServerSession, owner: int, tags: Sequence[int]) -> dict[int, int]:
        text = self._with_marks("held", tags)
        return dict(session.single(lambda cursor: cursor.execute(text, (owner, *tags)).fetchall()))

    # --- leases ---

    def join(self, cursor: Any, row: Sequence[Any]) -> int:
        return int(cursor.execute(self.sql["join"], row).lastrowid)

    def renew(self, cursor: Any, holder: Holder) -> int | None:
        if cursor.execute(self.sql["renew"], (holder.lease, holder.id)).rowcount == 0:
            return None
        return cursor.execute(self.sql["largest_fence"], (holder.id,)).fetchone()[0] or 0

    def attend(self, cursor: Any, holder: Holder, queues: str) -> None:
        cursor.execute(self.sql["attend"], (queues, holder.id))

    def give_back_unseen(self, cursor: Any, holder: Holder, fence: int) -> None:
        cursor.execute(self.sql["give_back_unseen"], (holder.id, fence))

    def give_back_all(self, cursor: Any, workers: Sequence[int], *, are_lost: bool) -> int:
        statement = self._with_marks("reap_messages" if are_lost else "leave_messages", workers)
        cursor.execute(self._with_marks("forget_workers", workers), list(workers))
        return int(cursor.execute(statement, list(workers)).rowcount)

    def _with_marks(self, statement: str, values: Sequence[Any]) -> str:
        return self.sql[statement].replace("{marks}", ", ".join(["%s"] * len(values)))


def _values(parcel: Parcel) -> tuple[Any, ...]:
    """What stands for a row to publish."""
    key, body, priority, due_at, properties, *_ = parcel
    return key, 9 - priority, due_at, due_at, body, properties


def _sort_out(probed: Sequence[Any]) -> tuple[list[str], list[str], float | None]:
    """The queues where something is ready, those where something has become due, and the next instant of that."""
    ready = [queue for queue, is_ready, _, _ in probed if is_ready]
    due = [queue for queue, _, due_at, now in probed if due_at is not None and due_at <= now]
    return ready, due, min((due_at for _, _, due_at, _ in probed if due_at is not None), default=None)


FEATURES = Features(
    name="mysql",
    durable=True,
    priorities=True,
    delays=True,
    fanout=True,
    atomic_settle=True,
    processes=True,
    dedup=True,
    notes=(
        "MySQL 8.0 or MariaDB 10.6 and later",
        "it cannot wake anyone: an idle worker looks after 20, 80 and 320 ms, then once a second",
        "names of queues and exchanges, routing keys and task ids have 255 characters at most",
    ),
)


class MysqlTransport(StorageTransport):
    """kombu's name for it."""

    open = staticmethod(partial(ServerStorage, features=FEATURES, steps=MysqlSteps))
