"""Finding task records, so that no question takes long, whatever it is and however many there are.

Where a filter names something of which there are few, these are looked at, and sorted. Otherwise rows are walked in the
order of the answer, along the index that skips most, a slice at a time: most questions are answered by the first one,
and one that is not ends when patience does, with the place where the next call goes on.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from taskbus.errors import ConfigError
from taskbus.history.conditions import Read, Term, terms_of
from taskbus.history.record_rows import NAMES
from taskbus.history.shapes import Count, TaskPage, TaskRow
from taskbus.history.words import Words
from taskbus.store.filters import TaskFilter

SORTS = {"newest": "ended_at", "slowest": "ran_for", "longest_wait": "waited"}
"""The column by which rows are sorted, the largest first."""
_ALONG = {"newest": "", "slowest": "slowest", "longest_wait": "longest"}
"""The index of one task's rows in that order, where it is not called ``task``."""
MOST_SEARCHED = 1_000_000
MOST_COUNTED = 10_000
FEW = 2000
FIRST_SLICE, LARGEST_SLICE = 1000, 100_000
"""Rows looked at in one step."""
FIELDS = (
    "number, task_id, task, queue, state, attempt, priority, sent_at, due_at, started_at, ended_at, waited, ran_for,"
    " worker, weight, reason, error, message, flow, parent, schedule, args, kwargs"
)
_TABLE = "taskbus_history_records"


class Place(NamedTuple):
    """Where a row stands: behind all with a larger value, or as large a one and a larger number."""

    value: float
    number: int


class Walk(NamedTuple):
    """How rows are reached: by the index ``by``, those for which ``driver`` holds; ``rest`` is looked at in each."""

    by: str
    driver: Sequence[Term]
    rest: Sequence[Term]
    is_few: bool = False


