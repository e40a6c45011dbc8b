"""Where an application with a spool sends: the broker, and the spool while the broker cannot be reached."""

import logging
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from taskbus.broker.broker import AT_ONCE, Broker, checked
from taskbus.errors import BrokerError, PublishFailed, PublishUnknown, SpoolFailed
from taskbus.message import Message
from taskbus.spool.relay import RelayThread
from taskbus.spool.spool import Spool

logger = logging.getLogger(__name__)

STOP_WITHIN = 10.0


class Outlet:
    """``publish`` and ``batch`` as ``Broker`` has them, with a spool behind.

    A message is accepted by the broker, or it is on this disk and is relayed later; which of the two, ``spool.size()``
    tells. While anything waits in the spool all that is sent goes there too, so that order is kept. ``broker`` opens
    the application's broker, ``open_broker`` one for the relay.

    Raises, from a publish:
        PayloadTooLarge: it is never spooled, since no broker would take it.
        SpoolFailed: the broker could not be reached, and the spool has no room.
        PublishUnknown: the broker did not answer, and the spool has no room.
    """

    def __init__(
        self,
        spool: Spool,
        broker: Callable[[], Broker],
        open_broker: Callable[[], Broker],
        max_message_bytes: int,
    ) -> None:
        self.spool = spool
        self._broker = broker
        self._max_message_bytes = max_message_bytes
        self._relay = RelayThread(spool, open_broker)
        self._may_wait = True  # something may be left by an earlier run
        self._local = threading.local()
        self._lock = threading.Lock()
        _outlets.add(self)

    def publish(self, message: Message) -> None:
        """Accept a message for good, or raise; inside ``batch`` it is accepted with the others."""
        held: list[Message] | None = getattr(self._local, "held", None)
        if held is None:
            self._send([message])
            return
        checked(message, self._max_message_bytes)  # now, where the error belongs, not at the end of the batch
        held.append(message)
        if len(held) >= self._local.room:
            self._local.held = []
            self._send(held)

    def publish_all(self, messages: Sequence[Message]) -> None:
        """Accept messages now, also inside ``batch``, as ``Broker.publish_all`` does."""
        for start in range(0, len(messages), AT_ONCE):
            self._send(messages[start : start + AT_ONCE])

    @contextmanager
    def batch(self, max_size: int = 1000) -> Iterator[None]:
        """Send what this thread publishes in the block together, as ``Broker.batch`` does."""
        if getattr(self._local, "held", None) is not None:
            yield
            return
        self._local.held, self._local.room = [], max_size
        try:
            yield
            held = self._local.held
        finally:
            self._local.held = None
        if held:
            self._send(held)

    def start(self) -> None:
        """Relay what an earlier run left, without waiting for the next send."""
        if self.spool.size().waiting:
            self._relay.start()

    def close(self) -> None:
        """Stop relaying. What waits goes on waiting, on the disk."""
        self._relay.stop(STOP_WITHIN)
        self._may_wait = True
        self.spool.close()

    def forget(self) -> None:
        """In the child of a fork: the parent's relay and its batch are the parent's."""
        self._lock = threading.Lock()
        self._local = threading.local()
        self._relay.forget()

    def _send(self, messages: Sequence[Message]) -> None:
        if self._may_wait and self._wait_behind(messages):
            return
        try:
            self._publish(messages)
        except (PublishFailed, BrokerError) as error:
            self._keep(messages, error)

    def _publish(self, messages: Sequence[Message]) -> None:
        broker = self._broker()
        if len(messages) == 1:
            broker.publish(messages[0])
            return
        with broker.batch(len(messages) + 1):
            for message in messages:
                broker.publish(message)

    def _wait_behind(self, messages: Sequence[Message]) -> bool:
        """Spool what is sent after something that waits; False: nothing does, the broker is next."""
        with self._lock:
            try:
                waits = bool(self.spool.size().waiting)
            except SpoolFailed as error:
                logger.error("what may wait in the spool is out of reach: %s", error)
                waits = False
            try:
                self._may_wait = waits and self.spool.append(self._as_sent(messages), only_behind=True)
            except SpoolFailed as error:
                error.task_ids = tuple(message.id for message in messages)
                raise
            if self._may_wait:
                self._relay.start()
            return self._may_wait

    def _keep(self, messages: Sequence[Message], error: Exception) -> None:
        with self._lock:
            try:
                self.spool.append(self._as_sent(messages))
            except SpoolFailed as full:
                if isinstance(error, PublishUnknown):
                    error.add_note(str(full))
                    raise error from full
                raise SpoolFailed(f"{error}; and {full}", [message.id for message in messages]) from error
            if not self._may_wait:
                logger.warning("%s; tasks go to the spool %s until the broker is back", error, self.spool.path)
            self._may_wait = True
            self._relay.start()

    def _as_sent(self, messages: Sequence[Message]) -> list[tuple[Message, bytes]]:
        return [(message, checked(message, self._max_message_bytes)) for message in messages]


def _after_fork() -> None:
    for outlet in list(_outlets):
        outlet.forget()


_outlets: weakref.WeakSet[Outlet] = weakref.WeakSet()
os.register_at_fork(after_in_child=_after_fork)
