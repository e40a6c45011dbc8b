"""Queues, exchanges and bindings as they are on the broker: made lazily, looked at without a trace, deleted whole."""

import time
from collections.abc import Iterable, Sequence
from typing import Any

from taskbus.broker.transports.amqp import frames
from taskbus.broker.transports.amqp.calls import NOT_FOUND, PRECONDITION_FAILED, Calls, Refused
from taskbus.broker.transports.amqp.letters import Letter
from taskbus.broker.transports.amqp.line import Line
from taskbus.broker.transports.amqp.naming import MAIN, Naming
from taskbus.broker.transports.envelope import EXCHANGE_TYPES
from taskbus.broker.transports.port import QueueCount
from taskbus.errors import BrokerError

REDECLARE_AFTER = 600.0
"""Seconds after which a delay queue in use is declared again, which is what keeps it from expiring."""


class Topology:
    """Asked over one line. It remembers what it declared, until told that something was missing (``forget``).

    ``twin``: asks the same broker over another line; what one has declared the other needs not. ``others``: RabbitMQ's
    names of queues for tasks that were there already with other arguments; ``counting``: those that Celery shares and
    somebody declared as quorum queues.
    """

    def __init__(self, line: Line, naming: Naming, twin: "Topology | None" = None) -> None:
        self.line = line
        self.naming = naming
        self.names: dict[str, None] = {}
        self.to_announce: list[Letter] = []
        self.others: set[str] = set() if twin is None else twin.others
        self.counting: set[str] = set() if twin is None else twin.counting
        self._declared: set[str] = set() if twin is None else twin._declared
        self._announced: set[str] = set()
        self._delays: dict[int, float] = {}
        self._has_news = False

    def forget(self, queue: str | None = None) -> None:
        """Something that was declared is gone."""
        if queue is None:
            self.others.clear()
            self._declared.clear()
            self._announced.clear()
            self._delays.clear()
            self._has_news = False
        else:
            self.others.discard(queue)
            self._declared.discard(queue)
            self._announced.discard(queue)

    # --- queues of tasks ---

    def present(self, name: str, level: str, until: float) -> str:
        """RabbitMQ's name of a level's queue, which is there."""
        full = self.naming.queue(name, level)
        if full not in self._declared:
            self._declare(name, full, None, until)
            self._declared.add(full)
            self.names.setdefault(name)
        return full

    def ensure(self, name: str, level: str, until: float) -> str:
        """The same, and the workers on the queue will know of it before what is published next."""
        full = self.present(name, level, until)
        if level != MAIN and full not in self._announced:
            self._announce(name, level, until)
            self._announced.add(full)
        return full

    def _declare(self, name: str, full: str, expires: float | None, until: float) -> None:
        """Declare a queue for tasks. One that is there with other arguments is used as it is."""
        if name in self.naming.celery_queues:
            self._declare_as_celery(name, until)
            return
        calls = self.line.calls(until)
        naming = self.naming
        if naming.is_quorum and naming.dropped not in self._declared:
            self._declare_raw(calls, naming.dropped, naming.dropped_arguments(), until)
            self._declared.add(naming.dropped)
            calls = self.line.calls(until)
        self._declare_raw(calls, full, naming.arguments(calls.wire.server, expires), until)

    def _declare_raw(self, calls: Calls, full: str, arguments: dict[str, object], until: float) -> None:
        try:
            calls.ask(frames.QUEUE_DECLARE, 0, full, False, True, False, False, False, arguments, until=until)
        except Refused as refused:
            if refused.code != PRECONDITION_FAILED:
                raise BrokerError(f"cannot declare queue {full!r}: {refused.text}") from refused
            self.others.add(full)

    def _declare_as_celery(self, queue: str, until: float) -> None:
        """Make sure of a queue that Celery shares: as it is, or else as Celery's workers make it unless told otherwise.

        That is: durable and classic, bound to a direct exchange of its name.
        """
        has_exchange = self._has_exchange(queue, until)
        try:
            declaration: tuple[Any, ...] = frames.QUEUE_DECLARE, 0, queue, False, True, False, False, False, {}
            self.line.calls(until).ask(*declaration, until=until)
        except Refused as refused:
            if refused.code != PRECONDITION_FAILED:
                raise _error(refused, f"cannot declare queue {queue!r} for Celery") from refused
            if "x-queue-type" in refused.text and "quorum" in refused.text:
                self.counting.add(queue)
        if not has_exchange:
            self.declare_exchange(queue, "direct", until, passive=False)
            self.bind(queue, queue, queue, until)

    def _has_exchange(self, exchange: str, until: float) -> bool:
        try:
            self.declare_exchange(exchange, "direct", until, passive=True)
        except BrokerError as error:
            if isinstance(error.__cause__, Refused) and error.__cause__.code == NOT_FOUND:
                return False
            raise
        return True

    def counts_losses(self, queue: str) -> bool:
        """Whether the broker itself counts how often a message of this queue was lost: quorum queues do."""
        return queue in self.counting if queue in self.naming.celery_queues else self.naming.is_quorum

    def _announce(self, name: str, level: str, until: float) -> None:
        """Have the workers on the queue told that it has one more level, before anything is sent to it.

        They also look for themselves, when they start and after a connection was lost.
        """
        self.declare_news(self.line.calls(until), until)
        self.to_announce.append(Letter(self.naming.news, self.naming.queue(name), b"\x00\x00", level.encode()))

    def declare_news(self, calls: Calls, until: float) -> None:
        """The exchange by which announcements go to those who have the queue."""
        if not self._has_news:
            calls.ask(
                frames.EXCHANGE_DECLARE, 0, self.naming.news, "direct", False, True, False, False, False, {},
                until=until,
            )  # fmt: skip
            self._has_news = True

    def ensure_delay(self, milliseconds: int, until: float) -> str:
        """The exchange of a delay queue, declared lately enough that the queue outlives what is sent now."""
        full = self.naming.delay(milliseconds)
        now = time.monotonic()
        if now - self._delays.get(milliseconds, -REDECLARE_AFTER) >= REDECLARE_AFTER:
            calls = self.line.calls(until)
            arguments = self.naming.delay_arguments(milliseconds)
            try:
                calls.post(frames.EXCHANGE_DECLARE, 0, full, "fanout", False, True, True, False, False, {})
                calls.post(frames.QUEUE_DECLARE, 0, full, False, True, False, False, False, arguments)
                calls.post(frames.QUEUE_BIND, 0, full, full, "", False, {})
                for _ in range(3):
                    calls.take(until)
            except Refused as refused:
                raise BrokerError(f"cannot declare delay queue {full!r}: {refused.text}") from refused
            self._delays[milliseconds] = now
        return full

    # --- looking ---

    def scan(self, queues: Iterable[str], until: float) -> dict[str, dict[str, tuple[int, int]]]:
        """Of each queue the levels that are there, with their ready messages and consumers: one round trip a queue.

        Each question has a channel of its own, since the broker closes the channel where a queue is not there.
        """
        found: dict[str, dict[str, tuple[int, int]]] = {}
        wire = self.line.wire(until)
        for queue in queues:
            opened: list[Calls] = []
            asked: list[tuple[str, Calls]] = []
            for level in self.naming.levels_of(queue):
                calls = Calls(wire)
                full = self.naming.queue(queue, level)
                calls.post(frames.QUEUE_DECLARE, 0, full, True, False, False, False, False, {})
                asked.append((level, calls))
            levels = found[queue] = {}
            for level, calls in asked:
                try:
                    _, (_, messages, consumers) = calls.take(until)
                except Refused as refused:
                    if refused.code != NOT_FOUND:
                        raise BrokerError(f"cannot look at queue {queue!r}: {refused.text}") from refused
                else:
                    levels[level] = (messages, consumers)
                    opened.append(calls)
            for calls in opened:
                calls.post(frames.CHANNEL_CLOSE, 200, "", 0, 0)
            for calls in opened:
                calls.take(until)
                wire.dismiss(calls.number)
        return found

    def ready(self, fulls: Sequence[str], until: float) -> list[int]:
        """Ready messages in queues by RabbitMQ's names, which are there: one round trip. 0s from one on that is not."""
        calls = self.line.calls(until)
        for full in fulls:
            calls.post(frames.QUEUE_DECLARE, 0, full, True, False, False, False, False, {})
        found = [0] * len(fulls)
        try:
            for place in range(len(fulls)):
                _, (_, found[place], _) = calls.take(until)
        except Refused:
            pass  # its consumers are told
        return found

    def count(self, full: str, until: float) -> tuple[int, int]:
        """Ready messages and consumers of a queue by RabbitMQ's name; none if it is not there."""
        try:
            calls = self.line.calls(until)
            _, *counts = calls.ask(frames.QUEUE_DECLARE, 0, full, True, False, False, False, False, {}, until=until)
        except Refused:
            return 0, 0
        return counts[0], counts[1]

    # --- what kombu asks for ---

    def declare_queue(self, queue: str, expires: float | None, until: float, *, passive: bool) -> QueueCount:
        full = self.naming.queue(queue)
        if not passive:
            self._declare(queue, full, expires, until)
            self._declared.add(full)
            self.names.setdefault(queue)
            return QueueCount(queue, *self.count(full, until))
        levels = self.scan([queue], until)[queue]
        if MAIN not in levels:
            raise BrokerError(f"queue {queue!r} does not exist")
        return QueueCount(queue, sum(count for count, _ in levels.values()), levels[MAIN][1])

    def delete_queue(self, queue: str, until: float, *, if_unused: bool, if_empty: bool) -> int:
        levels = self.scan([queue], until)[queue]
        if if_empty and any(count for count, _ in levels.values()):
            return 0
        deleted = 0
        for level in (MAIN, *(level for level in levels if level != MAIN)):
            full = self.naming.queue(queue, level)
            try:
                answer = self.line.calls(until).ask(
                    frames.QUEUE_DELETE, 0, full, if_unused, if_empty, False, until=until
                )
            except Refused as refused:
                if refused.code == PRECONDITION_FAILED and (if_unused or if_empty):
                    return deleted
                raise _error(refused, f"cannot delete queue {queue!r}") from refused
            deleted += answer[0]
            self.forget(full)
        self.names.pop(queue, None)
        return deleted

    def purge(self, queue: str, until: float) -> int:
        purged = 0
        for level in self.scan([queue], until)[queue]:
            full = self.naming.queue(queue, level)
            purged += self._ask(f"cannot purge queue {queue!r}", until, frames.QUEUE_PURGE, 0, full, False)[0]
        return purged

    def declare_exchange(self, exchange: str, type: str, until: float, *, passive: bool) -> None:
        if type not in EXCHANGE_TYPES:
            raise BrokerError(f"exchange {exchange!r}: type {type!r} is not one of {', '.join(EXCHANGE_TYPES)}")
        full = self.naming.exchange(exchange)
        self._ask(
            f"exchange {exchange!r}", until,
            frames.EXCHANGE_DECLARE, 0, full, type, passive, True, False, False, False, {},
        )  # fmt: skip

    def delete_exchange(self, exchange: str, until: float, *, if_unused: bool) -> None:
        try:
            self._ask(exchange, until, frames.EXCHANGE_DELETE, 0, self.naming.exchange(exchange), if_unused, False)
        except BrokerError as error:
            refused = error.__cause__
            if not (if_unused and isinstance(refused, Refused) and refused.code == PRECONDITION_FAILED):
                raise

    def bind(self, queue: str, exchange: str, key: str, until: float) -> None:
        names = self.naming.queue(queue), self.naming.exchange(exchange)
        self._ask(f"cannot bind queue {queue!r}", until, frames.QUEUE_BIND, 0, *names, key, False, {})

    def unbind(self, queue: str, exchange: str, key: str, until: float) -> None:
        names = self.naming.queue(queue), self.naming.exchange(exchange)
        self._ask(f"cannot unbind queue {queue!r}", until, frames.QUEUE_UNBIND, 0, *names, key, {})

    def _ask(self, what: str, until: float, method: frames.Method, *arguments: object) -> Sequence[int]:
        try:
            return self.line.calls(until).ask(method, *arguments, until=until)
        except Refused as refused:
            raise _error(refused, what) from refused


def _error(refused: Refused, what: str) -> BrokerError:
    return BrokerError(f"{what}: {refused.text}")
