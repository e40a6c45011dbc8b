"""Waiting for what is on its way to us: deliveries are not in step with the broker's answers.

They come from the queues' processes, and an answer of our channel says nothing of them. But what a queue sent before it
told how many messages are ready in it was in our channel's mailbox by then, so it comes before the answer to our ping.
(In a cluster another node's copy of the queue may send it, and then that is only likely.)
"""

import time
from collections.abc import Callable, Sequence

from taskbus.broker.transports.amqp.inbox import Flow, Inbox
from taskbus.broker.transports.amqp.topology import Topology
from taskbus.broker.transports.amqp.wire import TooLate

PUSHED_WITHIN = 0.5
"""Seconds to wait for what is ready in a queue; after that it is thought to be for others, or to be held back."""


def await_flows(inbox: Inbox, topology: Topology, missing: Callable[[], Sequence[Flow]], until: float) -> None:
    """Wait until ``missing`` finds none, which is asked again after each arrival, or until they are complete."""
    give_up_at = min(until, time.monotonic() + PUSHED_WITHIN)
    while flows := missing():
        names = [topology.naming.queue(flow.subscription.queue, flow.subscription.level) for flow in flows]
        counts = topology.ready(names, until)
        inbox.ping(until)
        is_over = time.monotonic() >= give_up_at
        for flow, count in zip(flows, counts, strict=True):
            if not count or is_over:
                flow.complete()
        if not all(flow.is_complete for flow in flows):
            try:
                inbox.wire.wait(give_up_at)
            except TooLate:
                pass
