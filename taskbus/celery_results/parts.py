"""What a signature is made of: plain maps, and what they say of chains, groups and chords. Pure.

A signature is ``{"task", "args", "kwargs", "options", "subtask_type", "immutable"}``, where ``subtask_type`` is None,
"chain", "group" or "chord". A chain and a group have their ``tasks`` in kwargs, a chord its ``header`` and ``body``.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, cast

from taskbus.errors import DecodeError

Signature = dict[str, Any]
Options = Mapping[str, Any]

NOT_FOR_THE_FIRST = frozenset(
    ("chord", "group_id", "group_index", "link", "link_error", "parent_id", "root_id", "task_id")
)
"""Options of a chain that are for its last step, or for all of them."""


def whole(signature: Mapping[str, Any]) -> Signature:
    """A copy of one's own, to be changed at will; what is empty, and may have been left out, is there.

    A chord's header is a group. Raises ``DecodeError`` for what is no signature.
    """
    if not isinstance(signature, Mapping) or not isinstance(signature.get("task"), str):
        raise DecodeError(f"{str(signature)[:200]} is no signature: it names no task")
    made: Signature = {
        "task": signature["task"],
        "args": list(signature.get("args") or ()),
        "kwargs": dict(signature.get("kwargs") or {}),
        "options": copy.deepcopy(dict(signature.get("options") or {})),
        "subtask_type": signature.get("subtask_type"),
        "immutable": bool(signature.get("immutable")),
    }
    kwargs = made["kwargs"]
    match kind_of(made):
        case "chain" | "group":
            kwargs["tasks"] = [whole(each) for each in kwargs.get("tasks") or ()]
        case "chord":
            # Options of the header itself say nothing: its group's id is the chord's own.
            kwargs["header"] = group_of([whole(each) for each in _tasks_of(kwargs.get("header") or ())])
            kwargs["body"] = whole(kwargs.get("body") or {})
    return made


def _tasks_of(header: Any) -> Sequence[Any]:
    if not isinstance(header, Mapping):
        return list(header)
    return header["kwargs"]["tasks"] if header.get("subtask_type") in ("chain", "group") else [header]


def kind_of(signature: Mapping[str, Any]) -> str:
    """ "chain", "group", "chord", or "" for a single task."""
    return str(signature.get("subtask_type") or "")


def listed(value: Any) -> list[Any]:
    """Options that may be one or many, as a list."""
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def merged(signature: Signature, options: Options) -> dict[str, Any]:
    """The options of a signature with stronger ones, save those that must not change: its group, and its stamps."""
    own = signature["options"]
    fixed = {"group_id", "stamped_headers", *(own.get("stamped_headers") or ())}
    return {**own, **{name: value for name, value in options.items() if name not in fixed or name not in own}}


def size_of(signature: Signature) -> int:
    """How many parts of a chord a member of its header comes to."""
    match kind_of(signature):
        case "group":
            return sum(map(size_of, members_of(signature)))
        case "chain":
            return next((size for each in reversed(members_of(signature)) if (size := size_of(each))), 0)
        case "chord":
            return size_of(signature["kwargs"]["body"])
    return 1


def terminals(signature: Signature) -> list[Signature]:
    """The single tasks whose results are that of a signature: the very maps that it consists of."""
    match kind_of(signature):
        case "group":
            return [last for each in members_of(signature) for last in terminals(each)]
        case "chain":
            return terminals(members_of(signature)[-1]) if members_of(signature) else []
        case "chord":
            return terminals(signature["kwargs"]["body"])
    return [signature]


def group_of(members: Sequence[Signature]) -> Signature:
    """A group of these."""
    return _signature("celery.group", {"tasks": list(members)}, "group")


def chord_of(header: Signature, body: Signature, root_id: str | None) -> Signature:
    """The chord that a group and the step after it are; it keeps the body's id."""
    options = {"task_id": body["options"].get("task_id"), **({"root_id": root_id} if root_id else {})}
    made = _signature("celery.chord", {"kwargs": {}, "header": header, "body": body}, "chord")
    made["options"] = {name: value for name, value in options.items() if value}
    if kind_of(body) in ("group", "chord"):
        made["options"].pop("task_id", None)
    return made


