"""Looking for tasks: in the history where there is one, and among what runs, waits, or died."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice
from typing import Any

from taskbus.app import TaskBus
from taskbus.errors import BrokerError, CodecError
from taskbus.history.history import History
from taskbus.history.shapes import TaskRow
from taskbus.message import FLOW, SCHEDULE, Message
from taskbus.outcome import State
from taskbus.steering.detail import Row, letter_state
from taskbus.steering.letters import dead_letters_of
from taskbus.steering.showing import Showing
from taskbus.steering.tracing import PEEKED, message_of, running_tasks
from taskbus.store.base import DeadLetter
from taskbus.store.filters import TaskFilter
from taskbus.store.reports import ReportStore
from taskbus.store.where import parse_tasks
from taskbus.wire import formats

MOST_LETTERS = 10_000
"""Dead letters that are looked through where there is no history."""
RUNNING, WAITING = (str(State.STARTED),), (str(State.PENDING),)


@dataclass(frozen=True, slots=True)
class Found:
    """Some of the tasks that match. ``next``: hand it over as ``after`` for those behind; None at the end.

    ``count``: how many match, or as many as were counted if ``is_capped``. ``note``: what was not looked at.
    """

    rows: Sequence[Row]
    next: str | None = None
    count: int = 0
    is_capped: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class Places:
    """Where to look; None: there is no such place. ``showing``: what people see of it."""

    app: TaskBus
    showing: Showing
    reports: ReportStore | None = None
    history: History | None = None


def search(places: Places, where: str, *, sort: str = "newest", limit: int = 50, after: str | None = None) -> Found:
    """The tasks that a filter means, a page at a time.

    ``state:started`` are those that run, ``state:pending`` those that wait in queues; they are asked of workers and
    broker. All others are asked of the history; without one, of the dead letters. Raises ``ConfigError`` for a filter,
    ``sort`` or ``after`` that cannot be read.
    """
    wanted = parse_tasks(where, places.app.clock())
    states = tuple(wanted.states)
    if states == RUNNING:
        return _page(_running(places, wanted), limit, "workers tell of 200 running attempts each")
    if states == WAITING:
        return _page(
            _waiting(places, wanted), limit, f"the first {PEEKED:,} messages of each queue were looked through"
        )
    if places.history is not None:
        return _remembered(places.history, wanted, sort, limit, after)
    letters = islice(dead_letters_of(places.app).list(), MOST_LETTERS)
    rows = (row for row in (letter_row(letter, places.showing) for letter in letters) if fits(row, wanted))
    return _page(rows, limit, "there is no history: these are dead letters alone")


def _remembered(history: History, wanted: TaskFilter, sort: str, limit: int, after: str | None) -> Found:
    page = history.tasks(wanted, sort=sort, limit=limit, after=after or None)
    counted = history.count_tasks(wanted)
    return Found([row_of(each) for each in page.rows], page.next, counted.count, counted.is_capped, page.note)


def row_of(record: TaskRow) -> Row:
    """A record of the history as a row."""
    return Row(
        id=record.id,
        task=record.task,
        queue=record.queue,
        state=record.state,
        attempt=record.attempt,
        sent_at=record.sent_at or None,
        started_at=record.started_at or None,
        ended_at=record.ended_at or None,
        waited=record.waited if record.started_at else None,
        ran_for=record.ran_for if record.started_at else None,
        worker=record.worker,
        args=record.args,
        kwargs=record.kwargs,
        error=record.error,
        message=record.message,
        weight=record.weight,
        flow=record.flow,
        schedule=record.schedule,
    )


def letter_row(letter: DeadLetter, showing: Showing) -> Row:
    """A dead letter as a row."""
    message = message_of(letter)
    args, kwargs = showing.call(message) if message is not None else ("", "")
    last = letter.attempts[-1] if letter.attempts else None
    return Row(
        id=letter.task_id,
        task=letter.task,
        queue=letter.queue,
        state=letter_state(letter),
        attempt=letter.attempt,
        sent_at=letter.sent_at or None,
        started_at=last.started_at if last is not None else None,
        ended_at=letter.dead_at,
        ran_for=max(0.0, last.finished_at - last.started_at) if last is not None else None,
        worker=last.worker if last is not None else "",
        args=args,
        kwargs=kwargs,
        error=letter.failure.type,
        message=showing.text(letter.failure.message, showing.secrets([message])),
        flow=message.headers.get(FLOW, "") if message is not None else "",
        schedule=message.headers.get(SCHEDULE, "") if message is not None else "",
    )


def _running(places: Places, wanted: TaskFilter) -> Iterator[Row]:
    now = places.app.clock()
    for seen, running in running_tasks(places.reports, now) if places.reports is not None else ():
        row = Row(
            running.id, running.task, running.queue, State.STARTED, running.attempt, started_at=running.since,
            ran_for=max(0.0, now - running.since), worker=seen.name, flow=running.flow,
        )  # fmt: skip
        if fits(row, wanted):
            yield row


def _waiting(places: Places, wanted: TaskFilter) -> Iterator[Row]:
    broker = places.app.broker
    if not broker.features.lists:
        raise BrokerError("this broker shows nothing that waits without taking it; ask about one queue: queues peek")
    for size in broker.queues():
        if not (size.ready or size.delayed) or not _meets(size.name, wanted.queue):
            continue
        for delivery in broker.peek(size.name, PEEKED):
            try:
                message = formats.decode(delivery.wire, size.name, delivery.priority, max(1, len(delivery.wire)))
            except CodecError:
                continue
            row = waiting_row(message, places.showing)
            if fits(row, wanted):
                yield row


def waiting_row(message: Message, showing: Showing) -> Row:
    """A message that waits as a row."""
    args, kwargs = showing.call(message)
    return Row(
        message.id, message.task, message.queue, State.PENDING, message.attempt, sent_at=message.sent_at or None,
        args=args, kwargs=kwargs, flow=message.headers.get(FLOW, ""), schedule=message.headers.get(SCHEDULE, ""),
    )  # fmt: skip


def _page(rows: Iterable[Row], limit: int, note: str) -> Found:
    found = list(islice(rows, limit + 1))
    return Found(found[:limit], None, min(len(found), limit), len(found) > limit, note)


def fits(row: Row, where: TaskFilter) -> bool:
    """Whether a row is one that the filter means, as the history's own search would say."""
    at = row.ended_at or row.started_at or row.sent_at
    patterns = ((row.task, where.task), (row.queue, where.queue), (row.worker, where.worker))
    texts = ((row.message, where.text), (f"{row.args} {row.kwargs}", where.args))
    exact = ((row.flow, where.flow), (row.schedule, where.schedule))
    return (
        (not where.states or row.state in where.states)
        and (not where.ids or row.id in where.ids)
        and all(_meets(value, pattern) for value, pattern in (*patterns, *exact))
        and all(part is None or part in text for text, part in texts)
        and (where.error is None or row.error == where.error or row.error.endswith(f".{where.error}"))
        and _between(at, where.newer_than, where.older_than)
        and _between(row.ran_for, where.ran_over, where.ran_under)
        and _between(row.waited, where.waited_over, where.waited_under)
        and where.reason is None
        and where.parent is None
    )


def _meets(value: str, pattern: str | None) -> bool:
    return pattern is None or fnmatchcase(value, pattern)


def _between(value: Any, least: float | None, most: float | None) -> bool:
    if least is None and most is None:
        return True
    return value is not None and (least is None or value >= least) and (most is None or value <= most)
