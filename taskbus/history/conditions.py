"""From a filter to the conditions of a statement, and to the index by which few rows must be looked at."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from taskbus.history.fitting import fitted_name
from taskbus.history.naming import ERROR, QUEUE, SCHEDULE, TASK, WORKER
from taskbus.history.words import Words
from taskbus.store.filters import TaskFilter
from taskbus.store.sql_dialects import dialect_of
from taskbus.store.statements import storable

MOST_NAMES = 5000
"""Names that a pattern may match."""
_MAGIC = frozenset("*?[")
Read = Callable[[str, Any], list[Any]]
"""Runs a statement, of ours but in the dialect's words."""


class Term(NamedTuple):
    """A condition with what it needs. ``by``: an index that begins with its column, "" where there is none.

    ``is_one``: one value of that column is asked for, so that the index gives its rows in their order.
    """

    text: str
    given: Mapping[str, Any]
    by: str = ""
    is_one: bool = False


def terms_of(words: Words, where: TaskFilter, read: Read) -> list[Term] | None:
    """The conditions that all must hold, the most choosy first; None: nothing can match."""
    terms: list[Term] = []
    if where.ids:
        terms.append(_listed(words, "task_id", [fitted_name(each) for each in where.ids], "task_id", "text"))
    for column in ("flow", "parent"):
        wanted = getattr(where, column)
        if wanted is not None:
            terms.append(Term(f"{column} = :{column} AND {column} <> ''", {column: fitted_name(wanted)}, column, True))
    for kind in (SCHEDULE, ERROR, WORKER, TASK, QUEUE):
        wanted = getattr(where, kind)
        if wanted is not None and wanted.strip("*"):  # stars match any name, and that of those that have none
            numbers = _numbers(words, kind, wanted, read)
            if not numbers:
                return None
            terms.append(_listed(words, kind, numbers, kind))
            if kind in (SCHEDULE, ERROR):  # so that an index of none but these can be used
                terms[-1] = terms[-1]._replace(text=f"{terms[-1].text} AND {kind} <> 0")
    if where.states:
        states = _listed(words, "state", [storable(state.upper()) for state in where.states], "state", "text")
        terms.insert(len(terms) if "SUCCESS" in where.states else 0, states)
    return terms + _texts(words, where) + _bounds(where)


def _listed(words: Words, column: str, members: Sequence[Any], by: str, kind: str = "bigint") -> Term:
    if len(members) == 1:
        return Term(f"{column} = :{column}", {column: members[0]}, by, True)
    return Term(f"{column} {words.within(column, kind)}", {column: words.list(members)}, by)


def _texts(words: Words, where: TaskFilter) -> list[Term]:
    terms = []
    if where.reason is not None:
        terms.append(Term("reason = :reason", {"reason": storable(where.reason)}))
    if where.text is not None:
        terms.append(Term(words.contains("message", "text"), {"text": storable(where.text)}))
    if where.args is not None:
        either = f"({words.contains('args', 'args')} OR {words.contains('kwargs', 'args')})"
        terms.append(Term(either, {"args": storable(where.args)}))
    return terms


def _bounds(where: TaskFilter) -> list[Term]:
    bounds = {
        "ended_at <= :older_than": {"older_than": where.older_than},
        "ended_at >= :newer_than": {"newer_than": where.newer_than},
        "started_at > 0 AND ran_for > :ran_over": {"ran_over": where.ran_over},
        "started_at > 0 AND ran_for < :ran_under": {"ran_under": where.ran_under},
        "started_at > 0 AND waited > :waited_over": {"waited_over": where.waited_over},
        "started_at > 0 AND waited < :waited_under": {"waited_under": where.waited_under},
    }
    return [Term(text, given) for text, given in bounds.items() if None not in given.values()]


def _numbers(words: Words, kind: str, wanted: str, read: Read) -> list[int]:
    """Those of the names that a pattern matches; of an error, those that end so behind a dot, too."""
    given: dict[str, Any] = {"kind": kind, "limit": MOST_NAMES}
    condition = "name = :name"
    if kind == ERROR:
        given["name"] = fitted_name(wanted)
        condition = _ENDS[words.dialect]
    elif _MAGIC.isdisjoint(wanted):
        given["name"] = fitted_name(wanted)
    else:
        given["name"] = dialect_of(words.dialect).pattern(storable(wanted))
        condition = _MATCHES[words.dialect]
    if given["name"] is None:
        return []
    text = f"SELECT number FROM taskbus_history_names WHERE kind = :kind AND {condition} ORDER BY number LIMIT :limit"  # noqa: S608 (ours)
    return [number for (number,) in read(words.spelled(text), given)]


_MATCHES = {"sqlite": "taskbus_matches(name, :name)", "postgresql": "name ~ :name::text", "mysql": "name REGEXP :name"}
_ENDS = {
    "sqlite": "(name = :name OR substr(name, -length(:name) - 1) = '.' || :name)",
    "postgresql": "(name = :name::text OR right(name, length(:name::text) + 1) = '.' || :name::text)",
    "mysql": "(name = :name OR right(name, char_length(:name) + 1) = concat('.', :name))",
}
