"""One connection on which a worker tells of itself and is told what to do, in the forms of Celery 5.7.

Belongs to the thread that opened it. Source of names, types and arguments: celery/app/defaults.py, celery/events and
kombu/pidbox.py, as used; ``docs/reference/celery_tools.md`` lists what differs.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

# mypy: allow-untyped-calls
from kombu.asynchronous import Hub
from kombu.clocks import LamportClock
from kombu.entity import Exchange, Queue
from kombu.matcher import match
from kombu.messaging import Consumer, Producer
from kombu.pidbox import Mailbox

from taskbus.broker.monitoring.place import Place

EVENTS = "celeryev"
TRANSIENT = 1
LOOK = 1.0
"""Seconds between looks at a transport that may have gone quiet."""


class Command(NamedTuple):
    """What somebody asks of this node. ``reply_to`` None: no answer is wanted."""

    method: str
    arguments: Mapping[str, Any]
    reply_to: Mapping[str, str] | None
    ticket: str | None


def mailbox(clock: LamportClock, prefix: str = "") -> Mailbox:
    """Celery's mailbox, of which every worker has its own queue. ``prefix``: that of ``Place``."""
    return Mailbox(
        f"{prefix}celery",
        type="fanout",
        accept=["json"],
        serializer="json",
        clock=clock,
        queue_ttl=300.0,
        queue_expires=10.0,
        queue_exclusive=True,
        reply_queue_ttl=300.0,
        reply_queue_expires=10.0,
    )


