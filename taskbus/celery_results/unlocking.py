"""``celery.chord_unlock``: the task that Celery sends with a chord where its results are not counted. Pure.

It looks whether all parts have ended, sends the body when they have, and else looks again a second later.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from taskbus.celery_results.follow import Came
from taskbus.celery_results.hostile import decoding
from taskbus.celery_results.port import Joined, Part
from taskbus.celery_results.signature import Call, Chord

TASK = "celery.chord_unlock"
AGAIN_AFTER = 1.0
_ENDED = ("SUCCESS", "FAILURE", "REVOKED")


class Unlock(NamedTuple):
    """What the task is asked: the chord's ``group`` and ``body``, and the results that its parts stand for."""

    group: str
    body: Mapping[str, Any]
    results: Sequence[Any]
    interval: float

    def ids(self) -> list[str]:
        return [task_id for each in self.results for task_id in leaves(each)]

    def joined(self, documents: Mapping[str, Mapping[str, Any]]) -> Joined | None:
        """The parts, once all have ended; None before."""
        ids = self.ids()
        if any(documents.get(task_id, {}).get("status") not in _ENDED for task_id in ids):
            return None
        parts = [(task_id, documents[task_id]["status"], documents[task_id].get("result")) for task_id in ids]
        values = {task_id: result for task_id, _, result in parts}
        return Joined(parts, [shaped(each, values) for each in self.results])

    def came(self, task_id: str, root_id: str) -> Came:
        """As if the last part had come in by the task that looks."""
        return Came(Part(self.group, task_id, None, "SUCCESS", None), dict(self.body), root_id)


def unlock_of(chord: Chord) -> Call:
    """The task that is sent with a chord's header, to the queue of its body."""
    options = chord.body.get("options") or {}
    named = {name: options[name] for name in ("queue", "priority", "exchange", "routing_key") if options.get(name)}
    kwargs = {
        "interval": None,
        "max_retries": None,
        "result": [part.as_tuple() for part in chord.parts],
        "_chord_unlock_exchange_type": "direct",
    }
    given = {**named, "countdown": AGAIN_AFTER, "ignore_result": True, "root_id": options.get("root_id")}
    return Call(TASK, f"{chord.group}-unlock", [chord.group, chord.body], kwargs, given)


@decoding(f"the arguments of {TASK}")
def asked(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Unlock:
    """What the arguments of a task ask. Raises ``DecodeError`` for what no Celery would send."""
    group, body, *_ = args
    results = [_checked(each) for each in kwargs["result"]]
    interval = kwargs.get("interval")
    is_number = isinstance(interval, int | float) and not isinstance(interval, bool) and interval > 0
    return Unlock(str(group), body, results, float(interval or 0) if is_number else AGAIN_AFTER)


def leaves(result: Any) -> list[str]:
    """The ids of the tasks in a result, as ``Outcome.as_tuple`` writes it."""
    (result_id, _), members = result
    return [result_id] if members is None else [task_id for each in members for task_id in leaves(each)]


def shaped(result: Any, values: Mapping[str, Any]) -> Any:
    """The values of the tasks in a result, in its form."""
    (result_id, _), members = result
    return values.get(result_id) if members is None else [shaped(each, values) for each in members]


def _checked(result: Any) -> Any:
    (result_id, _), members = result
    if not isinstance(result_id, str):
        raise TypeError(f"{result_id!r} is no task id")
    for each in members or ():
        _checked(each)
    return result
