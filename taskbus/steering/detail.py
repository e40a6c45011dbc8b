"""What is known of a task as a page or a terminal shows it: one row, its attempts, and how to send it again."""

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from taskbus import codec
from taskbus.errors import CodecError, DecodeError
from taskbus.message import SCHEDULE, Message
from taskbus.monitor.report import Progress, TaskRecord
from taskbus.outcome import Failure, Reason, State
from taskbus.steering.letters import call_of
from taskbus.steering.tracing import Trace, flow_of
from taskbus.store.base import DeadLetter, FailedAttempt

Show = Callable[[Message], tuple[str, str]]
"""Positional and keyword arguments of a message as texts for people, without secrets."""
LONGEST = 4096
"""Characters of a call that is offered to be copied; a longer one stands in its dead letter."""


@dataclass(frozen=True, slots=True)
class Row:
    """How a task stands, in one line. Instants are Unix seconds, None where nothing is known; durations seconds."""

    id: str
    task: str
    queue: str
    state: str
    attempt: int = 1
    sent_at: float | None = None
    started_at: float | None = None
    ended_at: float | None = None
    waited: float | None = None
    ran_for: float | None = None
    worker: str = ""
    args: str = ""
    kwargs: str = ""
    error: str = ""
    message: str = ""
    weight: int = 1
    flow: str = ""
    schedule: str = ""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt. ``retry_in``: seconds until the next one, of one that is tried again."""

    attempt: int
    state: str
    queued_at: float | None = None
    started_at: float | None = None
    ended_at: float | None = None
    waited: float | None = None
    ran_for: float | None = None
    retry_in: float | None = None
    worker: str = ""
    pid: int = 0
    error: str = ""
    message: str = ""
    traceback: str = ""
    logs: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Detail:
    """All of it. ``python`` and ``cli`` are a call as text, "" where the arguments are not known in full."""

    row: Row
    attempts: Sequence[Attempt]
    result: str | None
    traceback: str
    logs: Sequence[str]
    progress: Progress | None
    trace: str
    parent: str
    flow: str
    is_dead_letter: bool
    is_running: bool
    is_waiting: bool
    priority: int
    due_at: float | None
    python: str
    cli: str


def detail(found: Trace, show: Show) -> Detail:
    """The same as a page shows it."""
    record, message, running = found.record, found.message, found.running
    attempts = attempts_of(found)
    last = attempts[-1] if attempts else None
    args, kwargs = show(message) if message is not None else (record.args, record.kwargs) if record else ("", "")
    python, cli = again(message) if message is not None else ("", "")
    return Detail(
        row=_row(found, last, args, kwargs),
        attempts=attempts,
        result=_result(found),
        traceback=last.traceback if last is not None else "",
        logs=last.logs if last is not None else (),
        progress=Progress(*running.running.progress) if running is not None and running.running.progress else None,
        trace=record.trace if record is not None else "",
        parent=record.parent if record is not None else "",
        flow=flow_of(found),
        is_dead_letter=found.letter is not None,
        is_running=running is not None,
        is_waiting=found.waiting is not None,
        priority=message.priority if message is not None else record.priority if record is not None else 0,
        due_at=found.waiting.due_at if found.waiting is not None else None,
        python=python,
        cli=cli,
    )


def _row(found: Trace, last: Attempt | None, args: str, kwargs: str) -> Row:
    record, stored, letter, message = found.record, found.stored, found.letter, found.message
    running = found.running.running if found.running is not None else None
    sources: list[Any] = [each for each in (running, message, letter, record, stored) if each is not None]
    task, queue = (
        next((value for each in sources if (value := getattr(each, name, ""))), "") for name in ("task", "queue")
    )
    sent_at = message.sent_at if message is not None else record.sent_at if record is not None else 0.0
    schedule = record.schedule if record is not None else ""
    return Row(
        id=found.id,
        task=task,
        queue=queue,
        state=state_of(found),
        attempt=max([each.attempt for each in sources if hasattr(each, "attempt")], default=1),
        sent_at=sent_at or None,
        started_at=last.started_at if last is not None else (stored.started_at or None) if stored is not None else None,
        ended_at=last.ended_at if last is not None else (stored.finished_at or None) if stored is not None else None,
        waited=last.waited if last is not None else None,
        ran_for=last.ran_for if last is not None else _ran_for(stored),
        worker=last.worker if last is not None else "",
        args=args,
        kwargs=kwargs,
        error=last.error if last is not None else "",
        message=last.message if last is not None else "",
        weight=record.weight if record is not None else 1,
        flow=flow_of(found),
        schedule=schedule or (message.headers.get(SCHEDULE, "") if message is not None else ""),
    )


def _ran_for(stored: Any) -> float | None:
    return stored.finished_at - stored.started_at if stored is not None and stored.started_at else None


def state_of(found: Trace) -> str:
    """The one state of all that is known: what runs or waits now counts before what ended before it."""
    if found.running is not None:
        return State.STARTED
    if found.waiting is not None:
        return State.PENDING if found.waiting.attempt == 1 else State.RETRY
    if found.letter is not None:
        return letter_state(found.letter)
    if found.stored is not None and found.stored.state.is_final:
        expired = found.record is not None and found.record.state == "EXPIRED"
        return "EXPIRED" if expired and found.stored.state is State.REVOKED else found.stored.state
    if found.record is not None:
        return found.record.state
    return found.stored.state if found.stored is not None else State.PENDING


def letter_state(letter: DeadLetter) -> str:
    """What the record of a dead task calls it."""
    return {Reason.EXPIRED: "EXPIRED", Reason.REJECTED: "REJECTED"}.get(letter.reason, str(State.FAILURE))


def attempts_of(found: Trace) -> list[Attempt]:
    """Its attempts in their order: those that are remembered, those that failed, and the one that runs."""
    by_number = {each.attempt: _failed(each) for each in found.failed}
    by_number |= {each.attempt: _recorded(each) for each in found.records}
    if found.letter is not None and found.letter.attempt not in by_number:
        by_number[found.letter.attempt] = _buried(found.letter)
    if found.running is not None:
        seen, running = found.running
        by_number[running.attempt] = Attempt(
            running.attempt, State.STARTED, started_at=running.since, worker=seen.name, pid=running.pid
        )
    return [by_number[number] for number in sorted(by_number)]


def _recorded(record: TaskRecord) -> Attempt:
    queued_at = max(record.sent_at, record.due_at)
    started_at = record.started_at or None
    return Attempt(
        record.attempt, record.state, queued_at or None, started_at, record.ended_at or None,
        max(0.0, record.started_at - queued_at) if started_at and queued_at else None,
        record.ran_for if started_at else None, record.retry_in if record.state == State.RETRY else None,
        record.worker, record.pid, record.error, record.message, record.traceback, record.logs,
    )  # fmt: skip


def _failed(attempt: FailedAttempt) -> Attempt:
    error, message, traceback = _told(attempt.failure)
    return Attempt(
        attempt.attempt, State.FAILURE, started_at=attempt.started_at, ended_at=attempt.finished_at,
        ran_for=max(0.0, attempt.finished_at - attempt.started_at), worker=attempt.worker, error=error,
        message=message, traceback=traceback,
    )  # fmt: skip


def _buried(letter: DeadLetter) -> Attempt:
    error, message, traceback = _told(letter.failure)
    return Attempt(
        letter.attempt, letter_state(letter), ended_at=letter.dead_at, error=error, message=message, traceback=traceback
    )


def _told(failure: Failure) -> tuple[str, str, str]:
    return failure.type, failure.message, failure.traceback


def _result(found: Trace) -> str | None:
    stored = found.stored
    if stored is not None and stored.value is not None:
        try:
            return repr(codec.decode(stored.value, stored.content_type))[:LONGEST]
        except CodecError as error:
            return f"<{len(stored.value)} bytes that cannot be read: {error}>"
    return found.record.result or None if found.record is not None else None


# --- to send it again ------------------------------------------------------------------------------------------------


Clear = Callable[[str, Sequence[Any], Mapping[str, Any]], tuple[Sequence[Any], Mapping[str, Any]]]
"""The arguments of a task of that name without secrets."""


def again(message: Message, clear: Clear | None = None) -> tuple[str, str]:
    """The call in Python, and for a shell; "" where its arguments cannot be read, or written so that they come back."""
    try:
        args, kwargs = call_of(message)
    except DecodeError:
        return "", ""
    shown = (args, kwargs) if clear is None else clear(message.task, args, kwargs)
    return _short(_python(message, *shown)), _short(_shell(message, *shown))


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else ""


def _python(message: Message, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    parts = [repr(message.task), repr(list(args))]
    parts += [repr(dict(kwargs))] if kwargs else []
    parts += [f"queue={message.queue!r}"] + ([f"priority={message.priority}"] if message.priority else [])
    return f"app.send({', '.join(parts)})"


def _shell(message: Message, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    words = [_word(value) for value in args]
    words += [f"{name}={_word(value)}" for name, value in kwargs.items() if name.isidentifier() and _word(value)]
    if not all(words) or len(words) < len(args) + len(kwargs):
        return ""
    options = ["-Q", message.queue, *(["--priority", str(message.priority)] if message.priority else [])]
    return shlex.join(["taskbus", "call", *options, "--", message.task, *words])


def _word(value: Any) -> str:
    """A value as JSON; "" for one that would come back as another, such as a date."""
    try:
        word = json.dumps(value, allow_nan=False)
        return word if json.loads(word) == value else ""
    except (TypeError, ValueError, RecursionError):
        return ""
