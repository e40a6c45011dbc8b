"""Brings what is spooled to the broker: in order, under the original ids, one relay at a time for a file."""

import logging
import threading
import time
from collections.abc import Callable, Sequence

from taskbus.broker.broker import Broker
from taskbus.errors import BrokerError, ConfigError, DecodeError, PublishFailed, PublishUnknown, SpoolFailed
from taskbus.failpoint import failpoint
from taskbus.message import Message
from taskbus.spool.spool import Spool, Spooled
from taskbus.wire import compact

logger = logging.getLogger(__name__)

BATCH = 200
"""Messages brought to the broker in one round trip."""
PAUSES = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds between two tries while the broker cannot be reached; the last for every further one."""


class Relay:
    """Relays one spool to one broker. A message is forgotten once the broker has accepted it, and never before.

    Dying in between, it publishes some of them again, under the same ids: the broker refuses those it still remembers.
    ``broker`` should allow messages of any size: they were checked when they were sent.
    """

    def __init__(self, spool: Spool, broker: Broker) -> None:
        self._spool = spool
        self._broker = broker
        self._size = BATCH
        self.relayed = 0
        """Messages brought to the broker so far; what was put aside is not one of them."""

    def step(self) -> bool:
        """Relay the next messages, or come nearer to it; False: nothing waits. After an error, try again with this one.

        Raises:
            PublishFailed: the broker took none of them; they all wait as before.
            PublishUnknown: it may have taken some; they all wait as before.
            SpoolFailed: the file cannot be used.
        """
        spooled = self._spool.first(self._size)
        messages = [message for message in map(self._read, spooled) if message is not None]
        if len(messages) < len(spooled):
            return True  # those are put aside; what is left comes in its turn
        if not spooled:
            return False
        try:
            self._publish(messages)
        except PublishUnknown:
            if not self._broker.features.dedup:  # what it took of them it takes again: let that be fewer each time
                self._size = max(1, len(spooled) // 2)
            raise
        except PublishFailed as error:
            self._find_the_culprit(spooled, messages, error)
            return True
        failpoint("relay.inside")
        self._forget(spooled)
        self._size = min(BATCH, self._size * 2)
        return True

    def _forget(self, accepted: Sequence[Spooled]) -> None:
        self._spool.remove(accepted)
        self.relayed += len(accepted)

    def _read(self, spooled: Spooled) -> Message | None:
        """The message, or None if no broker would take it: it is put aside then."""
        try:
            return compact.decode(spooled.wire, spooled.queue, spooled.priority, len(spooled.wire))
        except DecodeError as error:
            self._put_aside(spooled, error)
            return None

    def _publish(self, messages: Sequence[Message]) -> None:
        try:
            with self._broker.batch(len(messages) + 1):
                for message in messages:
                    self._broker.publish(message)
        except BrokerError as error:
            raise PublishFailed(str(error)) from error

    def _find_the_culprit(self, spooled: Sequence[Spooled], messages: Sequence[Message], error: PublishFailed) -> None:
        """A broker that is there refused a batch: find the message it will not take, or raise ``error``.

        Batches get smaller until the first message is alone. If it is refused, while the one behind it is accepted,
        and is refused again, then it is the message: it is put aside.
        """
        try:
            self._broker.ping()
        except BrokerError:
            raise error from None
        if len(spooled) > 1:
            self._size = len(spooled) // 2
            return
        behind = self._spool.first(2)[1:]
        other = self._read(behind[0]) if behind else None
        if other is None:
            raise error
        self._publish([other])
        self._forget(behind)
        try:
            self._publish(messages)
        except PublishUnknown:
            raise
        except PublishFailed as again:
            self._put_aside(spooled[0], again)
        else:
            self._forget(spooled)

    def _put_aside(self, spooled: Spooled, error: Exception) -> None:
        self._spool.refuse(spooled, str(error))
        logger.error(
            "task %s (%s) was put aside in the spool %s: %s; see `taskbus spool status`",
            spooled.id, spooled.task, self._spool.path, error,
        )  # fmt: skip


class RelayThread:
    """A daemon thread that relays whenever there is something to relay, and ends when there is not.

    Every process that uses the spool may have one; they take turns by the file's lock. A child of a fork starts its
    own, when it has something to relay. ``open_broker`` opens a broker for it alone, closed when the thread ends.
    """

    def __init__(self, spool: Spool, open_broker: Callable[[], Broker]) -> None:
        self._spool = spool
        self._open_broker = open_broker
        self.forget()

    def forget(self) -> None:
        """In the child of a fork: the thread is the parent's."""
        self._lock = threading.Lock()
        self._running: tuple[threading.Thread, threading.Event] | None = None

    def start(self) -> None:
        """Make sure that what waits now will be relayed."""
        with self._lock:
            if self._running is None:
                stopping = threading.Event()
                thread = threading.Thread(target=self._run, args=(stopping,), name="taskbus-relay", daemon=True)
                self._running = thread, stopping
                thread.start()

    def stop(self, timeout: float) -> None:
        """End the thread; what waits goes on waiting, on the disk."""
        with self._lock:
            running, self._running = self._running, None
        if running is not None:
            thread, stopping = running
            stopping.set()
            thread.join(timeout)

    def _run(self, stopping: threading.Event) -> None:
        broker: Broker | None = None
        relay: Relay | None = None
        failures, said = 0, ""
        while not self._has_ended(stopping):
            try:
                with self._spool.relaying() as is_mine:
                    if is_mine:
                        broker = broker or self._open_broker()
                        relay = relay or Relay(self._spool, broker)
                        while not stopping.is_set() and relay.step():
                            failures = 0
                failures = 0 if is_mine else failures + 1
            except (PublishFailed, BrokerError, ConfigError) as error:
                failures += 1
                if str(error) != said:
                    said = str(error)
                    logger.warning("the spool %s waits: %s", self._spool.path, said)
            if failures:
                stopping.wait(PAUSES[min(failures, len(PAUSES)) - 1])
        if relay is not None and relay.relayed:
            logger.info("relayed %d messages from the spool %s", relay.relayed, self._spool.path)
        if broker is not None:
            broker.close()

    def _has_ended(self, stopping: threading.Event) -> bool:
        """Whether to end: nothing waits, or it is told to. Decided under the lock, so that no ``start`` is missed."""
        with self._lock:
            if stopping.is_set():
                return True
            try:
                is_over = not self._spool.size().waiting
            except SpoolFailed as error:
                logger.error("the relay ends: %s", error)
                is_over = True
            if is_over:
                self._running = None
            return is_over


def relay_all(spool: Spool, broker: Broker, wait_for: float = 0.0) -> int:
    """Relay everything, here and now; how many messages the broker accepted.

    ``wait_for``: seconds for which to try again while the broker cannot be reached, or another process relays.

    Raises:
        PublishFailed: the broker could not be reached, or another process holds the relay's lock.
    """
    deadline, failures = time.monotonic() + wait_for, 0
    relay, never = Relay(spool, broker), threading.Event()
    while True:
        try:
            with spool.relaying() as is_mine:
                if not is_mine:
                    raise PublishFailed(f"another process relays the spool {spool.path} already")
                while relay.step():
                    failures = 0
                return relay.relayed
        except SpoolFailed:
            raise
        except PublishFailed:
            pause = PAUSES[min(failures, len(PAUSES) - 1)]
            if time.monotonic() + pause > deadline:
                raise
            failures += 1
            never.wait(pause)
