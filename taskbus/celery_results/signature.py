"""What sending a signature comes to: calls of single tasks. Pure.

By the rules of Celery 5.7: nested chains are spliced, a group before another step becomes a chord, groups in groups are
one group; a chain's remaining steps travel, last one first, with the task before them. Ids that a signature has are
kept; those it lacks are derived from the id of the task that sends it, so that sending it once more sends the same ids.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from taskbus.celery_results.parts import (
    NOT_FOR_THE_FIRST,
    Options,
    Signature,
    add_link,
    chord_of,
    given,
    group_of,
    headed,
    header_of,
    is_empty_group,
    is_led_by_task,
    kind_of,
    listed,
    members_of,
    merged,
    placed,
    size_of,
    split_body,
    strip_headers,
    unrolled,
    whole,
    without_long_bodies,
)

_OURS = uuid.UUID("6f6f5b3e-2a58-5f0e-9e0a-6c1d34f2a7b1")


class Call(NamedTuple):
    """One task to send. ``options`` are those of ``apply_async``, without what stands beside them.

    ``chain``: the steps after it, the last one first. ``chord``: the body that waits for it and the rest of its group.
    """

    task: str
    id: str
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    options: Options
    callbacks: Sequence[Signature] = ()
    errbacks: Sequence[Signature] = ()
    chain: Sequence[Signature] = ()
    chord: Signature | None = None


class Outcome(NamedTuple):
    """Which results stand for what was sent: one task's, or those of a group of them."""

    id: str
    members: "Sequence[Outcome] | None" = None

    def as_tuple(self) -> list[Any]:
        """As Celery writes a result into a document: ``[[id, parent], members or None]``."""
        members = None if self.members is None else [member.as_tuple() for member in self.members]
        return [[self.id, None], members]


@dataclass(frozen=True, slots=True)
class Chord:
    """A chord that begins: ``size`` parts will come in for ``group``. ``parts``: the results they stand for.

    ``is_whole`` False: a group that stands for some of the parts of a chord that has begun already.
    """

    group: str
    size: int
    parts: Sequence[Outcome]
    body: Signature
    is_whole: bool = True

    @property
    def is_nested(self) -> bool:
        """Whether a part is itself a list of results, so that the parts as they come in do not tell their form."""
        return any(part.members is not None for part in self.parts)


