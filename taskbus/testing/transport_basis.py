"""What the parts of the transport contract share: fixtures, messages to send, and ways to look at what came out."""

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from taskbus.broker.broker import Broker
from taskbus.broker.consumer import Consumer
from taskbus.broker.delivery import Delivery, Settlement
from taskbus.message import Message
from taskbus.testing.clock import MovableClock
from taskbus.wire import compact

LEASE = 30.0
DEADLINE = 20.0
"""Seconds after which something that should happen has not: only ever waited for by a failing test."""
OpenBroker = Callable[..., Broker]


class Basis:
    """Fixtures. A transport's test class says where its queues are by overriding ``url``.

    One whose broker's time cannot be moved overrides ``clock`` too, with a ``RunningClock``, and ``unit``: how long a
    second of the tests is, so that they need not wait long.
    """

    unit = 1.0

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        """A URL of queues that are empty and nobody else's."""
        raise NotImplementedError("override the fixture `url`")

    @pytest.fixture
    def clock(self) -> MovableClock:
        return MovableClock()

    @pytest.fixture
    def open_broker(self, url: str, clock: MovableClock) -> Iterator[OpenBroker]:
        """Opens brokers on the same queues and the same clock, closed afterwards."""
        with ExitStack() as closing:

            def open_broker(**options: Any) -> Broker:
                broker = Broker(url, clock=clock, **options)
                closing.callback(broker.close)
                return broker

            yield open_broker

    @pytest.fixture
    def broker(self, open_broker: OpenBroker) -> Broker:
        return open_broker()

    @pytest.fixture
    def consumer(self, broker: Broker) -> Iterator[Consumer]:
        """A worker on the queue ``default``."""
        consumer = broker.consumer(["default"], name="worker", lease=LEASE)
        yield consumer
        consumer.close()


def needs(broker: Broker, promise: object, otherwise: str) -> None:
    """Skip the test unless the broker's ``Features`` promise what it needs."""
    if not promise:
        pytest.skip(f"Features of {broker.features.name}: {otherwise}")


def needs_leases(broker: Broker) -> None:
    needs(broker, broker.features.leases == "worker", "a lease is a connection, and ends with it")


def needs_lists(broker: Broker) -> None:
    needs(broker, broker.features.lists, "what is delayed or held, and who is connected, cannot be listed")


def needs_due_times(broker: Broker) -> None:
    needs(broker, not broker.features.pushes, "the broker itself hands out what is due, by its own clock")


def message(id: str, **fields: Any) -> Message:
    return Message(id, "tasks.add", fields.pop("body", b"[[], {}]"), **fields)


def send(broker: Broker, *ids: str, **fields: Any) -> None:
    for id in ids:
        broker.publish(message(id, **fields))


def decoded(delivery: Delivery) -> Message:
    return compact.decode(delivery.wire, delivery.queue, delivery.priority, 1 << 30)


def ids(deliveries: Sequence[Delivery]) -> list[str]:
    return [decoded(delivery).id for delivery in deliveries]


def waiting(broker: Broker, queue: str = "default") -> list[str]:
    """Ids of what waits in a queue."""
    return ids(broker.peek(queue, 1000))


def acks(deliveries: Sequence[Delivery]) -> list[Settlement]:
    return [Settlement(delivery) for delivery in deliveries]


def readable(consumer: Consumer, timeout: float = DEADLINE) -> bool:
    """Whether the consumer's descriptor becomes readable in time."""
    return bool(select.select([consumer.fileno()], [], [], timeout)[0])


def quiet(consumer: Consumer) -> None:
    """Wait until nothing wakes the consumer any more."""
    deadline = time.monotonic() + DEADLINE
    while readable(consumer, 0.5):
        consumer.clear()
        assert time.monotonic() < deadline, "the consumer is woken over and over, though nothing happens"


def fetch_when_there(consumer: Consumer, limit: int = 1) -> list[Delivery]:
    """Fetch, as a worker does: sleeping on the descriptor until there is something."""
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        consumer.clear()
        deliveries = consumer.fetch(limit)
        if deliveries:
            return deliveries
        due_at = consumer.next_due_at()
        due_in = DEADLINE if due_at is None else max(0.01, due_at - consumer.now())
        readable(consumer, min(due_in, deadline - time.monotonic()))
    raise AssertionError("nothing came in time")


def fetch_all(consumer: Consumer) -> list[Delivery]:
    """Everything there is, and what the broker gets back from the dead meanwhile, until nothing comes any more."""
    deliveries = consumer.fetch(100)
    while consumer.next_due_at() is None and readable(consumer, 0.3):
        consumer.clear()
        deliveries += consumer.fetch(100)
    return deliveries


class Process:
    """A Python process on the same queues; what its program prints comes back line by line, each a JSON value."""

    def __init__(
        self, program: str, url: str, now: MovableClock | float, *arguments: str, failpoints: str = ""
    ) -> None:
        environment = {**os.environ, "TASKBUS_FAILPOINTS": failpoints}
        command = [sys.executable, "-c", PRELUDE + program, url, str(now), *arguments]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)

    def lines(self) -> list[Any]:
        """Everything it said until it ended, by itself or not."""
        output, _ = self._process.communicate(timeout=DEADLINE * 3)
        return [json.loads(line) for line in output.splitlines()]

    @property
    def status(self) -> int:
        return self._process.wait(DEADLINE)


PRELUDE = """
import json, sys
from taskbus.broker.broker import Broker
from taskbus.broker.delivery import Act, Settlement
from taskbus.testing.clock import clock_like
from taskbus.testing.transport_basis import decoded, fetch_when_there, ids, message, send

url, clock, arguments = sys.argv[1], clock_like(sys.argv[2]), sys.argv[3:]
broker = Broker(url, clock=clock)

def say(*words):
    print(json.dumps(words), flush=True)
"""
