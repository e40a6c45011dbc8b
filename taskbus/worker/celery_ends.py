"""The ends of tasks that came by Celery's wire: recorded where Celery looks, told to its chords, and followed up.

All of it is added to a settlement before that is done: what is recorded first may be recorded again, what is published
is published by the settlement itself, and only then is the delivery gone. So a crash anywhere between can only repeat.
What is sent has the ids that its signatures have, or ones derived from those of the task: a repeat has the same.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from taskbus import codec
from taskbus.broker.delivery import Act, Delivery, Settlement
from taskbus.celery_results.document import Call, Document, document, written
from taskbus.celery_results.follow import Came, Ending, Following, complete, follow
from taskbus.celery_results.port import CeleryResults, Joined
from taskbus.codec import celery as body_codec
from taskbus.errors import CodecError, StoreError
from taskbus.failpoint import failpoint
from taskbus.message import Message
from taskbus.outcome import Dead, Failure, Reason, Retrying, Revoked, State, Succeeded
from taskbus.store.base import Bury, SaveResult
from taskbus.wire import celery as wire
from taskbus.worker.celery_desk import CeleryDesk
from taskbus.worker.settlement import Ended, settlement
from taskbus.worker.telling import fields_of

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Extended:
    """A turn's settlements with what follows. ``bodies``: of chords, by place; they must be sent whatever happens."""

    settlements: list[Settlement]
    bodies: dict[int, list[Message]] = field(default_factory=dict)
    finished: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _End:
    """One end of a task of Celery's, and what is known of its call."""

    place: int
    ended: Ended
    message: Message
    ending: Ending
    embed: Mapping[str, Any]
    call: Call
    following: Following = field(default_factory=Following)
    more: list[Message] = field(default_factory=list)
    made: dict[str, Any] = field(default_factory=dict)


