"""A connection that is made when it is needed and made anew when it was lost: ``line.wire(until)``.

A storage has two: one to take messages in by, one to give them out by. RabbitMQ stops reading a connection that
publishes while it is short of memory or disk, and acks on it would go unread as well.
"""

import time

from taskbus.broker.transports.amqp.address import Address
from taskbus.broker.transports.amqp.calls import Calls
from taskbus.broker.transports.amqp.wire import Wire, WireLost, no_other, opened
from taskbus.database.tls import remedy
from taskbus.errors import BrokerError


class Line:
    """``generation`` counts the connections made. ``heartbeat``: of the next one, in seconds; 0: none is kept.

    ``beside``: another line, which must not die while this one is waited for.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self.heartbeat = 0
        self.generation = 0
        self.beside: Line | None = None
        self._wire: Wire | None = None
        self._calls: Calls | None = None

    @property
    def open_wire(self) -> Wire | None:
        """The wire, if there is one that works as far as is known."""
        wire = self._wire
        return wire if wire is not None and wire.failure is None else None

    @property
    def last_failure(self) -> str:
        return (self._wire.failure if self._wire is not None else None) or "it was never connected"

    def wire(self, until: float) -> Wire:
        """An open wire: what has come was read, so that a connection that died is not used again.

        Raises ``BrokerError`` if it cannot be connected in time.
        """
        wire = self._wire
        if wire is not None and wire.failure is None:
            wire.read()
            if wire.failure is None:
                return wire
        try:
            self._wire = wire = opened(self.address, self.heartbeat, until, self._keep_alive_beside)
        except WireLost as error:
            raise BrokerError(
                f"cannot reach {self.address.where}: {error}; {remedy(error.__cause__ or error)}"
            ) from error
        self._calls = None
        self.generation += 1
        return wire

    def _keep_alive_beside(self) -> float:
        other = self.beside.open_wire if self.beside is not None else None
        return other.keep_alive() if other is not None else no_other()

    def calls(self, until: float) -> Calls:
        """A channel for topology, opened anew when the broker has closed it."""
        wire = self.wire(until)
        if self._calls is None or not self._calls.is_usable:
            self._calls = Calls(wire)
        return self._calls

    def close(self, timeout: float) -> None:
        if self._wire is not None:
            self._wire.close(time.monotonic() + timeout)
            self._wire = self._calls = None

    def abandon(self) -> None:
        """After a fork: it is the parent's."""
        if self._wire is not None:
            self._wire.abandon()
            self._wire = self._calls = None
