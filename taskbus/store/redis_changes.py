"""Changes as the payload that ``redis_changes.lua`` writes; pure. The two files know each other's form, nobody else."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgpack

from taskbus.store import redis_records as records
from taskbus.store.base import Bury, Change, Exhume, ForgetAttempts, Purge, SaveAttempt, SaveResult
from taskbus.store.redis_records import Pack, to_bytes

KEPT_FOR = 86_400.0
"""Seconds a result is kept beyond its time to live where a passed clock judges that, which Redis cannot know."""
LONGEST = 100 * 365 * 86_400.0
"""Seconds; a longer time to live is cut to this, which is never."""
CHUNK_SIZE, CHUNK_BYTES = 10_000, 16 << 20
"""One payload holds no more: a longer one would keep Redis from everyone else for tens of milliseconds."""

Packed = tuple[Any, ...]
"""One change as it stands in a payload: its letter, the task's id, what else it takes."""


def pack_changes(changes: Sequence[Change], now: float | None) -> Iterator[list[Packed]]:
    """The changes in their order, in chunks of a bounded size; all but huge ones are a single chunk.

    ``now``: the instant by the clock that was passed in; None where Redis judges what is over.
    """
    pack = records.packing()
    chunk: list[Packed] = []
    size = 0
    for change in changes:
        packed = _PACKERS[type(change)](change, pack, now)
        chunk.append(packed)
        size += len(packed[-1])
        if size >= CHUNK_BYTES or len(chunk) >= CHUNK_SIZE:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def to_payload(chunk: Sequence[Packed], prefix: str, now: float | None) -> bytes:
    """What the script takes. A chunk that finds a letter first asks whether each is there."""
    asks = any(each[0] == "x" for each in chunk)
    # Redis's cmsgpack knows only the old format, where bytes and text are one.
    payload: bytes = msgpack.packb((prefix, 0.0 if now is None else now, asks, chunk), use_bin_type=False)
    return payload


def _save_result(change: SaveResult, pack: Pack, now: float | None) -> Packed:
    result, ttl = change.result, min(change.ttl, LONGEST)
    if now is None:
        kept_for, expires_at = ttl, math.inf
    else:
        kept_for, expires_at = ttl + KEPT_FOR, now + ttl
    return (
        "r",
        to_bytes(result.task_id),
        max(1, int(kept_for * 1000)),
        records.from_result(result, expires_at, pack),
    )


def _save_attempt(change: SaveAttempt, pack: Pack, _: float | None) -> Packed:
    attempt = change.attempt
    return "a", to_bytes(attempt.task_id), str(attempt.attempt), records.from_attempt(attempt, pack)


def _bury(change: Bury, pack: Pack, _: float | None) -> Packed:
    return "b", to_bytes(change.letter.task_id), *records.from_letter(change.letter, pack)


def _named(op: str) -> Callable[[Any, Pack, float | None], Packed]:
    return lambda change, _, __: (op, to_bytes(change.task_id))


_PACKERS: dict[type, Callable[[Any, Pack, float | None], Packed]] = {
    SaveResult: _save_result,
    SaveAttempt: _save_attempt,
    ForgetAttempts: _named("f"),
    Bury: _bury,
    Exhume: _named("x"),
    Purge: _named("p"),
}
