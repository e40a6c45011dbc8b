"""What follows the end of a task that came by Celery's wire, by what its message embeds. Pure.

On success its callbacks are sent, with its value before their own arguments, then the next step of its chain; on
failure all that is left of the chain fails with it, and its errbacks are sent. If it is a part of a chord, its value or
its error comes in there; when that completes the chord, ``complete`` says what follows in turn.

Which errback is given what: an errback of the new form (it takes more than one argument more) is given ``request`` (the
failed call's headers, with ``args`` and ``kwargs``), ``error`` (see ``errors``) and ``traceback``; one of the old form,
or one not known here, the failed task's id. Celery calls those of the new form in the worker's own process; here they
are tasks like others, and so are run at least once.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from taskbus.celery_results.errors import chord_error, failure_of, stored_error
from taskbus.celery_results.hostile import decoding
from taskbus.celery_results.parts import Signature, group_of, kind_of, listed, terminals, whole
from taskbus.celery_results.port import Joined, Part
from taskbus.celery_results.signature import Call, Chord, Outcome, Sending
from taskbus.outcome import Failure, State

Embed = Mapping[str, Any]
TakesError = Callable[[str], bool]
"""Whether a task by that name is an errback of the new form."""


class Ending(NamedTuple):
    """How an attempt ended: as SUCCESS with a value, or as FAILURE, REVOKED or RETRY with a failure."""

    state: State
    value: Any = None
    failure: Failure | None = None


class Doomed(NamedTuple):
    """A task that never ran, and never will: its document says FAILURE. ``headers`` are as much as is known of it."""

    headers: Mapping[str, Any]
    failure: Failure


class Came(NamedTuple):
    """A part of a chord, with the body that the chord ends in, and the root of what it belongs to."""

    part: Part
    body: Signature
    root_id: str


@dataclass(slots=True)
class Following:
    """All that follows: to be recorded first, then told to the chords, then sent; ``children``: the results of that."""

    doomed: list[Doomed] = field(default_factory=list)
    chords: list[Chord] = field(default_factory=list)
    came: list[Came] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    children: list[Outcome] = field(default_factory=list)

    def take(self, sending: Sending) -> None:
        """What was sent follows too."""
        self.calls += sending.calls
        self.chords += sending.chords

    def add(self, more: "Following") -> None:
        self.doomed += more.doomed
        self.chords += more.chords
        self.came += more.came
        self.calls += more.calls


@decoding("a signature of Celery's")
def follow(
    headers: Mapping[str, Any],
    embed: Embed,
    ending: Ending,
    *,
    request: Mapping[str, Any] | None = None,
    takes_error: TakesError = lambda _: False,
) -> Following:
    """What follows this ending. ``request``: what an errback is told of the call. Raises ``DecodeError``.

    The same ending gives the same again, ids included.
    """
    match ending.state:
        case State.SUCCESS:
            return _succeeded(headers, embed, ending)
        case State.FAILURE if ending.failure is not None:
            return _failed(headers, embed, ending.failure, request or headers, takes_error)
        case State.REVOKED:
            following = Following()
            following.came += _part(headers, embed.get("chord"), ending)
            return following
    return Following()


@decoding("a signature of Celery's")
def complete(came: Came, joined: Joined, takes_error: TakesError = lambda _: False) -> Following:
    """What follows when all parts of a chord are in: its body, with their values, or its failure, with the first."""
    for task_id, state, result in joined.parts:
        if state in (State.FAILURE, State.REVOKED):
            original = failure_of(result)
            failure = chord_error(task_id, stored_error(original) if not isinstance(result, dict) else result)
            return chord_failed(came, failure, original, takes_error)
    values = joined.nested if joined.nested is not None else [result for _, _, result in joined.parts]
    following = Following()
    sending = Sending(f"{came.part.group}/body")
    sending.send(came.body, [values], **_given(came))
    following.take(sending)
    return following


def chord_failed(
    came: Came, failure: Failure, original: Failure | None = None, takes_error: TakesError = lambda _: False
) -> Following:
    """What follows when a chord's body will not run: it has failed, its errbacks are sent, what waits for it fails.

    ``original``: the error of the part that failed, which is that of the members where the body is a group.
    """
    following = Following()
    body = whole(came.body)
    is_group = kind_of(body) == "group"
    failure = original if is_group and original is not None else failure
    own = {"id": body["options"].get("task_id"), "task": body["task"]}
    ends = [_context(last) for last in terminals(body)]
    if own["id"] and all(own["id"] != end["id"] for end in ends):
        ends.insert(0, own)
    sending = Sending(f"{came.part.group}/failed")
    for end in ends:
        if end["id"]:
            following.doomed.append(Doomed({"id": end["id"], "task": end["task"]}, failure))
        following.came += _part(end, end.get("chord"), Ending(State.FAILURE, failure=failure))
    for sender, errbacks in _errbacks_of(body):
        _send_errbacks(sending, {**own, **sender, "root_id": came.root_id}, errbacks, failure, takes_error)
    _fail_chain(following, listed(body["options"].get("chain")), failure, came.root_id)
    following.take(sending)
    return following


# --- by ending -------------------------------------------------------------------------------------------------------


def _succeeded(headers: Mapping[str, Any], embed: Embed, ending: Ending) -> Following:
    following = Following()
    sending = Sending(headers["id"])
    given = {"parent_id": headers["id"], "root_id": headers.get("root_id") or headers["id"]}
    callbacks, value = listed(embed.get("callbacks")), [ending.value]
    alone, together = callbacks, []
    if len(callbacks) > 1:
        alone = [each for each in callbacks if kind_of(each) == "group"]
        together = [each for each in callbacks if kind_of(each) != "group"]
    following.children += [sending.send(each, value, **given) for each in alone]
    if together:
        following.children.append(sending.send(group_of(together), value, **given))
    chain = listed(embed.get("chain"))
    if chain:
        following.children.append(sending.send(chain[-1], value, chain=chain[:-1] or None, **given))
    following.take(sending)
    following.came += _part(headers, embed.get("chord"), ending)
    return following


def _failed(
    headers: Mapping[str, Any], embed: Embed, failure: Failure, request: Mapping[str, Any], takes_error: TakesError
) -> Following:
    following = Following()
    ending = Ending(State.FAILURE, failure=failure)
    following.came += _part(headers, embed.get("chord"), ending)
    _fail_chain(following, listed(embed.get("chain")), failure, headers.get("root_id") or headers["id"])
    sending = Sending(headers["id"])
    _send_errbacks(sending, request, listed(embed.get("errbacks")), failure, takes_error)
    following.take(sending)
    return following


def _fail_chain(following: Following, chain: Sequence[Mapping[str, Any]], failure: Failure, root_id: str) -> None:
    """Whatever waits in a chain behind what failed has failed too, and is told to the chords it is a part of."""
    waiting = [whole(each) for each in chain]
    while waiting:
        step = waiting.pop(0)
        context = {**_context(step), "root_id": root_id}
        if context["id"]:
            following.doomed.append(Doomed({name: context.get(name) for name in ("id", "task", "group")}, failure))
        following.came += _part(context, context.get("chord"), Ending(State.FAILURE, failure=failure))
        if kind_of(step) == "chord":
            waiting.append(step["kwargs"]["body"])


def _part(headers: Mapping[str, Any], body: Any, ending: Ending) -> list[Came]:
    """What comes in to a chord, if it is a part of one."""
    group, task_id = headers.get("group"), headers.get("id")
    if not body or not group or not task_id:
        return []
    result = ending.value if ending.failure is None else stored_error(ending.failure)
    part = Part(group, task_id, headers.get("group_index"), str(ending.state), result)
    return [Came(part, body, headers.get("root_id") or task_id)]


def _send_errbacks(
    sending: Sending,
    request: Mapping[str, Any],
    errbacks: Sequence[Mapping[str, Any]],
    failure: Failure,
    takes_error: TakesError,
) -> None:
    failed = request["id"]
    given = {"parent_id": failed, "root_id": request.get("root_id") or failed}
    told = [dict(request), stored_error(failure), failure.traceback]
    by_id = []
    for errback in errbacks:
        if takes_error(errback.get("task", "")):
            sending.send(errback, told, **given)
        else:
            by_id.append(dict(errback))
    if by_id:
        sending.send(group_of([whole(each) for each in by_id]), [failed], **given)


def _errbacks_of(body: Signature) -> list[tuple[Mapping[str, Any], list[Any]]]:
    """Whose failure errbacks are told of where a chord's body does not run, and which: its own, or each member's."""
    own = listed(body["options"].get("link_error"))
    match kind_of(body):
        case "group":
            told: list[tuple[Mapping[str, Any], list[Any]]] = []
            for member in map(_context, terminals(body)):
                errbacks = member["errbacks"]
                told.append((member, [*errbacks, *(each for each in own if each not in errbacks)]))
            return told
        case "chord":
            return [({}, own), *_errbacks_of(body["kwargs"]["body"])] if own else _errbacks_of(body["kwargs"]["body"])
    return [({}, own)] if own else []


def _context(signature: Signature) -> dict[str, Any]:
    """Of a task that was not sent yet, what the headers of its message would say."""
    options = signature["options"]
    return {
        "id": options.get("task_id"),
        "task": signature["task"],
        "group": options.get("group_id"),
        "group_index": options.get("group_index"),
        "root_id": options.get("root_id"),
        "chord": options.get("chord"),
        "errbacks": listed(options.get("link_error")),
    }


def _given(came: Came) -> dict[str, Any]:
    """The task that completed a chord is the parent of its body."""
    root = (came.body.get("options") or {}).get("root_id") or came.root_id
    return {"parent_id": came.part.task_id, "root_id": root}
