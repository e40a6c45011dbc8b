"""Changes as the payload that ``redis_changes.lua`` writes; pure. The two files know each other's form, nobody else."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from taskbus.store import redis_flow_changes as flow_changes
from taskbus.store import redis_records as records
from taskbus.store.base import AnyChange, Bury, Exhume, ForgetAttempts, ForgetFailure, Purge, SaveAttempt, SaveResult
from taskbus.store.flows import BeginFlow, EndNode
from taskbus.store.redis_records import Pack, pack_raw, to_bytes

MUST_FIND = ("x", "o")
"""The changes that are refused where they do not find their letter."""
KEPT_FOR = 86_400.0
"""Seconds a result is kept beyond its time to live where a passed clock judges that, which Redis cannot know."""
LONGEST = 100 * 365 * 86_400.0
"""Seconds; a longer time to live is cut to this, which is never."""
CHUNK_SIZE, CHUNK_BYTES = 10_000, 16 << 20
"""One payload holds no more: a longer one would keep Redis from everyone else for tens of milliseconds."""

Packed = tuple[Any, ...]
"""One change as it stands in a payload: its letter (large: of a flow), the task's or flow's id, what else it takes."""


def pack_changes(changes: Sequence[AnyChange], now: float | None) -> Iterator[list[Packed]]:
    """The changes in their order, in chunks of a bounded size; all but huge ones are a single chunk.

    ``now``: the instant by the clock that was passed in; None where Redis judges what is over. Nodes of large flows
    come first (``is_before``): they change nothing by themselves, and may be written also if the rest is refused. Ends
    that follow each other are one change for each flow.
    """
    pack = records.packing()
    begun = {}
    for n, change in enumerate(changes):
        if type(change) is BeginFlow:
            *before, begun[n] = flow_changes.pack_begin(change, pack)
            yield from ([each] for each in before)
    chunk: list[Packed] = []
    ends: dict[str, list[Any]] = {}
    count = size = 0
    for n, change in enumerate(changes):
        packer = _PACKERS.get(type(change))
        if packer is not None:
            packed = packer(change, pack, now)
            chunk.append(packed)
            size += len(packed[-1])
        elif type(change) is EndNode:
            end = flow_changes.pack_end(change, pack)
            if change.flow not in ends:
                ends[change.flow] = []
                chunk.append(("E", to_bytes(change.flow), ends[change.flow]))
            ends[change.flow] += end
            size += len(end[-1])
        else:
            packed = begun[n] if n in begun else flow_changes.pack_change(change, pack)
            chunk.append(packed)
            size += flow_changes.size_of(packed)
            ends = {}
        count += 1
        if size >= CHUNK_BYTES or count >= CHUNK_SIZE:
            yield chunk
            chunk, ends, count, size = [], {}, 0, 0
    if chunk:
        yield chunk


def is_before(chunk: Sequence[Packed]) -> bool:
    """Whether these are nodes of a flow that is begun later."""
    letter: str = chunk[0][0]
    return letter == "N"


def is_of_flow(packed: Packed) -> bool:
    letter: str = packed[0]
    return letter.isupper()


def to_payload(chunk: Sequence[Packed], prefix: str, now: float | None) -> bytes:
    """What the script takes. A chunk that finds a letter first asks whether each is there."""
    asks = any(each[0] in MUST_FIND for each in chunk)
    return pack_raw((prefix, 0.0 if now is None else now, asks, chunk))


def to_flow_payload(chunk: Sequence[Packed], prefix: str, now: float | None, at: float) -> bytes:
    """The same, where some of the changes are of flows. ``at``: the present instant by whatever clock."""
    rest = [each for each in chunk if not is_of_flow(each)]
    flows = [each for each in chunk if is_of_flow(each)]
    asks = any(each[0] in MUST_FIND for each in rest)
    return pack_raw((prefix, 0.0 if now is None else now, asks, rest, flows, at))


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


def _of_letter(op: str) -> Callable[[Any, Pack, float | None], Packed]:
    def pack_change(change: ForgetFailure | Purge, _: Pack, __: float | None) -> Packed:
        task_id = to_bytes(change.task_id)
        return (op, task_id) if change.dead_at is None else (op, task_id, records.place_of(change.dead_at))

    return pack_change


_PACKERS: dict[type, Callable[[Any, Pack, float | None], Packed]] = {
    SaveResult: _save_result,
    SaveAttempt: _save_attempt,
    ForgetAttempts: _named("f"),
    Bury: _bury,
    Exhume: _named("x"),
    ForgetFailure: _of_letter("o"),
    Purge: _of_letter("p"),
}