class CeleryEnds:
    """Adds to settlements what Celery expects of the end of a task."""

    def __init__(self, desk: CeleryDesk) -> None:
        self._desk = desk
        self._has_warned = False

    def extend(self, ended: Sequence[Ended], settlements: list[Settlement], now: float) -> Extended:
        """The settlements of ``ended`` (the first of ``settlements``), with what follows. ``now`` is the broker's.

        Raises ``StoreError`` where Celery's results cannot be reached: nothing may be settled then. It may be called
        again for the same.
        """
        extended = Extended(settlements)
        ends = [
            self._end(place, each, extended, now)
            for place, each in enumerate(ended)
            if each.held.message is not None and each.held.message.celery is not None
        ]
        found = [end for end in ends if end is not None]
        if found:
            self._record(found, extended, now)
        return extended

    # --- one end -----------------------------------------------------------------------------------------------------

    def _end(self, place: int, ended: Ended, extended: Extended, now: float) -> _End | None:
        """What follows an end. What cannot be sent or kept in Celery's JSON has failed for that, as with Celery."""
        message = ended.held.message
        assert message is not None and message.celery is not None
        try:
            return self._followed(place, ended, message, extended.settlements[place], now)
        except CodecError as error:
            if type(ended.outcome) is not Succeeded:  # its body cannot be read: there is nobody to tell
                bare = message._replace(body=b"[[], {}, {}]", content_type=body_codec.kind(body_codec.JSON))
                return self._followed(place, ended, bare, extended.settlements[place], now)
            logger.error("task %s %s has failed: %s", message.task, message.id, error, extra=fields_of(ended.held))
            failure = Failure(f"taskbus.errors.{type(error).__name__}", str(error))
            failed = ended._replace(outcome=Dead(Reason.BAD_RESULT, failure))
            extended.settlements[place] = settlement(failed, self._desk.worker, now, self._desk.config)
            return self._end(place, failed, extended, now)

    def _followed(self, place: int, ended: Ended, message: Message, settled: Settlement, now: float) -> _End | None:
        ending = ending_of(ended, settled)
        if ending is None:
            return None
        called = wire.call_of(message)
        assert called is not None
        args, kwargs = codec.decode(message.body, message.content_type)
        headers = {**called.headers, "retries": message.attempt - 1}
        call = Call(headers, args, kwargs, self._desk.worker, ended.held.delivery.queue)
        request = {**headers, "args": args, "kwargs": kwargs}
        following = follow(headers, called.embed, ending, request=request, takes_error=self._desk.takes_error)
        end = _End(place, ended, message, ending, called.embed, call, following)
        end.more += self._desk.messages(following, ended.held.delivery.queue, now)
        end.made = document(
            ending.state,
            call,
            value=ending.value,
            failure=ending.failure,
            children=following.children,
            at=now,
            is_extended=self._desk.is_extended,
        )
        if self._desk.results is not None:
            written(end.made)  # or it could not be kept
        return end

    # --- all ends of a turn ------------------------------------------------------------------------------------------

    def _record(self, ends: Sequence[_End], extended: Extended, now: float) -> None:
        results = self._desk.results
        if results is None:
            self._warn(ends)
        else:
            results.begin([chord for end in ends for chord in end.following.chords])
            results.save([each for end in ends for each in self._documents(end, now)])
            self._count(results, ends, extended, now)
            failpoint("celery.recorded")
        for end in ends:
            settled = extended.settlements[end.place]
            changes = settled.changes
            if results is not None:  # the result is Celery's, and is kept there alone
                changes = [change for change in changes if type(change) is not SaveResult]
            follow_ups = [*settled.follow_ups, *end.more]
            extended.settlements[end.place] = settled._replace(changes=changes, follow_ups=follow_ups)

    def _documents(self, end: _End, now: float) -> list[Document]:
        spec = end.ended.held.spec
        own = [Document(end.message.id, end.made, spec.result_ttl)] if spec.store_results else []
        return [*own, *self._desk.doomed(end.following.doomed, spec.result_ttl, now)]

    def _count(self, results: CeleryResults, ends: Sequence[_End], extended: Extended, now: float) -> None:
        """Tell the chords; what a complete one sends or fails may complete others."""
        waiting = [(end, came) for end in ends for came in end.following.came]
        while waiting:
            joined = results.parts([came.part for _, came in waiting])
            complete = [(*each, found) for each, found in zip(waiting, joined, strict=True) if found is not None]
            waiting = [
                (end, more)
                for end, came, found in complete
                for more in self._go_on(results, end, came, found, extended, now)
            ]

    def _go_on(
        self, results: CeleryResults, end: _End, came: Came, joined: Joined, extended: Extended, now: float
    ) -> list[Came]:
        """Send the body of a complete chord, or fail it; what comes in to other chords by that."""
        try:
            following = complete(came, joined, self._desk.takes_error)
            messages = self._desk.messages(following, end.ended.held.delivery.queue, now)
        except CodecError as error:
            logger.error("the body of chord %s is not sent, for it cannot be read: %s", came.part.group, error)
            extended.failed.append(came.part.group)
            return []
        (extended.failed if following.doomed else extended.finished).append(came.part.group)
        results.begin(following.chords)
        if following.doomed:
            results.save(self._desk.doomed(following.doomed, self._desk.config.result_ttl, now))
        end.more += messages
        extended.bodies.setdefault(end.place, []).extend(messages)
        return following.came

    def _warn(self, ends: Sequence[_End]) -> None:
        if not self._has_warned and any(end.following.came or end.following.chords for end in ends):
            self._has_warned = True
            logger.error("a chord of Celery's waits for ever: set celery_results to Celery's own result_backend")

    # --- afterwards --------------------------------------------------------------------------------------------------

    def settled(self, extended: Extended, stale: Iterable[Delivery]) -> list[Settlement]:
        """After all is settled, but for what is ``stale``: forget the chords that were gone on with.

        Returns what must still be sent: the bodies of chords that were claimed here by deliveries that are another
        worker's now. Nobody else will send them.
        """
        gone = {delivery.tag for delivery in stale}
        orphans = [
            Settlement(None, follow_ups=messages)
            for place, messages in extended.bodies.items()
            if messages and _tag(extended.settlements[place]) in gone
        ]
        if self._desk.results is not None and not orphans and (extended.finished or extended.failed):
            try:
                self._desk.results.finish(extended.finished)
                self._desk.results.fail(extended.failed)
            except StoreError as error:
                logger.warning("chords of Celery's that are done with are left to expire: %s", error)
        return orphans


def _tag(settled: Settlement) -> int:
    return -1 if settled.delivery is None else settled.delivery.tag


def ending_of(ended: Ended, settled: Settlement) -> Ending | None:
    """How an attempt ended in Celery's eyes; None: it has not, or is another worker's to end."""
    match ended.outcome:
        case Succeeded(result, content_type):
            return Ending(State.SUCCESS, None if result is None else codec.decode(result, content_type))
        case Retrying(_, failure):
            return Ending(State.RETRY, failure=failure)
        case Revoked(failure):
            return Ending(State.REVOKED, failure=failure)
    if settled.act is not Act.ACK:
        return None
    buried = next((change.letter for change in settled.changes if type(change) is Bury), None)
    if buried is None:
        return None
    state = State.REVOKED if buried.reason is Reason.EXPIRED else State.FAILURE
    return Ending(state, failure=buried.failure)
