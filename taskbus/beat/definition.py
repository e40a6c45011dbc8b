"""From a task's call and a timetable to a ``Schedule`` as it is kept; what cannot be is refused here, by its name."""

from typing import Any

from taskbus import codec
from taskbus.broker.broker import checked
from taskbus.errors import BadArguments, ConfigError, EncodeError, PayloadTooLarge
from taskbus.message import COPY, FLOW, NO_HEADERS, OWN_HEADERS, SCHEDULE, SCHEDULED_AT, Message, new_id
from taskbus.schedule.spec import to_text
from taskbus.schedule.timetable import Timetable
from taskbus.store.schedules import CatchUp, Origin, Overlap, Schedule
from taskbus.task import Task
from taskbus.wire.compact import encode
from taskbus.workflow.shape import OneCall, Shape
from taskbus.workflow.signature import Signature

MAX_NAME = 200
MAX_CATCH_UP = 10_000
DAY = 86_400.0
KEPT_TICKS, LEAST_KEPT, MOST_KEPT = 1000, 600.0, 400 * DAY
"""Ticks are kept for as long as so many of their intervals last, at least and at most for so many seconds."""
NO_ID = "-"
"""Stands for the id that each run will have."""


def define(
    name: str,
    call: Any,
    timetable: Timetable,
    *,
    now: float,
    catch_up: str = CatchUp.LATEST,
    max_catch_up: int = 100,
    overlap: str = Overlap.ALLOW,
    origin: Origin = Origin.STORE,
    owner: str = "",
) -> Schedule:
    """The schedule; raises ``ConfigError`` that names the field which cannot be. Nothing is connected to.

    ``call``: a task, or what ``task.s(...)`` makes of it.
    """
    _name(name)
    if not isinstance(timetable, Timetable):
        raise ConfigError(f"schedule {name!r}: {timetable!r} is no timetable; write cron('*/5 * * * *') or every(30)")
    task, args, kwargs, chosen = _call(name, call)
    try:
        task.arguments.check(args, kwargs)
        body = codec.encode_call(args, kwargs, task.serializer)
        message = Message(
            NO_ID, task.name, body, task.serializer, chosen.queue or task.queue,
            task.priority if chosen.priority is None else chosen.priority, headers=chosen.headers or NO_HEADERS,
        )  # fmt: skip
        checked(_fullest(message, name), task.application().config.max_message_bytes)
    except (BadArguments, EncodeError, PayloadTooLarge) as error:
        raise ConfigError(f"schedule {name!r}: its arguments do not fit: {error}") from error
    if type(max_catch_up) is not int or not 1 <= max_catch_up <= MAX_CATCH_UP:
        raise ConfigError(f"schedule {name!r}: max_catch_up={max_catch_up!r} is not a number from 1 to {MAX_CATCH_UP}")
    result_ttl = task.result_ttl if task.store_results else 0.0
    chosen_overlap = _word(name, "overlap", overlap, Overlap)
    if chosen_overlap is not Overlap.ALLOW and result_ttl <= 0:
        raise ConfigError(
            f"schedule {name!r}: overlap={overlap!r} needs to know when a run has ended, and task {task.name!r} keeps"
            " no results; give the task store_results=True"
        )
    return Schedule(
        name=name,
        task=task.name,
        wire=encode(message),
        queue=message.queue,
        priority=message.priority,
        timetable=to_text(timetable),
        catch_up=_word(name, "catch_up", catch_up, CatchUp),
        max_catch_up=max_catch_up,
        overlap=chosen_overlap,
        origin=origin,
        owner=owner,
        expires_in=chosen.expires_in or 0.0,
        result_ttl=result_ttl,
        keep_for=kept_for(timetable, now),
    )


def kept_for(timetable: Timetable, now: float) -> float:
    """Seconds for which the record of a tick is kept."""
    first = timetable.next_after(now, now)
    second = None if first is None else timetable.next_after(first, now)
    if first is None or second is None:
        return MOST_KEPT
    return min(max(KEPT_TICKS * (second - first), LEAST_KEPT), MOST_KEPT)


def _fullest(message: Message, name: str) -> Message:
    """The message as large as a run of it may become on its way."""
    more = {SCHEDULE: name, SCHEDULED_AT: repr(1e11 / 3), FLOW: new_id(), COPY: new_id()}
    return message._replace(id=new_id(), headers={**message.headers, **more})


def is_same(one: Schedule, other: Schedule) -> bool:
    """Whether two say the same; for how long ticks are kept depends on when it was asked."""
    return one._replace(keep_for=0.0) == other._replace(keep_for=0.0)


def _name(name: Any) -> None:
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME or not name.isprintable():
        raise ConfigError(f"schedule: name={name!r:.200} is not a text of 1 to {MAX_NAME} printable characters")


def _call(name: str, call: Any) -> Any:
    """Task, arguments and options of one call."""
    if isinstance(call, Task):
        call = Signature(call)
    if isinstance(call, Shape) and not isinstance(call, OneCall):
        raise ConfigError(
            f"schedule {name!r}: {call!r:.200} is a workflow, and a schedule sends one task; "
            "schedule a task that sends the workflow with .delay()"
        )
    if not isinstance(call, OneCall) or not isinstance(call.task, Task):
        raise ConfigError(f"schedule {name!r}: {call!r:.200} is no call of a task; write task.s(...)")
    if call.is_chunk or call.links:
        raise ConfigError(
            f"schedule {name!r}: a scheduled call has no chunks and no link; schedule a task that sends it"
        )
    chosen = call.chosen
    for field, value in (
        ("countdown", chosen.delay),
        ("eta", chosen.due_at),
        ("expires", chosen.expires_at),
        ("task_id", chosen.task_id),
    ):
        if value is not None:
            advice = "give seconds after each run's sending" if field == "expires" else "the timetable says when"
            raise ConfigError(f"schedule {name!r}: {field}={value!r} would be the same for every run; {advice}")
    for header in chosen.headers or ():
        if header.startswith(OWN_HEADERS):
            raise ConfigError(
                f"schedule {name!r}: headers that begin with {OWN_HEADERS!r} are TaskBus's own: {header!r}"
            )
    if chosen.expires_in is not None and chosen.expires_in <= 0:
        raise ConfigError(f"schedule {name!r}: expires={chosen.expires_in!r} is over at once; give seconds above zero")
    return call.task, call.args, call.kwargs, chosen


def _word(name: str, field: str, value: Any, words: Any) -> Any:
    try:
        return words(value)
    except ValueError:
        raise ConfigError(f"schedule {name!r}: {field}={value!r} is not one of {', '.join(words)}") from None
