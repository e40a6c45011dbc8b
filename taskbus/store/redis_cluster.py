"""Recording changes on a Redis Cluster, where no step spans two slots: several steps, in an order that loses nothing.

Each task is a step of its own: its result, its attempts and its dead letter change together, and whether a letter is
taken out is decided there. So is each flow, after the tasks; then come the results of tasks of it that never ran. The
indexes of dead letters and flows follow. Dying in between leaves a result recorded whose delivery is not settled, so
that it is run or recorded again; or a letter (or flow) that is not listed until it is buried (begun) again, for the
same reason; or an entry of an index that leads nowhere, which the next listing passes over and takes out.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from taskbus.database.redis import Link, Script
from taskbus.message import Recorded
from taskbus.store import redis_flows as flows
from taskbus.store.redis_changes import MUST_FIND, Packed, is_of_flow, to_flow_payload, to_payload

By = Mapping[bytes, list[Packed]]
"""Changes by the task, or the flow, that they are of."""


def apply(
    link: Link, script: Script, chunk: Sequence[Packed], prefix: str, now: float | None, at: float
) -> Recorded | None:
    """See ``Store.apply``; what changes of several tasks and flows come to is no atomic step. None: some were refused.

    A refusal is found before anything is written, unless another process takes the letter, or ends the join, at the
    same time.
    """
    tasks = _apart(each for each in chunk if not is_of_flow(each))
    flow_changes = _apart(each for each in chunk if is_of_flow(each))

    def run(part: str, ids: Sequence[bytes], *, repeatable: bool) -> list[Any]:
        return link.scripts(
            [(script, (_none(prefix, each),), (part, to_payload(tasks[each], prefix, now))) for each in ids],
            repeatable=repeatable,
        )

    def run_flows(part: str, ids: Sequence[bytes]) -> list[Any]:
        payloads = [(each, to_flow_payload(flow_changes[each], prefix, now, at)) for each in ids]
        return link.scripts(
            [(flows.APPLY, (_none(prefix, each),), (part, payload)) for each, payload in payloads], repeatable=True
        )

    asking = [task_id for task_id, changes in tasks.items() if any(each[0] in MUST_FIND for each in changes)]
    growing = [flow_id for flow_id, changes in flow_changes.items() if any(each[0] in "AV" for each in changes)]
    if any(answer[0] == 0 for answer in run("check", asking, repeatable=True) + run_flows("check", growing)):
        return None
    answers = dict(zip(tasks, run("tasks", list(tasks), repeatable=not asking), strict=True))
    flow_answers = run_flows("flow", list(flow_changes))
    _write_results(link, script, flow_answers, prefix, now)
    write_index(link, script, _index_changes(tasks, answers), prefix)
    _list_flows(link, chunk, prefix)
    if any(each[0] == "r" for each in chunk) or any(each[0] and flows.rings(each) for each in flow_answers):
        link.call("PUBLISH", f"{prefix}finished", "", repeatable=True)
    if any(answer[0] == 0 for answer in (*answers.values(), *flow_answers)):
        return None
    recorded = [flows.to_recorded(answer) for answer in flow_answers]
    return Recorded([each for one in recorded if one is not None for each in one.ready])


def _apart(changes: Iterable[Packed]) -> By:
    found: dict[bytes, list[Packed]] = {}
    for each in changes:
        found.setdefault(each[1], []).append(each)
    return found


def _none(prefix: str, name: bytes) -> bytes:
    return f"{prefix}none:{{".encode() + name + b"}"


def _index_changes(tasks: By, answers: Mapping[bytes, Any]) -> list[Packed]:
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


# --- flows ---


def _write_results(link: Link, script: Script, answers: Sequence[Any], prefix: str, now: float | None) -> None:
    """Results of tasks of flows that never ran: those of tasks that are to run after all are deleted."""
    deleted: list[bytes] = []
    saved: dict[bytes, Packed] = {}
    for answer in answers:
        for task_id, milliseconds, data in flows.to_results(answer) if answer[0] else ():
            if milliseconds:
                saved[task_id] = ("r", task_id, milliseconds, data)
            else:
                deleted.append(task_id)
                saved.pop(task_id, None)
    before = f"{prefix}result:{{".encode()
    link.pipeline([("DEL", before + task_id + b"}") for task_id in deleted], repeatable=True)
    link.scripts(
        [
            (script, (_none(prefix, task_id),), ("tasks", to_payload([change], prefix, now)))
            for task_id, change in saved.items()
        ],
        repeatable=True,
    )


def _list_flows(link: Link, chunk: Sequence[Packed], prefix: str) -> None:
    places = [arg for each in chunk if each[0] in "BR" for arg in (0, each[4] + each[1])]
    if places:
        link.call("ZADD", f"{prefix}flows:{{index}}", *places, repeatable=True)
