"""Reading dead letters from Redis: by the index, page by page, in bounded memory however many there are.

Instants are bounds of the index itself; whatever else a filter asks is looked at here, by the letters' heads.
Traceback, wire and attempts are fetched only for the letters handed out.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Protocol

from taskbus.outcome import Failure
from taskbus.store import matching
from taskbus.store import redis_records as records
from taskbus.store.base import DeadLetter, Filter, Group
from taskbus.store.redis_records import PLACE_SIZE, place_of, to_bytes, to_id

PAGE = 256
"""Heads read at once: some 4 KiB each at most, as messages of errors are cut."""
FILL = 32
"""Letters completed at once: their wire may have a mebibyte each."""

Position = tuple[float, str]
Command = tuple[Any, ...]


class Asking(Protocol):
    """What is needed of Redis."""

    def call(self, *command: Any) -> Any: ...

    def pipeline(self, commands: Sequence[Command]) -> Sequence[Any]: ...

    def page(
        self, order: str, heads: str, start: bytes, end: bytes, size: int, *way: str
    ) -> tuple[list[bytes], list[bytes]]:
        """The script ``redis_letters.lua``."""

    def drop_entries(self, entries: Sequence[tuple[bytes, bytes]]) -> None:
        """Take entries that lead nowhere, by id and place, out of the index; where it cannot have such: nothing."""


class Letters:
    """The dead letters behind ``asking``, whose keys begin with ``prefix``."""

    def __init__(self, asking: Asking, prefix: str) -> None:
        self._asking = asking
        self._prefix = prefix
        self._order = f"{prefix}letters:{{index}}:order"
        self._heads = f"{prefix}letters:{{index}}:heads"

    def list(self, where: Filter, limit: int, after: Position | None, is_newest_first: bool) -> Sequence[DeadLetter]:
        """See ``Store.dead_letters``. What is taken out meanwhile is left out, and others take its place."""
        found: list[DeadLetter] = []
        size = PAGE if _looks_at_heads(where) else min(PAGE, limit)
        for page in self._pages(where, max(1, size), after, is_newest_first):
            for start in range(0, len(page), FILL):
                wanted = page[start : start + FILL][: limit - len(found)]
                if not wanted:
                    return found
                found += self._completed(wanted)
        return found

    def count(self, where: Filter) -> int:
        if where.task_ids or _looks_at_heads(where):
            return sum(len(page) for page in self._pages(where, PAGE))
        return int(self._asking.call("ZLEXCOUNT", self._order, *_bounds(where, None, False)))

    def groups(self, where: Filter) -> Sequence[Group]:
        return matching.groups_in_order(letter for page in self._pages(where, PAGE) for letter in page)

    # --- heads ---

    def _pages(
        self, where: Filter, size: int, after: Position | None = None, is_newest_first: bool = False
    ) -> Iterator[Sequence[DeadLetter]]:
        """The letters that match, by their heads alone, in order."""
        where = _as_kept(where)
        if where.task_ids:
            named = sorted(self._named(where.task_ids), key=matching.position, reverse=is_newest_first)
            yield [
                letter
                for letter in named
                if matching.is_behind(letter, after, is_newest_first) and matching.matches(letter, where)
            ]
            return
        low, high = _bounds(where, after, is_newest_first)
        start, end, way = (high, low, ("REV",)) if is_newest_first else (low, high, ())
        while True:
            members, heads = self._asking.page(self._order, self._heads, start, end, size, *way)
            letters = [
                records.to_letter(to_id(member[PLACE_SIZE:]), member, head[PLACE_SIZE:])
                for member, head in zip(members, heads, strict=True)
                if head is not None
            ]
            yield [letter for letter in letters if matching.matches(letter, where)]
            if len(members) < size:
                return
            start = b"(" + members[-1]

    def _named(self, task_ids: Iterable[str]) -> Iterator[DeadLetter]:
        distinct = list(dict.fromkeys(task_ids))
        for start in range(0, len(distinct), PAGE):
            ids = distinct[start : start + PAGE]
            heads = self._asking.call("HMGET", self._heads, *map(to_bytes, ids))
            for task_id, head in zip(ids, heads, strict=True):
                if head is not None:
                    yield records.to_letter(task_id, head, head[PLACE_SIZE:])

    # --- the rest ---

    def _completed(self, letters: Sequence[DeadLetter]) -> Iterator[DeadLetter]:
        """The letters with what their heads lack, without those that are gone or were buried anew."""
        ids = [to_bytes(letter.task_id) for letter in letters]
        prefix = self._prefix.encode()
        commands: list[Command] = [("GET", prefix + b"letter:{" + each + b"}") for each in ids]
        commands += [("HGETALL", prefix + b"attempts:{" + each + b"}") for each in ids]
        answers = self._asking.pipeline(commands)
        gone = []
        for letter, body, attempts in zip(letters, answers, answers[len(ids) :], strict=False):
            place = place_of(letter.dead_at)
            if body is None or body[:PLACE_SIZE] != place:
                gone.append((to_bytes(letter.task_id), place))
                continue
            traceback, wire = records.unpack(body[PLACE_SIZE:])
            failure = Failure(letter.failure.type, letter.failure.message, traceback)
            yield replace(letter, failure=failure, wire=wire, attempts=records.to_attempts(letter.task_id, attempts))
        if gone:
            self._asking.drop_entries(gone)


def _as_kept(where: Filter) -> Filter:
    """The filter with half of a surrogate pair spelled out, as it is in the letters' texts."""
    texts = {name: getattr(where, name) for name in ("task", "queue", "error", "text")}
    given: dict[str, Any] = {name: records.as_kept(text) for name, text in texts.items() if text is not None}
    return replace(where, **given)


def _looks_at_heads(where: Filter) -> bool:
    """Whether more than the index must be asked."""
    return any(each is not None for each in (where.task, where.queue, where.reason, where.error, where.text))


def _bounds(where: Filter, after: Position | None, is_newest_first: bool) -> tuple[bytes, bytes]:
    """The part of the index that may match, as ZRANGE BYLEX has it; both instants included."""
    low, high = b"-", b"+"
    if where.newer_than is not None:
        low = b"[" + place_of(where.newer_than)
    if where.older_than is not None:
        high = b"(" + place_of(where.older_than) + b"\xff"  # no id begins with that byte
    if after is not None:
        behind = b"(" + place_of(after[0]) + to_bytes(after[1])
        if not is_newest_first:
            low = max(behind, low, key=lambda bound: bound[1:])
        else:
            high = behind if high == b"+" else min(behind, high, key=lambda bound: bound[1:])
    return low, high