class Line:
    """Open from the start to ``close``. Any method may raise one of ``errors``; the line is of no use then."""

    def __init__(self, place: Place, node: str, clock: LamportClock) -> None:
        self._node = node
        self._clock = clock
        self._place = place
        self._box = mailbox(clock, place.prefix)
        self._connection = place.connect()
        self.errors: tuple[type[BaseException], ...] = (
            *self._connection.connection_errors,
            *self._connection.channel_errors,
        )
        try:
            self._connection.ensure_connection(max_retries=1, interval_start=0)
            # kombu's Redis transport is no topic exchange; Celery therefore takes a fanout there.
            kind = "fanout" if self._connection.transport.driver_type == "redis" else "topic"
            self._exchange = Exchange(f"{place.prefix}{EVENTS}", type=kind)
            self._channel = self._connection.channel()
            self._events = Producer(self._channel, exchange=self._exchange, serializer="json", auto_declare=False)
            self._exchange(self._channel).declare()
        except BaseException:
            self.close()
            raise

    @property
    def about(self) -> dict[str, Any]:
        """What ``stats`` says of the broker, without passwords: the URLs of other nodes have them too."""
        said = {name: value for name, value in self._connection.info().items() if name != "password"}
        return {**said, "ssl": bool(said.get("ssl")), "transport_options": {}, "alternates": []}

    # --- hearing -------------------------------------------------------------------------------------------------

    def listen(self, on_command: Callable[[Command], None], on_election: Callable[[Mapping[str, Any]], None]) -> None:
        """From now on hand over what is said to this node, whenever its hub turns."""
        channel = self._channel  # the one that tells: on Redis each has connections of its own
        self._replies = Producer(channel, serializer="json", auto_declare=False)
        box = self._box.get_queue(self._node)
        elections = Queue(
            f"{self._exchange.name}.elections.{self._node}", exchange=self._exchange, routing_key="worker.elect",
            auto_delete=True, durable=False, exclusive=True, message_ttl=5.0, expires=60.0,
        )  # fmt: skip

        def heard(body: Any, message: Any) -> None:
            self._clock.adjust(message.headers.get("clock") or 0)
            if isinstance(body, Mapping) and self._is_meant(body):
                arguments = body.get("arguments") or {}
                on_command(Command(str(body.get("method")), arguments, body.get("reply_to"), body.get("ticket")))

        def elected(body: Any, message: Any) -> None:
            if isinstance(body, Mapping) and body.get("type") == "worker-elect":
                self._clock.adjust(body.get("clock") or 0)
                on_election(body)

        self._consumers = [
            Consumer(channel, [box], callbacks=[heard], no_ack=True, accept=["json"], on_decode_error=_ignore),
            Consumer(channel, [elections], callbacks=[elected], no_ack=True, accept=["json"], on_decode_error=_ignore),
        ]
        for consumer in self._consumers:
            consumer.consume()

    def _is_meant(self, body: Mapping[str, Any]) -> bool:
        destination, pattern, matcher = body.get("destination"), body.get("pattern"), body.get("matcher")
        if destination:
            return self._node in destination
        return bool(match(self._node, pattern, matcher)) if pattern and matcher else True  # type: ignore[arg-type]

    def join(self, hub: Hub) -> None:
        """Let a hub wake this line when something comes."""
        connection = self._connection
        if connection.transport.implements.asynchronous:
            connection.register_with_event_loop(hub)
            if connection.heartbeat and connection.supports_heartbeats:
                hub.call_repeatedly(connection.heartbeat / 2, connection.heartbeat_check)
            return
        watch = connection.connection.watch()
        hub.add_reader(watch.fileno(), self._drain)
        hub.call_repeatedly(LOOK, self._drain)
        hub.call_soon(self._drain)

    def _drain(self) -> None:
        with suppress(TimeoutError):
            while True:
                self._connection.drain_events(timeout=0)

    def ask_others(self, method: str, arguments: Mapping[str, Any], timeout: float) -> list[Mapping[str, Any]]:
        """What all nodes answer within ``timeout`` seconds. By a connection that is closed at the end.

        kombu's poller of Redis remembers the sockets of channels that were closed; it is not to be the one of ``join``.
        """
        connection = self._place.connect()
        try:
            bound = self._box(connection)
            return list(bound.multi_call(method, dict(arguments), timeout=timeout, channel=connection.channel()))
        finally:
            connection.release()

    # --- telling -------------------------------------------------------------------------------------------------

    def tell(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Publish events that are complete but for what all have in common; several of them as one message."""
        complete = [self._completed(event) for event in events]
        kind = complete[0]["type"]
        key = kind.replace("-", ".") if len(complete) == 1 else f"{kind.partition('-')[0]}.multi"
        self._events.publish(
            complete[0] if len(complete) == 1 else complete,
            routing_key=key,
            headers={"hostname": self._node},
            delivery_mode=TRANSIENT,
        )

    def _completed(self, event: Mapping[str, Any]) -> dict[str, Any]:
        who = {"hostname": self._node, "pid": os.getpid(), "utcoffset": utcoffset()}
        return {"timestamp": time.time(), **who, "clock": self._clock.forward(), **event}

    def answer(self, command: Command, reply: Any) -> None:
        """Send a reply, if one is wanted. Raises ``kombu.exceptions.EncodeError`` for what is not JSON."""
        if command.reply_to is None:
            return
        exchange = Exchange(command.reply_to["exchange"], type="direct", delivery_mode=TRANSIENT, durable=False)
        self._replies.publish(
            {self._node: reply},
            exchange=exchange,
            routing_key=command.reply_to["routing_key"],
            declare=[exchange],
            headers={"ticket": command.ticket, "clock": self._clock.forward()},
        )

    def close(self) -> None:
        """Close it, whatever state it is in; its queues go with it."""
        with suppress(*self.errors, OSError, ValueError, AttributeError):
            self._connection.release()


def utcoffset() -> int:
    """Hours west of UTC, as Celery counts them: receivers shift our instants by what differs from theirs."""
    return (time.altzone if time.localtime().tm_isdst else time.timezone) // 3600


def _ignore(message: Any, error: Exception) -> None:
    """What is not JSON was not meant for us; there is nothing to acknowledge."""
