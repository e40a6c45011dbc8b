"""Whether the dead letters that changes are about are there: in Python, for stores that are asked before they write."""

from collections.abc import Callable, MutableMapping, Sequence
from typing import Any, TypeGuard

from taskbus.store.base import AnyChange, Bury, Exhume, ForgetFailure, Purge

KINDS = frozenset((Exhume, ForgetFailure, Purge))
"""The changes that are about a letter that may be there, or not."""


def asks(change: AnyChange) -> TypeGuard[Exhume | ForgetFailure | Purge]:
    """Whether it must be known, before this is written, which letter is there."""
    return type(change) in KINDS and not (type(change) is Purge and change.dead_at is None)


def possible(
    changes: Sequence[Any], there: MutableMapping[str, float], key: Callable[[str], str] = str
) -> list[Any] | None:
    """What of the changes is to be written: not a ``Purge`` of a letter that is another one now. None: all are refused.

    ``there``: when those of the letters that ``asks`` is about died, by ``key`` of their ids; it is used up.
    """
    kept = []
    for change in changes:
        match change:
            case Bury(letter):
                there[key(letter.task_id)] = letter.dead_at
            case Exhume(task_id):
                if there.pop(key(task_id), None) is None:
                    return None
            case ForgetFailure(task_id, dead_at):
                if there.get(key(task_id)) != dead_at:
                    return None
            case Purge(task_id, dead_at):
                if dead_at is not None and there.get(key(task_id)) != dead_at:
                    continue
                there.pop(key(task_id), None)
        kept.append(change)
    return kept
