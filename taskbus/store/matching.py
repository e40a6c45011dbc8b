"""Which dead letters a ``Filter`` means, and which are alike: in Python, for stores that hold them as objects."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

from taskbus.store.base import DeadLetter, Filter, Group


def matches(letter: DeadLetter, where: Filter) -> bool:
    """Whether ``letter`` fits every field given."""
    kind = letter.failure.type
    return (
        (not where.task_ids or letter.task_id in where.task_ids)
        and (where.task is None or fnmatchcase(letter.task, where.task))
        and (where.queue is None or fnmatchcase(letter.queue, where.queue))
        and (where.reason is None or letter.reason == where.reason)
        and (where.error is None or kind == where.error or kind.endswith(f".{where.error}"))
        and (where.text is None or where.text in letter.failure.message)
        and (where.older_than is None or letter.dead_at <= where.older_than)
        and (where.newer_than is None or letter.dead_at >= where.newer_than)
    )


def position(letter: DeadLetter) -> tuple[float, str]:
    """Where ``letter`` stands in the order of listing."""
    return letter.dead_at, letter.task_id


def is_behind(letter: DeadLetter, place: tuple[float, str] | None, is_newest_first: bool) -> bool:
    """Whether ``letter`` comes after that place in a list, which may go from the newest to the oldest; None: any."""
    return place is None or (position(letter) < place if is_newest_first else position(letter) > place)


def groups(letters: Iterable[DeadLetter]) -> list[Group]:
    """The letters by task, reason and class of error, the largest group first."""
    return groups_in_order(sorted(letters, key=position))


def groups_in_order(letters: Iterable[DeadLetter]) -> list[Group]:
    """As ``groups``, of letters that come oldest first; keeps one of each group at a time."""
    alike: dict[tuple[str, str, str], tuple[int, float, DeadLetter]] = {}
    for letter in letters:
        kind = letter.task, letter.reason, letter.failure.type
        count, first_at, _ = alike.get(kind, (0, letter.dead_at, letter))
        alike[kind] = count + 1, first_at, letter
    found = [
        Group(
            task=newest.task,
            reason=newest.reason,
            error=newest.failure.type,
            message=newest.failure.message,
            count=count,
            first_at=first_at,
            last_at=newest.dead_at,
            example=newest.task_id,
        )
        for count, first_at, newest in alike.values()
    ]
    return sorted(found, key=lambda group: (-group.count, -group.last_at, group.example))
