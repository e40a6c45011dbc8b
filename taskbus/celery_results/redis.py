"""Celery's results on Redis: documents that expire, a PUBLISH for each, and chords that are counted by scripts.

Keys are those of Celery's own backend: ``celery-task-meta-<id>`` for a document, ``celery-taskset-meta-<group>`` with
``.j .t .s .d .c`` for a chord; ``?prefix=`` in the URL is its ``global_keyprefix``. Every method may be called twice.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from taskbus.celery_results.document import Document, read, unreadable, written
from taskbus.celery_results.hostile import decoding
from taskbus.celery_results.port import Ability, Joined, Part
from taskbus.celery_results.redis_ears import Ears
from taskbus.celery_results.signature import Chord
from taskbus.celery_results.unlocking import leaves, shaped
from taskbus.database.redis import RedisDatabase, RedisError, load
from taskbus.database.redis_link import Call
from taskbus.errors import CodecError, DecodeError, StoreError
from taskbus.outcome import State

CLAIM_FOR = 10
"""Seconds for which a complete chord is ours to go on with: less than until a dead worker's tasks go to others."""
DONE_FOR = 300
"""Seconds for which a chord that is done with is remembered."""
AT_ONCE = 500
"""Documents of one round trip."""


class RedisResults:
    """See ``CeleryResults``. ``ttl``: seconds for which chords are kept."""

    ability = Ability(counts=True)

    def __init__(self, database: RedisDatabase, ttl: float) -> None:
        self._database = database
        self._ttl = max(1, math.ceil(ttl))
        prefix = database.place.options.get("prefix", "")
        self._prefix = prefix if not prefix or prefix[-1] in ":_-." else f"{prefix}_"
        self._save, self._part = load(__package__, "redis_save.lua"), load(__package__, "redis_part.lua")
        self._claim, self._finish = load(__package__, "redis_claim.lua"), load(__package__, "redis_finish.lua")
        self._ears = Ears(database, self._task)
        self.shown = database.shown

    # --- documents ---------------------------------------------------------------------------------------------------

    def save(self, documents: Sequence[Document]) -> None:
        calls: list[Call] = [
            (self._save, [self._task(each.task_id)], [written(each.fields), max(1, math.ceil(each.ttl))])
            for each in documents
        ]
        with _as_store_error():
            self._database.link().scripts(calls, repeatable=True)

    def documents(self, task_ids: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        found: dict[str, Mapping[str, Any]] = {}
        with _as_store_error():
            for start in range(0, len(task_ids), AT_ONCE):
                some = task_ids[start : start + AT_ONCE]
                texts = self._database.link().call("MGET", *map(self._task, some), repeatable=True)
                found |= {task_id: _fields(text) for task_id, text in zip(some, texts, strict=True) if text is not None}
        ended = {task_id for task_id, fields in found.items() if fields.get("status") in _FINAL}
        self._ears.want([task_id for task_id in task_ids if task_id not in ended], ended)
        return found

    def forget(self, task_ids: Sequence[str]) -> None:
        with _as_store_error():
            self._database.link().pipeline([("DEL", self._task(task_id)) for task_id in task_ids], repeatable=True)

    def sweep(self, now: float, ttl: float) -> int:
        """Redis forgets by itself."""
        return 0

    def subscribe(self, notify: Callable[[], None]) -> Callable[[], None]:
        return self._ears.subscribe(notify)

    # --- chords ------------------------------------------------------------------------------------------------------

    def begin(self, chords: Sequence[Chord]) -> None:
        """A mark that the chord is done with stays: this is the same chord once more, and its body was sent."""
        commands: list[tuple[Any, ...]] = []
        for chord in chords:
            commands.append(("SET", self._group(chord.group, ".s"), chord.size, "EX", self._ttl))
            if chord.is_nested:
                members = [[chord.group, None], [part.as_tuple() for part in chord.parts]]
                commands.append(("SET", self._group(chord.group), written({"result": members}), "EX", self._ttl))
        with _as_store_error():
            self._database.link().pipeline(commands, repeatable=True)

    def parts(self, parts: Sequence[Part]) -> Sequence[Joined | None]:
        """A chord is claimed in the name of all TaskBus's workers: whoever runs a part again may go on with it."""
        calls = [(self._part, self._of_part(part.group), self._told(part)) for part in parts]
        with _as_store_error():
            link = self._database.link()
            replies = link.scripts(calls, repeatable=True)
            answers: list[Joined | None] = []
            for part, (there, more, size, claimed) in zip(parts, replies, strict=True):
                is_complete = size is not None and there == int(size) + int(more or 0) and there >= 0
                is_ours = claimed or (is_complete and self._is_claimed(part.group))
                answers.append(self._joined_or_failed(part.group) if is_ours else None)
            return answers

    def finish(self, groups: Sequence[str]) -> None:
        names = (".c", ".j", ".t", ".s", ".d")
        calls: list[Call] = [
            (self._finish, [self._group(group, name) for name in names], [_token(group), DONE_FOR]) for group in groups
        ]
        with _as_store_error():
            self._database.link().scripts(calls, repeatable=True)

    def fail(self, groups: Sequence[str]) -> None:
        with _as_store_error():
            self._database.link().pipeline([("DEL", self._group(group, ".s")) for group in groups], repeatable=True)

    def close(self) -> None:
        self._ears.close()
        self._database.close()

    def _of_part(self, group: str) -> list[str]:
        return [self._group(group, name) for name in (".j", ".t", ".s", ".d", "", ".c")]

    def _told(self, part: Part) -> list[Any]:
        value = written([1, part.task_id, part.state, part.result])
        score = "+inf" if part.place is None else part.place
        return [part.task_id, value, 1, score, self._ttl, self._ttl, CLAIM_FOR, _token(part.group)]

    def _is_claimed(self, group: str) -> bool:
        keys = [self._group(group, ".c"), self._group(group, ".s")]
        return bool(self._database.link().script(self._claim, keys, [_token(group), CLAIM_FOR], repeatable=True))

    def _joined_or_failed(self, group: str) -> Joined:
        try:
            return self._joined(group)
        except CodecError as error:
            return Joined([(group, "FAILURE", unreadable(error)["result"])])

    @decoding("a chord of Celery's")
    def _joined(self, group: str) -> Joined:
        values, whole = self._database.link().pipeline(
            [("ZRANGE", self._group(group, ".j"), 0, -1), ("GET", self._group(group))], repeatable=True
        )
        parts = [_part_of(value) for value in values]
        if whole is None:
            return Joined(parts)
        return Joined(parts, self._nested(_fields(whole).get("result")))

    def _nested(self, whole: Any) -> Any:
        """The values in the form of the results that they are of, read from their documents."""
        found = self.documents(leaves(whole))
        return shaped(whole, {task_id: fields.get("result") for task_id, fields in found.items()})

    # --- keys --------------------------------------------------------------------------------------------------------

    def _task(self, task_id: str) -> str:
        return f"{self._prefix}celery-task-meta-{task_id}"

    def _group(self, group: str, name: str = "") -> str:
        return f"{self._prefix}celery-taskset-meta-{group}{name}"


_FINAL = tuple(str(state) for state in State if state.is_final)


def open_redis(url: str, ttl: float) -> RedisResults:
    """Not for a cluster: the keys of a chord would be on several of its nodes."""
    return RedisResults(RedisDatabase.open(url), ttl)


def _token(group: str) -> str:
    return f"taskbus-{group}"


def _fields(text: bytes) -> Mapping[str, Any]:
    try:
        fields = read(text)
        if not isinstance(fields, dict):
            raise DecodeError(f"{text[:100]!r} is none of Celery's documents")
    except CodecError as error:
        return unreadable(error)
    return fields


def _part_of(text: bytes) -> tuple[str, str, Any]:
    found = read(text)
    if not isinstance(found, list) or len(found) != 4:
        raise DecodeError(f"{text[:100]!r} is no part of a chord of Celery's")
    _, task_id, state, result = found
    return str(task_id), str(state), result


@contextmanager
def _as_store_error() -> Iterator[None]:
    try:
        yield
    except RedisError as error:
        raise StoreError(f"Celery's results: {error}") from error
