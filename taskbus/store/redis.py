"""Results and dead letters in Redis or Valkey. What is written joins the broker's own step where both share a server.

A set of changes is one script call, and so is all there is to a crash between them; on a Cluster see
``redis_cluster.py``. Redis itself deletes results whose time is over; a clock that is passed in is obeyed all the same,
by the instant kept with each result. Nothing is used that Redis 6.2 and every Valkey do not have.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from taskbus.clock import Clock, wall_clock
from taskbus.database.redis import Link, RedisDatabase, RedisError, RedisTransaction, ReplyLost, load
from taskbus.database.redis_cluster import ClusterLink
from taskbus.database.remark import Remark
from taskbus.errors import StoreError
from taskbus.store import redis_cluster, redis_look
from taskbus.store import redis_records as records
from taskbus.store.base import Change, DeadLetter, FailedAttempt, Filter, Group, StoredResult
from taskbus.store.redis_bell import Bell
from taskbus.store.redis_changes import Packed, pack_changes, to_payload
from taskbus.store.redis_letters import Command, Letters
from taskbus.store.redis_records import to_bytes

AT_ONCE = 1000
"""Keys asked for in one command."""
SWEEP_LIMIT = 1000

APPLY = load(__package__, "redis_changes.lua", "redis_apply.lua")
LETTERS = load(__package__, "redis_letters.lua")
FRAGMENT = load(__package__, "redis_changes.lua", "redis_record.lua").text


class RedisStore:
    """The store in ``database``. Nothing is connected to before it is used."""

    def __init__(self, database: RedisDatabase, clock: Clock = wall_clock) -> None:
        self._database = database
        self._clock = clock
        self._prefix = f"{database.prefix}:"
        self._bell = Bell(database, f"{self._prefix}finished".encode())
        self._letters = Letters(self, self._prefix)
        self.database = database.identity

    # --- writing -------------------------------------------------------------------------------------------------

    def apply(self, changes: Sequence[Change], transaction: RedisTransaction | None = None) -> bool:
        """See ``Store.apply``. Applying a set again is harmless, but for ``Exhume``, which then finds nothing.

        What is larger than ``CHUNK_BYTES`` or ``CHUNK_SIZE`` goes in several steps, in its order. In a transaction the
        answer is always True: whether it is refused is found out, and told, by the broker's step.
        """
        now = self._now()
        try:
            chunks = list(pack_changes(changes, now))
        except (TypeError, ValueError, OverflowError) as error:
            raise StoreError(f"a change cannot be written: {error}") from error
        if transaction is not None:
            if chunks:
                transaction.add(FRAGMENT, to_payload([each for chunk in chunks for each in chunk], self._prefix, now))
            return True
        return all(self._apply(chunk, now) for chunk in chunks)

    def _apply(self, chunk: Sequence[Packed], now: float | None) -> bool:
        link, prefix = self._database.link(), self._prefix
        is_repeatable = all(each[0] != "x" for each in chunk)
        try:
            if self._database.is_cluster:
                return redis_cluster.apply(link, APPLY, chunk, prefix, now)
            (is_done,) = link.script(
                APPLY, (f"{prefix}none",), ("all", to_payload(chunk, prefix, now)), repeatable=is_repeatable
            )
        except ReplyLost as error:
            raise StoreError(f"{error}; what was to be recorded may be, or not: record it again") from error
        except RedisError as error:
            raise StoreError(str(error)) from error
        return bool(is_done)

    def forget(self, task_ids: Sequence[str]) -> None:
        for start in range(0, len(task_ids), AT_ONCE):
            self.pipeline([("DEL", key) for key in self._keys("result", task_ids[start : start + AT_ONCE])])

    def sweep(self, now: float) -> int:
        """Redis deletes what is over by itself: there is only something to do where a clock was passed in."""
        if self._now() is None:
            return 0
        deleted = 0
        with _errors():
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
        self, where: Filter, *, limit: int, after: tuple[float, str] | None = None
    ) -> Sequence[DeadLetter]:
        return self._letters.list(where, limit, after)

    def count_dead_letters(self, where: Filter) -> int:
        return self._letters.count(where)

    def dead_letter_groups(self, where: Filter) -> Sequence[Group]:
        return self._letters.groups(where)

    def _get(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        if self._database.is_cluster:
            return self.pipeline([("GET", key) for key in keys])
        found: Sequence[bytes | None] = self.call("MGET", *keys)
        return found

    # --- the database --------------------------------------------------------------------------------------------

    def subscribe(self, notify: Callable[[], None]) -> Callable[[], None]:
        return self._bell.subscribe(notify)

    def examine(self) -> Sequence[Remark]:
        with _errors():
            return redis_look.examine(self._links())

    def close(self) -> None:
        self._bell.close()
        self._database.close()

    # --- what is needed of Redis by the parts: commands that may be repeated ---------------------------------------

    def call(self, *command: Any) -> Any:
        with _errors():
            return self._database.link().call(*command, repeatable=True)

    def pipeline(self, commands: Sequence[Command]) -> Sequence[Any]:
        with _errors():
            return self._database.link().pipeline(commands, repeatable=True)

    def page(self, order: str, heads: str, low: bytes, high: bytes, size: int) -> tuple[list[bytes], list[bytes]]:
        with _errors():
            members, found = self._database.link().script(LETTERS, (order, heads), (low, high, size), repeatable=True)
            return members, found

    def drop_entries(self, entries: Sequence[tuple[bytes, bytes]]) -> None:
        if not self._database.is_cluster:
            return  # what is gone went in one step with its entry
        with _errors():
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


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except RedisError as error:
        raise StoreError(str(error)) from error
