"""Names as numbers: each name is kept once, and looked up by whoever writes, within the transaction that uses it."""

from collections.abc import Iterable, Mapping
from typing import Any

from taskbus.history.words import Words

TASK, QUEUE, WORKER, ERROR, SCHEDULE = "task", "queue", "worker", "error", "schedule"
USED_EVERY = 86_400.0
"""Seconds after which it is written down again that a name is in use."""
MOST_AT_ONCE = 5000

Numbers = Mapping[tuple[str, str], int]
"""By kind and name. No name has the number 0."""


def numbers_of(words: Words, cursor: Any, wanted: Iterable[tuple[str, str]], now: float) -> Numbers:
    """The number of each (kind, name), made where there is none. The caller has locked the history."""
    numbers: dict[tuple[str, str], int] = {}
    by_kind: dict[str, set[str]] = {}
    for kind, name in wanted:
        by_kind.setdefault(kind, set()).add(name)
    for kind, names in sorted(by_kind.items()):
        for part in _parts(sorted(names)):
            found = _known(words, cursor, kind, part)
            missing = [name for name in part if name not in found]
            if missing:
                rows = [{"kind": kind, "name": name, "used_at": now} for name in missing]
                cursor.executemany(words.sql["insert_name"], rows)
                found |= _known(words, cursor, kind, missing)
            numbers |= {(kind, name): number for name, number in found.items()}
            used = {"numbers": words.list(sorted(found.values())), "used_at": now, "before": now - USED_EVERY}
            cursor.execute(words.sql["use_names"], used)
    return numbers


def _known(words: Words, cursor: Any, kind: str, names: list[str]) -> dict[str, int]:
    cursor.execute(words.sql["names"], {"kind": kind, "names": words.list(names)})
    return {name: number for number, name in cursor.fetchall()}


def _parts(names: list[str]) -> Iterable[list[str]]:
    return (names[start : start + MOST_AT_ONCE] for start in range(0, len(names), MOST_AT_ONCE))