def add_link(signature: Signature, link: Signature, name: str) -> None:
    """Add a callback or an errback: to the body of a chord, to the members of a group."""
    match kind_of(signature):
        case "chord" if name == "link":
            add_link(signature["kwargs"]["body"], link, name)
        case "group":
            for each in members_of(signature) if name == "link_error" else members_of(signature)[:1]:
                add_link(each, link if name == "link_error" else {**link, "immutable": True}, name)
        case _:
            links = listed(signature["options"].get(name))
            if link not in links:
                links.append(link)
            signature["options"][name] = links


def unrolled(signature: Signature) -> Signature:
    """The one member of a group of one; else the signature."""
    members = members_of(signature) if kind_of(signature) == "group" else []
    return members[0] if len(members) == 1 else signature


def is_empty_group(signature: Signature) -> bool:
    return kind_of(signature) == "group" and not members_of(signature)


def _signature(task: str, kwargs: dict[str, Any], kind: str) -> Signature:
    return {"task": task, "args": [], "kwargs": kwargs, "options": {}, "subtask_type": kind, "immutable": False}


def members_of(signature: Signature) -> list[Signature]:
    return cast(list[Signature], signature["kwargs"]["tasks"])


def header_of(signature: Signature) -> list[Signature]:
    return members_of(signature["kwargs"]["header"])


def given(signature: Signature, args: list[Any]) -> Signature:
    """The first step of a chain with what the chain is given."""
    if args and not signature["immutable"]:
        return {**signature, "args": [*args, *signature["args"]]}
    return signature


def placed(
    options: dict[str, Any], group_id: str | None, chord: Signature | None, root_id: str | None, index: int | None
) -> None:
    """Tell a task, by its options, which group, chord and root it belongs to."""
    if root_id:
        options["root_id"] = root_id
    if group_id:
        options.setdefault("group_id", group_id)
    if chord is not None:
        options["chord"] = chord
    if index is not None:
        options["group_index"] = index


def headed(tasks: Sequence[Signature]) -> list[Signature]:
    """The steps of a chain, the first of them one that is run: no chain, and no group of nothing before others."""
    waiting = list(tasks)
    while waiting:
        waiting[0] = unrolled(waiting[0])
        if kind_of(waiting[0]) == "chain":
            waiting[:1] = members_of(waiting[0])
        elif is_empty_group(waiting[0]) and len(waiting) > 1:
            del waiting[0]
        else:
            break
    return waiting


def is_led_by_task(body: Signature) -> bool:
    members = members_of(body) if kind_of(body) == "chain" else []
    return bool(members) and kind_of(members[0]) != "group"


def split_body(chord: Signature) -> list[Signature]:
    """A chord with a chain for its body as a chord with the first step for its body, and the other steps."""
    body = chord["kwargs"]["body"]
    steps = members_of(body)
    for callback in listed(body["options"].get("link")):
        add_link(steps[-1], callback, "link")
    for errback in listed(body["options"].get("link_error")):
        for step in steps:
            add_link(step, errback, "link_error")
    first = {name: value for name, value in body["options"].items() if name not in NOT_FOR_THE_FIRST}
    steps[0]["options"] = merged(steps[0], first)
    return [{**chord, "kwargs": {**chord["kwargs"], "body": steps[0]}}, *steps[1:]]


def without_long_bodies(steps: Sequence[Signature]) -> list[Signature]:
    """The steps of a chord's body, no chord among them with a chain for its body: see ``split_body``."""
    waiting, done = list(steps), []
    while waiting:
        step = waiting.pop(0)
        if kind_of(step) == "chord" and is_led_by_task(step["kwargs"]["body"]):
            waiting = [*split_body(step), *waiting]
        else:
            done.append(step)
    return done


def strip_headers(signature: Signature) -> None:
    """Take a chord's body out of its header's tasks until it is sent: it is there once more, in the chord itself."""
    match kind_of(signature):
        case "chord":
            header = signature["kwargs"]["header"]
            _forget_chord(header)
            strip_headers(header)
            strip_headers(signature["kwargs"]["body"])
        case "chain" | "group":
            for each in members_of(signature):
                strip_headers(each)


def _forget_chord(signature: Signature) -> None:
    signature["options"].pop("chord", None)
    match kind_of(signature):
        case "group":
            for each in members_of(signature):
                _forget_chord(each)
        case "chain" if members_of(signature):
            _forget_chord(members_of(signature)[-1])
        case "chord":
            _forget_chord(signature["kwargs"]["body"])
