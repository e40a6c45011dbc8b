"""The first look at a delivery, before any runner sees it: what cannot or must not run is decided here."""

import time
from collections.abc import Mapping
from dataclasses import replace

from taskbus.broker.delivery import Act, Delivery, Settlement
from taskbus.config import Config
from taskbus.errors import DecodeError
from taskbus.message import FLOW, FOR_CELERY, Message
from taskbus.outcome import Dead, Failure, Reason
from taskbus.wire import celery, formats
from taskbus.worker.options import TaskSpec
from taskbus.worker.settlement import HELD_SINCE, Ended, Held, crash_failure, hold

HOLD_FOR = 5.0
"""Seconds after which a message of an unknown task is looked at again."""
EARLY = 0.005
"""Seconds before its time at which a message may start: giving it back would take as long."""


class Intake:
    """Sorts deliveries: to be run, or ended without a run. Nothing is dropped, whatever the bytes are."""

    def __init__(self, specs: Mapping[str, TaskSpec], config: Config) -> None:
        self._specs = specs
        self._config = config
        self._unread = TaskSpec(store_results=False)

    def look(self, delivery: Delivery, now: float) -> Held | Ended | Settlement:
        """``Held``: run it. ``Ended``: settle it as that. ``Settlement``: give it back so. ``now`` is the broker's."""
        config = self._config
        if delivery.content_type not in formats.READ:
            why = f"content type {delivery.content_type!r} is not one of {' and '.join(formats.READ)}"
            return self._unreadable(delivery, Reason.UNDECODABLE, why)
        if len(delivery.wire) > config.max_message_bytes:
            why = f"{len(delivery.wire)} bytes, more than max_message_bytes={config.max_message_bytes}"
            return self._unreadable(delivery, Reason.TOO_LARGE, why)
        try:
            message = formats.decode(delivery.wire, delivery.queue, delivery.priority, config.max_message_bytes)
        except DecodeError as error:
            return self._unreadable(delivery, Reason.UNDECODABLE, str(error))
        spec = self._specs.get(message.task)
        if spec is None and FOR_CELERY in message.headers:
            spec = self._unread
        if message.celery is not None:
            message, spec = _of_celery(message, spec, now)
        if (delivery.crashes or delivery.losses) and (failure := self._poison(delivery, message, spec)):
            return Ended(Held(delivery, message, spec or self._unread), Dead(Reason.POISON, failure))
        if message.expires_at is not None and message.expires_at <= now:
            why = f"not started before {message.expires_at:.3f}; {now - message.expires_at:.3f} s late"
            failure = Failure("taskbus.errors.TaskExpired", why)
            return Ended(Held(delivery, message, spec or self._unread), Dead(Reason.EXPIRED, failure))
        if message.celery is not None and message.due_at is not None and message.due_at > now + EARLY:
            return Settlement(delivery, Act.RELEASE, message.due_at - now)
        if spec is None:
            return self._unknown(delivery, message, now)
        held = Held(delivery, message, spec)
        if message.expires_at is not None:
            held.start_by = time.monotonic() + message.expires_at - now
        return held

    def _poison(self, delivery: Delivery, message: Message, spec: TaskSpec | None) -> Failure | None:
        """What is to be said of one that came back too often; None while it may be run."""
        if delivery.crashes >= self._config.max_crashes:
            return crash_failure(delivery.crashes, "an earlier delivery")
        if delivery.losses >= self._config.max_losses:
            return Failure("taskbus.worker.WorkerDied", f"its worker died {delivery.losses} times while holding it")
        if spec is not None and spec.at_most_once and FLOW in message.headers:
            # Only in flows do these come back: elsewhere they are off their queue before they run.
            return Failure("taskbus.worker.WorkerDied", "its worker died while holding it, and it runs at most once")
        return None

    def _unreadable(self, delivery: Delivery, reason: Reason, why: str) -> Ended:
        failure = Failure("taskbus.errors.DecodeError", why)
        return Ended(Held(delivery, None, self._unread), Dead(reason, failure))

    def _unknown(self, delivery: Delivery, message: Message, now: float) -> Ended | Settlement:
        """Wait for a worker that knows the task (a deploy may be rolling), then bury the message."""
        held = Held(delivery, message, TaskSpec(store_results=self._config.store_results))
        grace = self._config.unknown_task_grace
        waited = now - _instant(message.headers.get(HELD_SINCE), now)
        if waited < grace:
            return hold(held, now, min(HOLD_FOR, grace - waited))
        why = f"no worker knew task {message.task!r} for {grace:g} s; known here: {_some(self._specs)}"
        return Ended(held, Dead(Reason.UNKNOWN_TASK, Failure("taskbus.errors.UnknownTask", why)))


def _of_celery(message: Message, spec: TaskSpec | None, now: float) -> tuple[Message, TaskSpec | None]:
    """A call of Celery's, sent now as far as anyone knows, and its task with what the call says of it."""
    if not message.sent_at:
        message = message._replace(sent_at=now)
    if spec is None:
        return message, None
    hard, _ = celery.limits_of(message)
    if hard is not None:
        spec = replace(spec, time_limit=hard)
    if celery.is_result_ignored(message):
        spec = replace(spec, store_results=False)
    return message, spec


def _instant(text: str | None, otherwise: float) -> float:
    try:
        return otherwise if text is None else float(text)
    except ValueError:
        return otherwise


def _some(specs: Mapping[str, TaskSpec]) -> str:
    names = sorted(specs)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "") if names else "none"
