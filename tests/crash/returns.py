"""Notes what a worker is about to give back to RabbitMQ, which takes a copy first and an ack afterwards.

A worker that is killed between the two leaves two messages of a task. Where the task never ran there, no ledger of its
body says that this worker held it: a workflow's task that waited for a slot, or one that was pushed and not claimed.
"""

import os
from collections.abc import Iterable
from typing import Any

from taskbus.broker.transports.amqp import outbox
from taskbus.errors import DecodeError
from taskbus.wire import compact

from .environment import BROKER, SUPERVISOR
from .ledger import Ledger


def note(ledger: Ledger) -> None:
    """Log ``back`` in this process before copies are made; nothing on other brokers, which give back in one step."""
    if not os.environ[BROKER].startswith("amqp"):
        return
    whole = outbox.given_back

    def noted(messages: Iterable[Any], *rest: Any) -> Any:
        given = list(messages)
        if libs := [lib for arrived, _, _ in given if (lib := _id(arrived.body))]:
            ledger.log("back", libs=libs, worker=int(os.environ[SUPERVISOR]))
        return whole(given, *rest)

    outbox.given_back = noted


def _id(wire: bytes) -> str:
    """The id of the task in a message of ours; "" of any other, which then is excused nothing."""
    try:
        return compact.decode(wire, "", 0, len(wire)).id
    except DecodeError:
        return ""