class Search:
    """Questions of one filter. ``floor``: rows with a number up to that are not searched."""

    def __init__(self, words: Words, read: Read, where: TaskFilter, sort: str, *, floor: int) -> None:
        if sort not in SORTS:
            raise ConfigError(f"records cannot be sorted by {sort!r}; there are {', '.join(SORTS)}")
        self._words = words
        self._read = read
        self._sort = sort
        self._column = SORTS[sort]
        self._bound = [Term("number > :floor", {"floor": floor})] if floor > 0 else []
        terms = terms_of(words, where, read)
        self._walk = None if terms is None else self._plan(terms)

    # --- the way -------------------------------------------------------------------------------------------------

    def _plan(self, terms: Sequence[Term]) -> Walk:
        best: tuple[int, Term] | None = None
        for term in terms:
            if term.by and (count := self._few(term)) <= FEW and (best is None or count < best[0]):
                best = count, term
                if count <= 100:
                    break
        if best is not None:
            term = best[1]
            return Walk(term.by, [term], [*_without(terms, term), *self._bound], is_few=True)
        for term in terms:
            if term.is_one and (index := self._index_of(term)):
                return Walk(index, [term], [*_without(terms, term), *self._bound])
        return Walk(self._column, [], [*terms, *self._bound])

    def _index_of(self, term: Term) -> str:
        """An index that has the rows of one value in the order that is asked for, or ""."""
        if self._sort == "newest":
            return term.by
        return _ALONG[self._sort] if term.by == "task" else ""

    def _few(self, term: Term) -> int:
        """How many rows a term leaves, as far as that are few."""
        text = f"SELECT count(*) FROM (SELECT 1 AS one {self._from(term.by)} WHERE {term.text} LIMIT :few) AS few"  # noqa: S608
        return int(self._ask(text, {**term.given, "few": FEW + 1})[0][0])

    # --- pages ---------------------------------------------------------------------------------------------------

    def page(self, limit: int, after: str | None, patience: float) -> TaskPage:
        """See ``History.tasks``."""
        place = None if after is None else self._placed(after)
        if self._walk is None:
            return TaskPage([])
        deadline, size, looked = time.monotonic() + patience, FIRST_SLICE, 0
        found: list[TaskRow] = []
        while True:
            end = None if self._is_direct(self._walk) else self._end_of_slice(self._walk, place, size)
            found += self._rows(self._walk, place, end, limit + 1 - len(found))
            if len(found) > limit:
                last = found[limit - 1]
                return TaskPage(self._named(found[:limit]), self._text(self._place_of(last)))
            if end is None:
                return TaskPage(self._named(found))
            looked, place = looked + size, end
            left = deadline - time.monotonic()
            if left <= 0:
                note = f"looked at {looked:,} records so far; ask for the next page to go on"
                return TaskPage(self._named(found), self._text(place), note)
            size = _next_size(looked, left, patience)

    def _is_direct(self, walk: Walk) -> bool:
        """Whether one statement finds a page without looking at many rows."""
        return walk.is_few or not [term for term in walk.rest if term not in self._bound]

    def _end_of_slice(self, walk: Walk, place: Place | None, size: int) -> Place | None:
        """The last row of the next ``size`` on the way; None: there are no more than that."""
        terms = [*walk.driver, *self._behind(place)]
        text = (
            f"SELECT {self._column}, number {self._from(walk.by)} WHERE {_all(terms)}"
            f" ORDER BY {self._column} DESC, number DESC LIMIT 1 OFFSET :size"
        )
        found = self._ask(text, {**_given(terms), "size": size - 1})
        return Place(*found[0]) if found else None

    def _rows(self, walk: Walk, place: Place | None, end: Place | None, limit: int) -> list[TaskRow]:
        terms = [*walk.driver, *self._behind(place), *self._up_to(end), *walk.rest]
        text = (
            f"SELECT {FIELDS} {self._from(walk.by)} WHERE {_all(terms)}"
            f" ORDER BY {self._column} DESC, number DESC LIMIT :limit"
        )
        return [TaskRow(*row) for row in self._ask(text, {**_given(terms), "limit": limit})]

    # --- counting ------------------------------------------------------------------------------------------------

    def count(self, patience: float) -> Count:
        """See ``History.count_tasks``."""
        if self._walk is None:
            return Count(0)
        deadline, size, looked = time.monotonic() + patience, FIRST_SLICE, 0
        place: Place | None = None
        count = 0
        while True:
            end = None if self._is_direct(self._walk) else self._end_of_slice(self._walk, place, size)
            count += self._counted(self._walk, place, end)
            if count > MOST_COUNTED:
                return Count(MOST_COUNTED, is_capped=True)
            if end is None:
                return Count(count)
            looked, place = looked + size, end
            left = deadline - time.monotonic()
            if left <= 0:
                return Count(count, is_capped=True)
            size = _next_size(looked, left, patience)

    def _counted(self, walk: Walk, place: Place | None, end: Place | None) -> int:
        terms = [*walk.driver, *self._behind(place), *self._up_to(end), *walk.rest]
        from_ = self._from(walk.by)
        text = f"SELECT count(*) FROM (SELECT 1 AS one {from_} WHERE {_all(terms)} LIMIT :most) AS few"  # noqa: S608
        return int(self._ask(text, {**_given(terms), "most": MOST_COUNTED + 1})[0][0])

    # --- places --------------------------------------------------------------------------------------------------

    def _behind(self, place: Place | None) -> list[Term]:
        column = self._column
        if place is None:
            return []
        text = f"{column} <= :place AND ({column} < :place OR number < :place_number)"
        return [Term(text, {"place": place.value, "place_number": place.number})]

    def _up_to(self, end: Place | None) -> list[Term]:
        column = self._column
        if end is None:
            return []
        text = f"{column} >= :end AND ({column} > :end OR number >= :end_number)"
        return [Term(text, {"end": end.value, "end_number": end.number})]

    def _place_of(self, row: TaskRow) -> Place:
        return Place(getattr(row, self._column), row.number)

    def _text(self, place: Place) -> str:
        return f"{self._sort}_{place.value!r}_{place.number}"

    def _placed(self, after: str) -> Place:
        try:
            sort, value, number = after.rsplit("_", 2)
            place = Place(float(value), int(number))
        except ValueError:
            sort = ""
        if sort != self._sort or not abs(place.value) < 1e15 or not 0 <= place.number < 1 << 62:
            raise ConfigError(f"{after[:80]!r} is no place to go on from; hand over the next of a page as it is")
        return place

    # --- statements ----------------------------------------------------------------------------------------------

    def _from(self, index: str) -> str:
        return f"FROM {_TABLE}{self._words.using(index)}"

    def _ask(self, text: str, given: Mapping[str, Any]) -> list[Any]:
        return self._read(self._words.spelled(text), given)

    def _named(self, rows: Sequence[TaskRow]) -> list[TaskRow]:
        return named(self._words, self._read, rows)


def named(words: Words, read: Read, rows: Sequence[TaskRow]) -> list[TaskRow]:
    """The rows with names where there are numbers."""
    numbers = sorted({int(getattr(row, field)) for row in rows for field in NAMES} - {0})
    names = dict(read(words.sql["names_of"], {"numbers": words.list(numbers)})) if numbers else {}
    return [row._replace(**{field: names.get(getattr(row, field), "") for field in NAMES}) for row in rows]


def _next_size(looked: int, left: float, patience: float) -> int:
    """As many rows as may be looked at in the time that is left, by what was looked at so far."""
    rate = looked / max(0.001, patience - left)
    return int(min(LARGEST_SLICE, max(FIRST_SLICE, rate * left * 0.8)))


def _without(terms: Sequence[Term], one: Term) -> list[Term]:
    return [term for term in terms if term is not one]


def _all(terms: Sequence[Term]) -> str:
    return " AND ".join(term.text for term in terms) or "1 = 1"


def _given(terms: Sequence[Term]) -> dict[str, Any]:
    return {name: value for term in terms for name, value in term.given.items()}
