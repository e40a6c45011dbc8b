"""What kombu calls a transport, on any ``Storage``; ``schemes`` says which there are.

``Connection(transport="taskbus-sql", transport_options={"url": "sqlite:///file.db"})``. Other options: those of
``port.Opening``, and ``lease`` (of what this connection consumes, in seconds).
"""

import dataclasses
import os
import select
import time
from typing import Any, Protocol

# mypy: allow-untyped-calls
from kombu.transport.base import Transport, default_transport_capabilities

from taskbus.broker.transports.channel import Channel
from taskbus.broker.transports.envelope import EXCHANGE_TYPES
from taskbus.broker.transports.port import Opening, Storage, Watch
from taskbus.clock import Clock
from taskbus.errors import BrokerError, ConfigError, PublishFailed

LONGEST_WAIT = 1.0
"""Seconds a drain sleeps at most before it looks for itself: leases must be kept."""


OPENING = tuple(field.name for field in dataclasses.fields(Opening))


class OpenStorage(Protocol):
    def __call__(self, opening: Opening) -> Storage: ...


class Link:
    """What kombu calls the connection: a storage, the channels on it, and what wakes them."""

    def __init__(self, client: Any, storage: Storage, clock: Clock, lease: float) -> None:
        self.client = client
        self.storage = storage
        self.clock = clock
        self.lease = lease
        self.channels: list[Channel] = []
        self.pid = os.getpid()
        self._watch: Watch | None = None

    def watch(self) -> Watch:
        if self._watch is None:
            self._watch = self.storage.watch()
        return self._watch

    def close(self) -> None:
        if self.pid == os.getpid():
            for channel in list(self.channels):
                channel.close()
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        if self.pid == os.getpid():
            self.storage.close()


class StorageTransport(Transport):
    """A kombu transport on any ``Storage``."""

    open: OpenStorage
    driver_type = driver_name = "taskbus"
    implements = default_transport_capabilities.extend(
        asynchronous=False, batch_publish=True, exchange_type=frozenset(EXCHANGE_TYPES), heartbeats=False
    )
    supports_batch_publish = True
    client: Any
    connection_errors: Any = (BrokerError, PublishFailed)
    channel_errors: Any = (BrokerError, PublishFailed)
    # kombu would try again for ever, where a message that says what is wrong must reach the caller.
    recoverable_connection_errors = recoverable_channel_errors = ()

    def establish_connection(self) -> Link:
        options = self.client.transport_options
        if "url" not in options:
            raise ConfigError(f"{type(self).__name__} needs transport_options={{'url': ...}}")
        opening = Opening(**{name: options[name] for name in OPENING if name in options})
        return Link(self.client, self.open(opening), opening.clock, options.get("lease", 30.0))

    def close_connection(self, connection: Link) -> None:
        connection.close()

    def verify_connection(self, connection: Link) -> bool:
        return connection.pid == os.getpid()

    def create_channel(self, connection: Link) -> Channel:
        channel = Channel(connection)
        connection.channels.append(channel)
        return channel

    def close_channel(self, channel: Channel) -> None:
        channel.close()

    def drain_events(self, connection: Link, timeout: float | None = None, **_: Any) -> None:
        """Deliver what is there, or wait for something. Raises ``socket.timeout`` after ``timeout`` seconds without."""
        deadline = None if timeout is None else time.monotonic() + timeout
        watch = connection.watch()
        while True:
            watch.drain()
            if any([channel.deliver() for channel in list(connection.channels)]):
                return
            left = LONGEST_WAIT if deadline is None else deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("nothing was delivered in time")
            now = connection.clock()
            dues = [channel.next_due_at - now for channel in connection.channels if channel.next_due_at is not None]
            select.select([watch.fileno()], [], [], max(0.0, min(left, LONGEST_WAIT, *dues)))

    def driver_version(self) -> str:
        return "1"
