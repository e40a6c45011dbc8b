"""What the doctor can learn over AMQP alone, and what it cannot."""

import re
from collections.abc import Iterable
from typing import Any

from taskbus.broker.transports.amqp import frames
from taskbus.broker.transports.amqp.calls import PRECONDITION_FAILED, Refused
from taskbus.broker.transports.amqp.naming import MAIN, version
from taskbus.broker.transports.amqp.topology import Topology
from taskbus.database.remark import Remark, Weight

OLDEST = (3, 10)
UNLIMITED_IF_TOLD = (4,)
"""From this version on a quorum queue that was not told otherwise drops what was lost so many times:"""
LIMIT_UNLESS_TOLD = 20
FORGETFUL = (3, 10)
"""Where the kill of a lone node was seen to take young queues with it; of later versions nothing is known."""
MADE_ANEW = "to have it made as the URL says, let it run empty and delete it"
_DIFFERENCE = re.compile(
    r"inequivalent arg '([^']+)' .* but current is (?:none|(?:the value )?'([^']*)'(?: of type '(\w+)')?)"
)
"""What RabbitMQ says of one argument of a queue that was declared with another value."""


def examine(topology: Topology, queues: Iterable[str], until: float) -> list[Remark]:
    """What the broker's version and kind of queues mean, and a warning of what AMQP does not tell.

    ``queues`` are declared, as their worker will do.
    """
    server = topology.line.wire(until).server
    is_quorum = topology.naming.is_quorum
    is_forgetful = is_quorum and version(server)[:2] == FORGETFUL
    remarks = [_version(server), _durability(is_quorum, is_forgetful), *([_YOUNG_QUEUES] if is_forgetful else [])]
    remarks.append(_consumer_timeout(topology.line.address.consumer_timeout))
    if is_quorum and version(server) < UNLIMITED_IF_TOLD:
        remarks.append(
            Remark(Weight.FINE, "delivery limit", "this version has none unless a policy sets one; 4.0 and later do")
        )
    for queue in queues:
        topology.present(queue, MAIN, until)
    remarks += [_other(full, *_kind(topology, full, until), server) for full in sorted(topology.others)]
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


def _durability(is_quorum: bool, is_forgetful: bool) -> Remark:
    if is_quorum:
        but = ", unless its queue is younger than a second (see young queues)" if is_forgetful else ""
        return Remark(
            Weight.FINE, "durability",
            f"quorum queues with confirms: an accepted task survives kill -9 and power loss{but}; with three or more"
            " nodes also the loss of a node (how many there are cannot be seen over AMQP: one alone is safe, not"
            " available)",
        )  # fmt: skip
    return Remark(
        Weight.RISK, "durability",
        "classic queues with confirms: an accepted task survives kill -9 of the broker, mostly a power loss, and is not"
        " replicated; a delayed one may be lost when its queue is missing at its time",
        "use quorum queues: leave ?queue_type=classic out",
    )  # fmt: skip


_YOUNG_QUEUES = Remark(
    Weight.FINE, "young queues",  # no risk: it would be logged whenever a worker starts, of queues long past that age
    "a single node of this version that is killed may lose a queue younger than a second, with all that was confirmed"
    " to it, or bring it back without a leader, so that its worker stands still; and delayed tasks may come three"
    " minutes late, though none is lost",
    "start a worker before the first tasks are sent, or run three nodes; delete a queue that stands still (rabbitmqctl"
    " delete_queue); dead_letter_worker_publisher_confirm_timeout in advanced.config makes the three minutes shorter",
)  # fmt: skip


def _other(full: str, kind: str, limit: int | None, server: dict[str, Any]) -> Remark:
    """``limit``: after how many losses the queue drops a message; None if it does not say."""
    if kind != "quorum":
        return Remark(
            Weight.RISK, "queue type",
            f"{full!r} is {kind}, as somebody declared it, and keeps its messages as such do", MADE_ANEW,
        )  # fmt: skip
    text = f"{full!r} is a quorum queue, as somebody declared it"
    if limit is None and version(server) >= UNLIMITED_IF_TOLD:
        limit = LIMIT_UNLESS_TOLD
    if limit is not None and limit >= 0:
        text += f" (before an upgrade?), and gives up a message that was lost more than {limit} times"
        return Remark(Weight.RISK, "queue type", text, MADE_ANEW)
    return Remark(Weight.FINE, "queue type", text)


def _kind(topology: Topology, full: str, until: float) -> tuple[str, int | None]:
    """What a queue really is, and its delivery limit: AMQP tells only in which argument a declaration differs.

    One at a time, so this asks until a declaration is right.
    """
    arguments = topology.naming.arguments(topology.line.wire(until).server)
    seen: set[str] = set()
    while True:
        calls = topology.line.calls(until)
        try:
            calls.ask(frames.QUEUE_DECLARE, 0, full, False, True, False, False, False, arguments, until=until)
        except Refused as refused:
            found = _DIFFERENCE.search(refused.text)
            if refused.code != PRECONDITION_FAILED or found is None or found[1] in seen:
                return f"of a kind that cannot be seen ({refused.text})", None
            name, value, type = found.groups()
            seen.add(name)
            if name == "x-queue-type":
                if value != "quorum":
                    return _called(value), None
                arguments.pop("x-max-priority", None)  # quorum queues refuse it
            if name in {"durable", "auto_delete", "exclusive"}:
                return f"a queue that does not outlive everything ({name} is {value})", None
            if value is None:
                arguments.pop(name, None)
            else:
                arguments[name] = int(value) if value.isdecimal() and type != "longstr" else value
        else:
            return _called(arguments.get("x-queue-type")), arguments.get("x-delivery-limit")


def _called(type: Any) -> str:
    return "quorum" if type == "quorum" else f"a {type or 'classic'} queue"


def _consumer_timeout(stated: float | None) -> Remark:
    """A remark only: it is a risk to tasks that take so long, and how long a task takes is not known here."""
    if stated == 0:
        return Remark(Weight.FINE, "consumer_timeout", "the URL says that the broker has none")
    if stated is not None:
        span = f"{stated:g} seconds, as the URL says"
    else:
        span = "30 minutes unless rabbitmq.conf says otherwise, which cannot be read over AMQP"
    return Remark(
        Weight.FINE, "consumer_timeout",
        f"the broker takes back what is not acked within its consumer_timeout, {span}; a task that runs longer is"
        " started a second time, others are not concerned",
        "for longer tasks set consumer_timeout in rabbitmq.conf above the longest of them, and state it in the URL in"
        " seconds: ?consumer_timeout=7200",
    )  # fmt: skip
