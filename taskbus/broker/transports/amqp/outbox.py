"""From what TaskBus sends or gives back to letters: which queue, after which delay, with which counters."""

import math
from collections.abc import Iterable, Sequence

from taskbus.broker.transports.amqp import properties
from taskbus.broker.transports.amqp.inbox import Arrived
from taskbus.broker.transports.amqp.letters import Letter
from taskbus.broker.transports.amqp.naming import MAIN, split_delay
from taskbus.broker.transports.amqp.properties import NONE, Counters
from taskbus.broker.transports.amqp.topology import Topology
from taskbus.broker.transports.envelope import Envelope, pack
from taskbus.broker.transports.port import Parcel
from taskbus.wire import celery


def sent(parcels: Sequence[Parcel], topology: Topology, now: float, until: float) -> list[Letter]:
    """New messages. Queues whose absence the broker would not tell are declared: those behind a delay, and levels."""
    naming = topology.naming
    letters = []
    for key, body, priority, due_at, packed, exchange, _ in parcels:
        if exchange:
            label = properties.foreign(packed, priority, NONE) if packed else properties.plain(priority)
            letters.append(Letter(naming.exchange(exchange), key, label, body))
            continue
        level = naming.level(key, priority)
        if packed is None and body.startswith(celery.FIRST):
            packed, body = _apart(body, key)
        if due_at is None or due_at <= now:
            label = properties.plain(priority) if packed is None else properties.foreign(packed, priority, NONE)
            full = naming.queue(key) if level == MAIN else topology.ensure(key, level, until)
            letters.append(Letter("", full, label, body, key, level))
        else:
            wait = math.ceil((due_at - now) * 1000)
            counters = Counters(due_at=int(due_at * 1000) + 1)
            letters.append(_delayed(key, level, body, priority, packed, counters, wait, topology, until))
    return letters


def given_back(
    messages: Iterable[tuple[Arrived, Counters, float]], topology: Topology, now: float, until: float
) -> list[Letter]:
    """Copies of messages that arrived, with these counters, to come back after so many seconds, ahead of others."""
    letters = []
    for arrived, counters, delay in messages:
        packed = properties.envelope(arrived.label, arrived.where, arrived.queue)
        wait = counters.wait
        if delay > 0:
            wait, counters = math.ceil(delay * 1000), counters._replace(due_at=int((now + delay) * 1000) + 1)
        queue, priority = arrived.queue, arrived.label.priority
        level = topology.naming.back(queue)
        letters.append(_delayed(queue, level, arrived.body, priority, packed, counters, wait, topology, until))
    return letters


def _apart(wire: bytes, key: str) -> tuple[bytes, bytes]:
    """The envelope and the body of a message of Celery's, which travel apart here."""
    body, kind, encoding, headers, others = celery.unwrap(wire)
    return pack(Envelope(kind, encoding, others, headers, "", key)), body


def _delayed(
    queue: str,
    level: str,
    body: bytes,
    priority: int,
    packed: bytes | None,
    counters: Counters,
    wait: int,
    topology: Topology,
    until: float,
) -> Letter:
    full = topology.ensure(queue, level, until)
    bucket, left = split_delay(wait)
    counters = counters._replace(wait=left) if left else counters._replace(wait=0, due_at=0)
    label = properties.plain(priority, counters) if packed is None else properties.foreign(packed, priority, counters)
    if not bucket:
        return Letter("", full, label, body, queue, level)
    return Letter(topology.ensure_delay(bucket, until), full, label, body, queue, level)
