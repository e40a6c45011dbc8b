"""Recording changes on a Redis Cluster, where no step spans two slots: several steps, in an order that loses nothing.

Each task is a step of its own: its result, its attempts and its dead letter change together, and whether a letter is
taken out is decided there. The index of dead letters follows. Dying in between leaves a result recorded whose delivery
is not settled, so that it is run or recorded again; or a letter that is not listed until it is buried again, for the
same reason; or an entry of the index whose letter is gone, which the next listing passes over and takes out.
"""

from collections.abc import Sequence
from typing import Any

from taskbus.database.redis import Link, Script
from taskbus.store.redis_changes import Packed, to_payload


def apply(link: Link, script: Script, chunk: Sequence[Packed], prefix: str, now: float | None) -> bool:
    """See ``Store.apply``; what several tasks' changes amount to is not one atomic step. False: some were refused.

    A refusal is found before anything is written, unless another process takes the letter at the same time.
    """
    tasks: dict[bytes, list[Packed]] = {}
    for each in chunk:
        tasks.setdefault(each[1], []).append(each)

    def run(part: str, ids: Sequence[bytes], *, repeatable: bool) -> list[Any]:
        before = f"{prefix}none:{{".encode()
        return link.scripts(
            [(script, (before + each + b"}",), (part, to_payload(tasks[each], prefix, now))) for each in ids],
            repeatable=repeatable,
        )

    asking = [task_id for task_id, changes in tasks.items() if any(each[0] == "x" for each in changes)]
    if any(answer[0] == 0 for answer in run("check", asking, repeatable=True)):
        return False
    answers = dict(zip(tasks, run("tasks", list(tasks), repeatable=not asking), strict=True))
    write_index(link, script, _index_changes(tasks, answers), prefix)
    if any(each[0] == "r" for each in chunk):
        link.call("PUBLISH", f"{prefix}finished", "", repeatable=True)
    return all(answer[0] == 1 for answer in answers.values())


def _index_changes(tasks: dict[bytes, list[Packed]], answers: dict[bytes, Any]) -> list[Packed]:
    """What the index must hear: of burials that were done, and by its place of every letter that was taken out."""
    changes: list[Packed] = []
    for task_id, (is_done, *taken) in answers.items():
        places = iter(taken)
        for each in tasks[task_id] if is_done else ():
            if each[0] == "b":
                changes.append(each)
            elif each[0] in "xp" and (place := next(places)):
                changes.append((each[0], task_id, place))
    return changes


def write_index(link: Link, script: Script, changes: Sequence[Packed], prefix: str) -> None:
    """Enter burials; take out, each under its place, the letters of other changes."""
    if changes:
        key = f"{prefix}none:{{index}}"
        link.script(script, (key,), ("index", to_payload(changes, prefix, None)), repeatable=True)
