"""What the doctor can learn over AMQP alone, and what it cannot."""

from typing import Any

from taskbus.broker.transports.amqp.naming import version
from taskbus.broker.transports.amqp.topology import Topology
from taskbus.database.remark import Remark, Weight

OLDEST = (3, 10)


def examine(topology: Topology, until: float) -> list[Remark]:
    """What the broker's version and kind of queues mean, and a warning of what AMQP does not tell."""
    server = topology.line.wire(until).server
    is_quorum = topology.naming.is_quorum
    remarks = [_version(server), _durability(is_quorum), _consumer_timeout()]
    if is_quorum and version(server) < (4,):
        remarks.append(
            Remark(Weight.FINE, "delivery limit", "this version has none unless a policy sets one; 4.0 and later do")
        )
    dropped, _ = topology.count(topology.naming.dropped, until)
    if dropped:
        remarks.append(
            Remark(
                Weight.RISK, "dropped", f"{topology.naming.dropped!r} holds {dropped} messages the broker gave up",
                "look for policies with a delivery limit or a length limit on the queues; move the messages back",
            )
        )  # fmt: skip
    return remarks


def _version(server: dict[str, Any]) -> Remark:
    text = f"{server.get('product', 'an unknown broker')} {server.get('version', 'of no version')}"
    if version(server) < OLDEST:
        advice = "upgrade to 3.10 or later: quorum queues of earlier ones cannot delay messages"
        return Remark(Weight.REFUSED, "version", text, advice)
    return Remark(Weight.FINE, "version", text)


def _durability(is_quorum: bool) -> Remark:
    if is_quorum:
        return Remark(
            Weight.FINE, "durability",
            "quorum queues with confirms: an accepted task survives kill -9 and power loss; with three or more nodes"
            " also the loss of a node (how many there are cannot be seen over AMQP: one alone is safe, not available)",
        )  # fmt: skip
    return Remark(
        Weight.RISK, "durability",
        "classic queues with confirms: an accepted task survives kill -9 of the broker, mostly a power loss, and is not"
        " replicated; a delayed one may be lost when its queue is missing at its time",
        "use quorum queues: leave ?queue_type=classic out",
    )  # fmt: skip


def _consumer_timeout() -> Remark:
    return Remark(
        Weight.RISK, "consumer_timeout",
        "the broker takes back what is not acked within its consumer_timeout, 30 minutes by default (its value cannot"
        " be read over AMQP); a task that runs longer is started a second time",
        "for longer tasks set consumer_timeout in rabbitmq.conf above the longest of them",
    )  # fmt: skip