@dataclass(slots=True)
class Sending:
    """What sending signatures comes to. ``seed``: the id of the task that sends them."""

    seed: str
    calls: list[Call] = field(default_factory=list)
    chords: list[Chord] = field(default_factory=list)
    _count: int = 0

    def send(self, signature: Mapping[str, Any], args: Sequence[Any] = (), **options: Any) -> Outcome:
        """Send a signature behind ``args``, with options that are stronger than its own."""
        stronger = {name: value for name, value in options.items() if value is not None}
        return self._apply(whole(signature), list(args), stronger)

    def new_id(self) -> str:
        """The next id made up here; the same at the same place when all is done again."""
        self._count += 1
        return str(uuid.uuid5(_OURS, f"{self.seed}/{self._count}"))

    # --- by kind -----------------------------------------------------------------------------------------------------

    def _apply(self, signature: Signature, args: list[Any], options: dict[str, Any]) -> Outcome:
        match kind_of(signature):
            case "chain":
                return self._chain(signature, args, {**signature["options"], **options})
            case "group":
                return self._group(signature, args, merged(signature, options))
            case "chord":
                return self._chord(signature, args, options)
        return self._task(signature, args, merged(signature, options))

    def _task(self, signature: Signature, args: list[Any], options: dict[str, Any]) -> Outcome:
        task_id = options.pop("task_id", None) or self.new_id()
        call = Call(
            signature["task"],
            task_id,
            signature["args"] if signature["immutable"] else [*args, *signature["args"]],
            signature["kwargs"],
            options,
            listed(options.pop("link", None)),
            listed(options.pop("link_error", None)),
            options.pop("chain", None) or (),
            options.pop("chord", None),
        )
        self.calls.append(call)
        return Outcome(task_id)

    def _chain(self, signature: Signature, args: list[Any], options: dict[str, Any]) -> Outcome:
        taken = {name: options.pop(name, None) for name in NOT_FOR_THE_FIRST}
        args = list(signature["args"]) if signature["immutable"] else [*args, *signature["args"]]
        steps, last = self._steps(members_of(signature), args, taken)
        if not steps:
            return Outcome(self.new_id(), ())
        for callback in listed(taken["link"]):
            add_link(steps[0], callback, "link")
        first = steps.pop()
        rest = [*(options.pop("chain", None) or ()), *steps]
        if taken["parent_id"]:
            options["parent_id"] = taken["parent_id"]
        sent = self._apply(first, [], {**options, "chain": rest} if rest else options)
        return last if steps else sent

    def _steps(
        self, tasks: Sequence[Signature], args: list[Any], taken: Options, *, is_sent: bool = True
    ) -> tuple[list[Signature], Outcome]:
        """The steps of a chain, the last one first, with their ids, and the result that the chain has.

        ``is_sent`` False: they are only given their ids.
        """
        waiting = headed(tasks)
        steps: list[Signature] = []
        last = Outcome("")
        previous: Signature | None = None
        while waiting:
            step = unrolled(waiting.pop())
            is_first = not waiting
            if is_empty_group(step) and (waiting or previous is not None):
                continue
            if is_sent and kind_of(step) == "chord" and is_led_by_task(step["kwargs"]["body"]):
                waiting += split_body(step)
                continue
            if kind_of(step) == "chain":
                if is_first and args:
                    step = given(step, args)
                waiting += members_of(step)
                continue
            if is_first:
                step = given(step, args)
            is_last = not steps
            if kind_of(step) == "group" and previous is not None:
                steps.pop()
                step = chord_of(step, previous, taken["root_id"])
                is_last = not steps
            found = self._frozen_step(step, taken, is_last=is_last)
            if is_last:
                last = found
            for errback in listed(taken["link_error"]):
                add_link(step, errback, "link_error")
                if kind_of(step) == "chord":
                    add_link(step["kwargs"]["body"], errback, "link_error")
            steps.append(step)
            previous = step
        if is_sent:
            for step in steps:
                strip_headers(step)
        return steps, last

    def _frozen_step(self, step: Signature, taken: Options, *, is_last: bool) -> Outcome:
        if not is_last:
            return self.freeze(step, root_id=taken["root_id"])
        return self.freeze(
            step,
            task_id=taken["task_id"],
            root_id=taken["root_id"],
            group_id=taken["group_id"],
            chord=taken["chord"],
            group_index=taken["group_index"],
        )

    def _group(
        self, signature: Signature, args: list[Any], options: dict[str, Any], *, is_header: bool = False
    ) -> Outcome:
        options.pop("link", None)
        options.pop("link_error", None)
        group = options.pop("task_id", None) or self.new_id()
        options.pop("group_index", None)
        chord, root = options.pop("chord", None), options.get("root_id")
        options["group_id"] = group
        members = list(self._flat(members_of(signature)))
        found = [self.freeze(each, group_id=group, root_id=root, group_index=index) for index, each in members]
        bodies = [chord or each["options"].get("chord") for _, each in members]
        size = sum(size_of(each) for _, each in members)
        for (_, each), body in zip(members, bodies, strict=True):
            self._apply(each, list(args), {**options, "chord": body} if body is not None else dict(options))
        if members and bodies[-1] is not None:
            self.chords.append(Chord(group, size, found, bodies[-1], is_header))
        if len(found) == 1 and found[0].members is not None:
            return found[0]
        return Outcome(group, found)

    def _flat(self, members: Sequence[Signature]) -> list[tuple[int, Signature]]:
        """The members of a group with those of the groups in it, each with its place in its own group."""
        flat: list[tuple[int, Signature]] = []
        for index, each in enumerate(members):
            if kind_of(each) == "group":
                flat += self._flat(members_of(each))
            elif not (kind_of(each) == "chain" and not members_of(each)):
                flat.append((index, each))
        return flat

    def _chord(self, signature: Signature, args: list[Any], options: dict[str, Any]) -> Outcome:
        own = signature["options"]
        args = list(signature["args"]) if signature["immutable"] else [*args, *signature["args"]]
        options = {**own, **options}
        delays: dict[str, Any] = {name: options.pop(name) for name in ("countdown", "eta") if name in options}
        links = {name: listed(options.pop(name, None)) for name in ("link", "link_error")}
        task_id, parent = options.pop("task_id", None), options.pop("parent_id", None)
        body = signature["kwargs"]["body"]
        body["options"] = merged(body, options)
        for name, signatures in links.items():
            for each in signatures:
                add_link(body, each, name)
        group = signature["kwargs"]["header"]["options"].get("task_id") or own.get("task_id") or self.new_id()
        root = body["options"].get("root_id")
        if kind_of(body) == "chain":
            body["kwargs"]["tasks"] = without_long_bodies(members_of(body))
        found = self.freeze(body, task_id=task_id or self.new_id(), group_id=group, root_id=root)
        strip_headers(body)
        for name in ("chain", "chord", "group_id", "group_index"):
            options.pop(name, None)
        members = [each for _, each in self._flat(header_of(signature))]
        for index, each in enumerate(members):
            self.freeze(each, group_id=group, chord=body, root_id=root, group_index=index)
        if not members:
            self._apply(body, [[]], {"parent_id": parent} if parent else {})
            return found
        passed: dict[str, Any] = {**options, **delays, "task_id": group, "chord": body, "parent_id": parent}
        self._group(group_of(members), args, passed, is_header=True)
        return found

    # --- ids ---------------------------------------------------------------------------------------------------------

    def freeze(
        self,
        signature: Signature,
        *,
        task_id: str | None = None,
        group_id: str | None = None,
        chord: Signature | None = None,
        root_id: str | None = None,
        group_index: int | None = None,
    ) -> Outcome:
        """Give a signature, in place, the ids it lacks, and tell it of the group and chord that it is part of."""
        options = signature["options"]
        match kind_of(signature):
            case "chain":
                taken: dict[str, Any] = {name: None for name in NOT_FOR_THE_FIRST}
                taken |= {"task_id": options.get("task_id") or task_id, "group_id": group_id, "chord": chord}
                taken |= {"root_id": root_id, "group_index": group_index}
                steps, last = self._steps(members_of(signature), [], taken, is_sent=False)
                signature["kwargs"]["tasks"] = steps[::-1]
                options["task_id"] = last.id
                return last
            case "group":
                return self._freeze_group(signature, group_id, chord, root_id, group_index)
            case "chord":
                return self._freeze_chord(signature, task_id, group_id, chord, root_id, group_index)
        options.setdefault("task_id", task_id or self.new_id())
        placed(options, group_id, chord, root_id, group_index)
        return Outcome(options["task_id"])

    def _freeze_group(
        self,
        signature: Signature,
        group_id: str | None,
        chord: Signature | None,
        root_id: str | None,
        index: int | None,
    ) -> Outcome:
        options = signature["options"]
        gid = options.setdefault("task_id", self.new_id())
        root_id = options.setdefault("root_id", root_id)
        placed(options, None, chord, root_id, index)
        if group_id:
            options["group_id"] = group_id
        members = [each for _, each in self._flat(members_of(signature))]
        signature["kwargs"]["tasks"] = members
        found = [
            self.freeze(each, group_id=group_id, chord=chord, root_id=root_id, group_index=place)
            for place, each in enumerate(members)
        ]
        return Outcome(gid, found)

    def _freeze_chord(
        self, signature: Signature, task_id: str | None, group_id: str | None, chord: Signature | None,
        root_id: str | None, index: int | None,
    ) -> Outcome:  # fmt: skip
        body = signature["kwargs"]["body"]
        result = self.freeze(signature["kwargs"]["header"], chord=body, root_id=root_id)
        signature["options"]["task_id"] = result.id
        return self.freeze(body, task_id=task_id, root_id=root_id, chord=chord, group_id=group_id, group_index=index)
