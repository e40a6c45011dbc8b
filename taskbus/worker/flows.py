"""Tasks of flows, before they are run and after: whether each still is to run, what it is given, what it makes ready.

What a flow is, and how it goes on when a task ends, is the store's business (``store.flows``); here it is only asked.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

from taskbus.broker.delivery import Record, Settlement
from taskbus.codec.limits import MAX_DEPTH
from taskbus.errors import DecodeError, StoreError
from taskbus.failpoint import failpoint
from taskbus.message import COPY, Recorded, Sealed, another_copy
from taskbus.outcome import Dead, Failure, Reason, Released, Revoked
from taskbus.store.flows import Begun, EndNode, Inputs, Kept, NodeState, Start, Verdict
from taskbus.wire import compact
from taskbus.worker.runner.protocol import MAX_FRAME
from taskbus.worker.settlement import Ended, Held
from taskbus.worker.telling import fields_of

logger = logging.getLogger(__name__)

Looked = Held | Ended | Settlement
Begin = Callable[[Sequence[Start]], Sequence[Begun]]

BACK_FOR = 1.0
"""Seconds until a task is looked at again that could not be begun."""
MAX_GIVEN = MAX_FRAME - (1 << 20)
"""Bytes of a message and what its flow gives it: they travel to the runner in one frame."""
NONE = b"\xc0"
"""None as msgpack."""


class Flows:
    """Begins the tasks of flows among what has come, all by one call of ``begin`` (the store's).

    ``shared``: broker and store are one database.
    """

    def __init__(self, begin: Begin, *, shared: bool) -> None:
        self._begin = begin
        self._shared = shared
        self._is_failing = False

    def look(self, looked: list[Looked], now: float) -> list[Looked]:
        """What was ``looked`` at, with a second look at what is to be run for a flow. ``now`` is the broker's.

        Nothing is asked where nothing belongs to a flow. Where the store cannot be asked, its tasks are given back.
        """
        members = [each for each in looked if type(each) is Held and each.flow]
        if not members:
            return looked
        answers = iter(self._begun(members, now))
        return [next(answers) if type(each) is Held and each.flow else each for each in looked]

    def _begun(self, members: Sequence[Held], now: float) -> list[Looked]:
        try:
            begun = self._begin([_start(held, now) for held in members])
        except StoreError as error:
            if not self._is_failing:
                logger.warning("tasks of workflows wait, their store cannot be used: %s", error)
            self._is_failing = True
            return [Ended(held, Released(BACK_FOR)) for held in members]
        self._is_failing = False
        failpoint("flow.begun")
        return [self._answer(held, each, now) for held, each in zip(members, begun, strict=True)]

    def _answer(self, held: Held, begun: Begun, now: float) -> Looked:
        """What is to become of a task of which the store says this."""
        match begun.verdict:
            case Verdict.RUN:
                return held if begun.inputs is None else _given(held, begun.inputs)
            case Verdict.ENDED if self._shared:  # what it made ready was published by the step that ended it
                return Settlement(held.delivery)
            case Verdict.ENDED:  # it changes nothing any more, but what it made ready may not have been published
                return Settlement(held.delivery, changes=[EndNode(held.flow, _id(held), NodeState.SKIPPED, now)])
            case Verdict.DUPLICATE:
                return Settlement(held.delivery)
            case Verdict.REVOKED:
                return Ended(held, Revoked(Failure("taskbus.errors.TaskRevoked", "its workflow was cancelled")))
            case Verdict.UNKNOWN:
                return _forgotten(held)


def _id(held: Held) -> str:
    assert held.message is not None
    return held.message.id


def _start(held: Held, now: float) -> Start:
    assert held.message is not None
    return Start(held.flow, held.message.id, held.message.headers.get(COPY, ""), now)


def _forgotten(held: Held) -> Settlement:
    """All of its flow had ended before the flow was forgotten, so this can only be a message that came twice."""
    name = held.message and f"{held.message.task} {held.message.id}"
    logger.warning(
        "%s is dropped: the store knows nothing of its workflow %s (any more)", name, held.flow, extra=fields_of(held)
    )
    return Settlement(held.delivery)


def _given(held: Held, inputs: Inputs) -> Looked:
    """The task with what it is given; ended, where that is more than can be handed to it."""
    size, depth = measured(inputs)
    room = MAX_GIVEN - len(held.delivery.wire)
    if size > room:
        why = f"its workflow gives it {size} bytes, more than {room}; return where things are, not the things"
        return Ended(held, Dead(Reason.TOO_LARGE, Failure("taskbus.errors.DecodeError", why)))
    if depth > MAX_DEPTH:
        why = f"its workflow gives it lists nested deeper than {MAX_DEPTH} levels"
        return Ended(held, Dead(Reason.BAD_ARGUMENTS, Failure("taskbus.errors.DecodeError", why)))
    held.inputs = plain(inputs)
    return held


def plain(inputs: Inputs) -> Any:
    """Inputs as a job carries them: see ``runner.protocol``. What was skipped, or kept no value, is None."""
    if not isinstance(inputs, Kept):
        return [[plain(each) for each in inputs]]
    if inputs.state in (NodeState.FAILURE, NodeState.REVOKED):
        failure = inputs.failure or Failure("taskbus.errors.TaskRevoked", "it was called off")
        return [inputs.node, inputs.task, failure.type, failure.message]
    if inputs.state is not NodeState.SUCCESS or not inputs.value:
        return NONE
    return inputs.value if inputs.content_type == "msgpack" else [inputs.content_type, inputs.value]


def measured(inputs: Inputs) -> tuple[int, int]:
    """How many bytes inputs take at most, and how many lists are around the innermost values."""
    size = deepest = 0
    waiting: list[tuple[Inputs, int]] = [(inputs, 0)]
    while waiting:
        each, depth = waiting.pop()
        deepest = max(deepest, depth)
        size += 16
        if not isinstance(each, Kept):
            waiting += [(inner, depth + 1) for inner in each]
        elif each.failure is None:
            size += len(each.value) + len(each.content_type)
        else:
            size += 4 * sum(map(len, (each.node, each.task, each.failure.type, each.failure.message)))
    return size, deepest


def stamped(apply: Record) -> Record:
    """``apply``, for a store whose database is not the broker's: what becomes ready is told apart from its copies.

    There the record comes before the publish, so that after a crash between them it is published once more; only one
    of the copies may run.
    """

    def record(changes: Sequence[Any], transaction: Any) -> Recorded | None:
        recorded = apply(changes, transaction)
        failpoint("flow.recorded")
        return recorded and recorded._replace(ready=[_stamped(each) for each in recorded.ready])

    return record


def _stamped(sealed: Sealed) -> Sealed:
    try:
        message = compact.decode(sealed.wire, sealed.queue, sealed.priority, len(sealed.wire))
    except DecodeError as error:
        logger.error("a workflow holds what is no message: %s", error)
        return sealed
    return sealed._replace(wire=compact.encode(message._replace(headers=another_copy(message.headers))))
