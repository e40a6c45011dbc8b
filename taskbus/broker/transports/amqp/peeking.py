"""Looking at what a queue holds, which AMQP can only by taking it: so it is put back, ahead and in its order."""

import time

from taskbus.broker.transports.amqp import frames, properties
from taskbus.broker.transports.amqp.calls import Calls, Got
from taskbus.broker.transports.amqp.holding import GiveBack
from taskbus.broker.transports.amqp.inbox import Arrived
from taskbus.broker.transports.amqp.naming import BACK
from taskbus.broker.transports.amqp.topology import Topology
from taskbus.broker.transports.port import Claimed


def peek(queue: str, limit: int, topology: Topology, give_back: GiveBack, until: float) -> list[Claimed]:
    """The first messages of a queue. If this process dies on the way, some of them are there twice."""
    naming = topology.naming
    taken: list[Arrived] = []
    levels = topology.scan([queue], until)[queue]
    calls = Calls(topology.line.wire(until))
    for level in naming.levels:
        asked = levels.get(level, (0, 0))[0]
        if level != BACK:  # of what is there already all is taken, or the rest would come before what was put back
            asked = min(limit, asked)
        for _ in range(asked):
            calls.post(frames.BASIC_GET, 0, naming.queue(queue, level), False)
        for _ in range(asked):
            _, got = calls.take(until)
            if isinstance(got, Got):
                label = properties.label_of(got.properties)
                taken.append(Arrived(9 - label.priority, level != BACK, got.tag, queue, got.body, got.where, label))
    taken.sort(key=lambda arrived: arrived[:3])
    left = [(arrived, arrived.label.counters, 0.0) for arrived in taken]
    try:
        if left:
            give_back(left, until)
    finally:
        not_accepted = {arrived.number for arrived, _, _ in left}
        for arrived in taken:
            if arrived.number not in not_accepted:
                calls.post(frames.BASIC_ACK, arrived.number, False)
        calls.close(max(until, time.monotonic() + 1.0))  # which gives back the others
    return [_claimed(arrived) for arrived in taken[:limit]]


def _claimed(arrived: Arrived) -> Claimed:
    label = arrived.label
    packed = properties.envelope(label, arrived.where, arrived.queue)
    crashes, losses, *_ = label.counters
    return Claimed(arrived.rank, arrived.number, arrived.queue, arrived.body, packed, 0, crashes, losses)
