"""Which queues stand for one queue of TaskBus, and with what arguments they are declared.

On quorum queues, which know no priorities, each priority above 0 has a queue of its own, made when it is first used. On
either kind what is given back goes to a queue ahead of the others, since AMQP's own requeueing would count it as lost.
A queue that Celery shares is one queue, of Celery's name: what is given back goes to its end, where Celery finds it.
All arguments must be equal wherever a queue is declared, or RabbitMQ refuses.
"""

from collections.abc import Set
from functools import lru_cache
from typing import Any

from taskbus.broker.transports.amqp.address import Address
from taskbus.errors import BrokerError

BACK = "~back"
MAIN = ""
LONGEST_NAME = 255
"""Bytes. Source: AMQP 0-9-1, 4.2.5.3."""
SMALLEST_DELAY = 500
"""Milliseconds below which a message waits with the worker that gets it: a queue for each would cost more."""
LONGEST_DELAY = 2_400_000_000
"""Milliseconds, about 28 days: RabbitMQ's timers take 32 bits, and the queue must outlive its messages."""
DELAY_QUEUE_LIVES = 24 * 3600 * 1000
"""Milliseconds that a delay queue lives longer than its messages wait, without being declared again."""


class Naming:
    """Names and arguments for one address and one version of the broker."""

    def __init__(self, address: Address, celery_queues: Set[str] = frozenset()) -> None:
        self.celery_queues = celery_queues
        self._prefix = address.prefix
        self.is_quorum = address.queue_type == "quorum"
        self.levels: tuple[str, ...] = (BACK, *(f"~p{level}" for level in range(9, 0, -1)), MAIN)
        if not self.is_quorum:
            self.levels = (BACK, MAIN)
        self.dropped = f"{self._prefix}taskbus.dropped"
        self.news = f"{self._prefix}taskbus.news"
        self.queue = lru_cache(maxsize=4096)(self._queue)

    def level(self, queue: str, priority: int) -> str:
        return f"~p{priority}" if priority and self.is_quorum and queue not in self.celery_queues else MAIN

    def levels_of(self, queue: str) -> tuple[str, ...]:
        """The levels that a queue may have."""
        return (MAIN,) if queue in self.celery_queues else self.levels

    def back(self, queue: str) -> str:
        """The level for what is given back."""
        return MAIN if queue in self.celery_queues else BACK

    def first(self, queue: str, level: str) -> tuple[int, bool]:
        """What sorts before all else that a level may hold, as ``Arrived`` does."""
        if level == BACK:
            return 0, False
        if queue in self.celery_queues:
            return 0, True
        return (9 - int(level[2:] or 0) if self.is_quorum else 0), True

    def _queue(self, name: str, level: str = MAIN) -> str:
        """RabbitMQ's name for one level of a queue. Raises ``BrokerError`` if it is too long."""
        full = f"{'' if name in self.celery_queues else self._prefix}{name}{level}"
        if len(full.encode()) > LONGEST_NAME - len(BACK):
            raise BrokerError(f"queue name {name!r} is too long for RabbitMQ: {LONGEST_NAME - len(BACK)} bytes at most")
        return full

    def exchange(self, name: str) -> str:
        return name if name in self.celery_queues else f"{self._prefix}{name}"

    def delay(self, milliseconds: int) -> str:
        """The name of a delay queue, and of the exchange before it, which leaves the routing key as it is."""
        return f"{self._prefix}taskbus.delay.{milliseconds}"

    def arguments(self, server: dict[str, Any], expires: float | None = None) -> dict[str, Any]:
        """What a queue for tasks is declared with. What the broker itself would drop goes to ``dropped``."""
        arguments: dict[str, Any] = {"x-max-priority": 9}
        if self.is_quorum:
            arguments = {
                "x-queue-type": "quorum",
                "x-overflow": "reject-publish",  # which at-least-once needs
                "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": self.dropped,
                "x-dead-letter-strategy": "at-least-once",
            }
            if version(server) >= (4,):
                arguments["x-delivery-limit"] = -1  # from 4.0 on the broker drops after 20 losses, unless told not to
        if expires is not None:
            arguments["x-expires"] = max(1, int(expires * 1000))
        return arguments

    def delay_arguments(self, milliseconds: int) -> dict[str, Any]:
        """Of a delay queue. Its timer runs a millisecond longer, since RabbitMQ rounds both its ends."""
        arguments: dict[str, Any] = {
            "x-message-ttl": milliseconds + 1,
            "x-expires": milliseconds + DELAY_QUEUE_LIVES,
            "x-dead-letter-exchange": "",
        }
        if self.is_quorum:
            arguments |= {
                "x-queue-type": "quorum",
                "x-overflow": "reject-publish",
                "x-dead-letter-strategy": "at-least-once",
            }
        return arguments

    def dropped_arguments(self) -> dict[str, Any]:
        return {"x-queue-type": "quorum"}


def split_delay(milliseconds: int) -> tuple[int, int]:
    """The delay queue for so many milliseconds, by two digits, rounded down (0: none); and what is left after it."""
    if milliseconds < SMALLEST_DELAY:
        return 0, milliseconds
    step = 10 ** (len(str(milliseconds)) - 2)
    bucket = min(milliseconds // step * step, LONGEST_DELAY)
    return bucket, milliseconds - bucket


def version(server: dict[str, Any]) -> tuple[int, ...]:
    """RabbitMQ's version as it introduced itself."""
    digits = [part for part in str(server.get("version", "0")).replace("-", ".").split(".") if part.isdigit()]
    return tuple(int(part) for part in digits[:3])
