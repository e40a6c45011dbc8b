"""Records as the bytes that are kept in Redis, and back; pure, and the only place that knows their form.

What scripts look at stands in front of the packed rest: ``F`` or ``o`` (final or open) and the instant a result is
over; the ``place`` of a letter.
"""

from collections.abc import Callable, Mapping
from struct import Struct
from typing import Any

import msgpack

from taskbus.outcome import Failure, Reason, State
from taskbus.store.base import DeadLetter, FailedAttempt, StoredResult

FINAL, OPEN = b"F", b"o"
RESULT_HEAD = Struct(">cd")
PLACE_SIZE = 8
PACK_SIZE = 4096
_NO_FAILURE: tuple[str, ...] = ()
_PLACE = Struct(">d")
_BITS = Struct(">Q")
_SIGN = 1 << 63
_ALL = (1 << 64) - 1

# Plain texts and marks by state: looking them up is cheaper than asking the enumeration.
_STATES: dict[State, tuple[bytes, str]] = {state: (FINAL if state.is_final else OPEN, state.value) for state in State}

Pack = Callable[[object], bytes]
"""Packs a sequence of plain values."""


def packing() -> Pack:
    """A function to pack with, for one thread at a time: it keeps its buffer, which is most of the cost of packing."""
    # Half of a surrogate pair (from a file name that is not UTF-8) is spelled out: such text must still be stored.
    pack: Pack = msgpack.Packer(unicode_errors="backslashreplace", buf_size=PACK_SIZE).pack
    return pack


def pack_raw(values: object) -> bytes:
    """As scripts read it: Redis's cmsgpack knows only the old format, where bytes and text are one."""
    packed: bytes = msgpack.packb(values, use_bin_type=False)
    return packed


def unpack(data: bytes) -> Any:
    return msgpack.unpackb(data, strict_map_key=False)


def to_bytes(task_id: str) -> bytes:
    """A task id as part of a key; the order of bytes is the order of the texts."""
    return task_id.encode("utf-8", "surrogatepass")


def to_id(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


def as_kept(text: str) -> str:
    """``text`` as it is after it was packed and unpacked."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


# --- results ---


def from_result(result: StoredResult, expires_at: float, pack: Pack) -> bytes:
    """``expires_at``: when its time is over by a clock that was passed in; infinity where only Redis judges that."""
    mark, state = _STATES[result.state]
    failure = result.failure
    return RESULT_HEAD.pack(mark, expires_at) + pack(
        (
            result.task,
            state,
            result.value,
            result.content_type,
            result.attempt,
            result.started_at,
            result.finished_at,
            *(_NO_FAILURE if failure is None else (failure.type, failure.message, failure.traceback)),
        )
    )


def to_result(task_id: str, data: bytes) -> StoredResult:
    """What ``from_result`` was given."""
    task, state, value, content_type, attempt, started_at, finished_at, *failure = unpack(data[RESULT_HEAD.size :])
    return StoredResult(
        task_id=task_id,
        task=task,
        state=State(state),
        value=value,
        content_type=content_type,
        failure=Failure(*failure) if failure else None,
        attempt=attempt,
        started_at=started_at,
        finished_at=finished_at,
    )


def expires_at(data: bytes) -> float:
    """When the time of a result is over; ``data`` may be its head alone."""
    instant: float = RESULT_HEAD.unpack_from(data)[1]
    return instant


# --- failed attempts ---


def from_attempt(attempt: FailedAttempt, pack: Pack) -> bytes:
    failure = attempt.failure
    return pack(
        (attempt.started_at, attempt.finished_at, attempt.worker, failure.type, failure.message, failure.traceback)
    )


def to_attempts(task_id: str, fields: Mapping[bytes, bytes]) -> tuple[FailedAttempt, ...]:
    """From what HGETALL answers: records by their number; oldest first."""
    found = []
    for number, data in sorted((int(number), data) for number, data in fields.items()):
        started_at, finished_at, worker, *failure = unpack(data)
        found.append(FailedAttempt(task_id, number, started_at, finished_at, worker, Failure(*failure)))
    return tuple(found)


# --- dead letters ---


def place_of(dead_at: float) -> bytes:
    """Eight bytes that sort as the instants do, negative ones too."""
    bits: int = _BITS.unpack(_PLACE.pack(dead_at))[0]
    return _BITS.pack(_ALL ^ bits if bits & _SIGN else bits | _SIGN)


def instant_of(place: bytes) -> float:
    """The instant ``place_of`` was made of, to the last bit."""
    bits: int = _BITS.unpack(place[:PLACE_SIZE])[0]
    instant: float = _PLACE.unpack(_BITS.pack(bits ^ _SIGN if bits & _SIGN else _ALL ^ bits))[0]
    return instant


def from_letter(letter: DeadLetter, pack: Pack) -> tuple[bytes, bytes, bytes]:
    """The place of a letter, its head (what filters look at) and its body (the rest)."""
    failure = letter.failure
    head = pack(
        (
            letter.task,
            letter.queue,
            letter.reason.value,
            failure.type,
            failure.message,
            letter.content_type,
            letter.priority,
            letter.attempt,
            letter.sent_at,
        )
    )
    return place_of(letter.dead_at), head, pack((failure.traceback, letter.wire))


def to_letter(task_id: str, place: bytes, head: bytes) -> DeadLetter:
    """A letter by its head alone: without traceback, wire and attempts."""
    task, queue, reason, kind, message, content_type, priority, attempt, sent_at = unpack(head)
    return DeadLetter(
        task_id=task_id,
        task=task,
        queue=queue,
        reason=Reason(reason),
        failure=Failure(kind, message),
        wire=b"",
        content_type=content_type,
        priority=priority,
        attempt=attempt,
        sent_at=sent_at,
        dead_at=instant_of(place),
    )
