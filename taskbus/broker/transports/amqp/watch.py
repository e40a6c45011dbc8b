"""What wakes a worker: one descriptor that stays, whatever becomes of the connection behind it."""

import os
import select
from collections.abc import Callable

from taskbus.broker.transports.amqp.wire import Wire


class AmqpWatch:
    """Readable when the broker said something, or something came while nobody was watching (``ring``)."""

    def __init__(self, drain: Callable[[], None], on_close: Callable[["AmqpWatch"], None]) -> None:
        self._epoll = select.epoll()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._bell, select.EPOLLIN)
        self._wire: Wire | None = None
        self._drain = drain
        self._on_close = on_close
        self._is_closed = False

    def fileno(self) -> int:
        return self._epoll.fileno()

    def follow(self, wire: Wire) -> None:
        """Watch this connection; the one before was closed, which ended its watching."""
        if wire is not self._wire:
            self._wire = wire
            self._epoll.register(wire.fileno(), select.EPOLLIN)

    def ring(self) -> None:
        os.eventfd_write(self._bell, 1)

    def drain(self) -> None:
        try:
            os.eventfd_read(self._bell)
        except BlockingIOError:
            pass
        self._drain()

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._on_close(self)
            self._epoll.close()
            os.close(self._bell)
