"""Results, dead letters and flows in Redis or Valkey. Where the broker is on the same server, all is one step with it.

A set of changes is one script call, and so is all there is to a crash between them; on a Cluster see
``redis_cluster.py``. Redis itself deletes results whose time is over; a clock that is passed in is obeyed all the same,
by the instant kept with each result. Nothing is used that Redis 6.2 and every Valkey do not have.
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from taskbus.clock import Clock, wall_clock
from taskbus.database.redis import Link, RedisDatabase, RedisError, RedisTransaction, ReplyLost, load
from taskbus.database.redis_cluster import ClusterLink
from taskbus.database.redis_link import Call
from taskbus.database.remark import Remark
from taskbus.errors import StoreError
from taskbus.message import Recorded, Sealed
from taskbus.store import redis_cluster, redis_flows, redis_look
from taskbus.store import redis_records as records
from taskbus.store.base import AnyChange, DeadLetter, FailedAttempt, Filter, Group, StoredResult
from taskbus.store.flows import Begun, FlowView, NodeView, Start
from taskbus.store.redis_bell import Bell
from taskbus.store.redis_changes import Packed, is_before, is_of_flow, pack_changes, to_flow_payload, to_payload
from taskbus.store.redis_flows import Flows
from taskbus.store.redis_ground import store_errors
from taskbus.store.redis_letters import Command, Letters
from taskbus.store.redis_records import to_bytes

AT_ONCE = 1000
"""Keys asked for in one command."""
SWEEP_LIMIT = 1000

APPLY = load(__package__, "redis_changes.lua", "redis_apply.lua")
LETTERS = load(__package__, "redis_letters.lua")
FRAGMENT = load(__package__, "redis_changes.lua", "redis_record.lua").text
NOTHING_READY = Recorded()


class RedisStore:
    """The store in ``database``. Nothing is connected to before it is used."""

    def __init__(self, database: RedisDatabase, clock: Clock = wall_clock) -> None:
        self._database = database
        self._clock = clock
        self._prefix = f"{database.prefix}:"
        self._bell = Bell(database, f"{self._prefix}finished".encode())
        self._letters = Letters(self, self._prefix)
        self._flows = Flows(self, self._prefix, clock, is_passed=clock is not wall_clock, is_apart=database.is_cluster)
        self.database = database.identity

    # --- writing -------------------------------------------------------------------------------------------------

    def apply(self, changes: Sequence[AnyChange], transaction: RedisTransaction | None = None) -> Recorded | None:
        """See ``Store.apply``. Applying a set again is harmless, but for ``Exhume``, which then finds nothing.

        What is larger than ``CHUNK_BYTES`` or ``CHUNK_SIZE`` goes in several steps, in its order; the nodes of a large
        flow are put there before it is begun, which shows to nobody. In a transaction the answer is always that nothing
        is ready: whether it is refused is found out, and told, by the broker's step, which publishes what is ready too.
        """
        now = self._now()
        try:
            chunks = list(pack_changes(changes, now))
        except (TypeError, ValueError, OverflowError, struct.error) as error:
            raise StoreError(f"a change cannot be written: {error}") from error
        if transaction is not None:
            self._join(chunks, transaction, now)
            return NOTHING_READY
        ready: list[Sealed] = []
        for chunk in chunks:
            recorded = self._apply(chunk, now)
            if recorded is None:
                return None
            ready += recorded.ready
        return Recorded(ready) if ready else NOTHING_READY

    def _join(self, chunks: Sequence[Sequence[Packed]], transaction: RedisTransaction, now: float | None) -> None:
        """Make all of it part of the broker's step, but for what may be written before."""
        together: list[Packed] = []
        for chunk in chunks:
            if is_before(chunk):
                self._apply(chunk, now)
            else:
                together += chunk
        if any(map(is_of_flow, together)):
            payload = to_flow_payload(together, self._prefix, now, self._clock())
            transaction.add(redis_flows.FRAGMENT, payload)
        elif together:
            transaction.add(FRAGMENT, to_payload(together, self._prefix, now))

    def _apply(self, chunk: Sequence[Packed], now: float | None) -> Recorded | None:
        link, prefix = self._database.link(), self._prefix
        is_repeatable = all(each[0] != "x" for each in chunk)
        key = f"{prefix}none"
        try:
            if self._database.is_cluster:
                return redis_cluster.apply(link, APPLY, chunk, prefix, now, self._clock())
            if any(map(is_of_flow, chunk)):
                payload = to_flow_payload(chunk, prefix, now, self._clock())
                answer = link.script(redis_flows.APPLY, (key,), ("all", payload), repeatable=is_repeatable)
                return redis_flows.to_recorded(answer)
            (is_done,) = link.script(APPLY, (key,), ("all", to_payload(chunk, prefix, now)), repeatable=is_repeatable)
        except ReplyLost as error:
            raise StoreError(f"{error}; what was to be recorded may be, or not: record it again") from error
        except RedisError as error:
            raise StoreError(str(error)) from error
        return NOTHING_READY if is_done else None

    def forget(self, task_ids: Sequence[str]) -> None:
        for start in range(0, len(task_ids), AT_ONCE):
            self.pipeline([("DEL", key) for key in self._keys("result", task_ids[start : start + AT_ONCE])])

    def sweep(self, now: float) -> int:
        """Redis deletes what is over by itself: there is only something to do where a clock was passed in."""
        deleted = self._flows.sweep(now, SWEEP_LIMIT)
        if self._now() is None:
            return deleted
        with store_errors():
            for link in self._links():
                deleted += _sweep(link, f"{self._prefix}result:", now, SWEEP_LIMIT - deleted)
        return deleted

    # --- reading -------------------------------------------------------------------------------------------------

    def results(self, task_ids: Sequence[str]) -> Mapping[str, StoredResult]:
        now = self._now()
        found: dict[str, StoredResult] = {}
        for start in range(0, len(task_ids), AT_ONCE):
            asked = task_ids[start : start + AT_ONCE]
            for task_id, data in zip(asked, self._get(self._keys("result", asked)), strict=True):
                if data is not None and (now is None or records.expires_at(data) > now):
                    found[task_id] = records.to_result(task_id, data)
        return found

    def attempts(self, task_ids: Sequence[str]) -> Mapping[str, Sequence[FailedAttempt]]:
        found: dict[str, Sequence[FailedAttempt]] = {}
        for start in range(0, len(task_ids), AT_ONCE):
            asked = task_ids[start : start + AT_ONCE]
            answers = self.pipeline([("HGETALL", key) for key in self._keys("attempts", asked)])
            for task_id, answer in zip(asked, answers, strict=True):
                if answer:
                    found[task_id] = records.to_attempts(task_id, answer)
        return found

    def dead_letters(
        self, where: Filter, *, limit: int, after: tuple[float, str] | None = None, is_newest_first: bool = False
    ) -> Sequence[DeadLetter]:
        return self._letters.list(where, limit, after, is_newest_first)

    def count_dead_letters(self, where: Filter) -> int:
        return self._letters.count(where)

    def dead_letter_groups(self, where: Filter) -> Sequence[Group]:
        return self._letters.groups(where)

    # --- flows ---------------------------------------------------------------------------------------------------

    def begin(self, starts: Sequence[Start]) -> Sequence[Begun]:
        return self._flows.begin(starts)

    def flow(self, flow_id: str) -> FlowView | None:
        return self._flows.flow(flow_id)

    def flows(self, *, limit: int, before: tuple[float, str] | None = None) -> Sequence[FlowView]:
        return self._flows.flows(limit, before)

    def nodes(self, flow_id: str, *, limit: int, after: str = "") -> Sequence[NodeView]:
        return self._flows.nodes(flow_id, limit, after)

    def _get(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        if self._database.is_cluster:
            return self.pipeline([("GET", key) for key in keys])
        found: Sequence[bytes | None] = self.call("MGET", *keys)
        return found

    # --- the database --------------------------------------------------------------------------------------------

    def subscribe(self, notify: Callable[[], None]) -> Callable[[], None]:
        return self._bell.subscribe(notify)

    def examine(self) -> Sequence[Remark]:
        with store_errors():
            return redis_look.examine(self._links())

    def close(self) -> None:
        self._bell.close()
        self._database.close()

    # --- what is needed of Redis by the parts: commands that may be repeated ---------------------------------------

    def call(self, *command: Any) -> Any:
        with store_errors():
            return self._database.link().call(*command, repeatable=True)

    def pipeline(self, commands: Sequence[Command]) -> Sequence[Any]:
        with store_errors():
            return self._database.link().pipeline(commands, repeatable=True)

    def scripts(self, calls: Sequence[Call]) -> Sequence[Any]:
        with store_errors():
            return self._database.link().scripts(calls, repeatable=True)

    def page(
        self, order: str, heads: str, start: bytes, end: bytes, size: int, *way: str
    ) -> tuple[list[bytes], list[bytes]]:
        with store_errors():
            members, found = self._database.link().script(
                LETTERS, (order, heads), (start, end, size, *way), repeatable=True
            )
            return members, found

    def drop_entries(self, entries: Sequence[tuple[bytes, bytes]]) -> None:
        if not self._database.is_cluster:
            return  # what is gone went in one step with its entry
        with store_errors():
            changes = [("p", task_id, place) for task_id, place in entries]
            redis_cluster.write_index(self._database.link(), APPLY, changes, self._prefix)

    def _links(self) -> Sequence[Link]:
        """This thread's way to the server, or to each server of a cluster."""
        link = self._database.link()
        return [each for _, each in link.nodes()] if isinstance(link, ClusterLink) else [link]

    def _keys(self, kind: str, task_ids: Sequence[str]) -> list[bytes]:
        before = f"{self._prefix}{kind}:{{".encode()
        return [before + to_bytes(task_id) + b"}" for task_id in task_ids]

    def _now(self) -> float | None:
        """The instant by a clock that was passed in; None: Redis judges what is over."""
        return None if self._clock is wall_clock else self._clock()


def open_url(url: str, clock: Clock) -> RedisStore:
    """The store at ``url``."""
    return RedisStore(RedisDatabase.open(url), clock)


def _sweep(link: Link, prefix: str, now: float, limit: int) -> int:
    """Delete up to ``limit`` results of one server that are over by the instant kept with them; how many."""
    pattern = "".join(f"\\{letter}" if letter in "*?[]^\\" else letter for letter in prefix)
    cursor, deleted = b"0", 0
    while deleted < limit:
        cursor, keys = link.call("SCAN", cursor, "MATCH", f"{pattern}*", "COUNT", AT_ONCE, repeatable=True)
        heads = link.pipeline([("GETRANGE", key, 0, records.RESULT_HEAD.size - 1) for key in keys], repeatable=True)
        over = [key for key, head in zip(keys, heads, strict=True) if head and records.expires_at(head) <= now]
        deleted += sum(map(int, link.pipeline([("DEL", key) for key in over[: limit - deleted]], repeatable=True)))
        if cursor == b"0":
            break
    return deleted
