"""Sending ticks: recorded and published in one step where broker and store are one database, else recorded and relayed.

Where they are two, a tick is recorded first, with its message. It is published then as a workflow of one task, begun
under the task's own id: of copies that a repeated publish brings, workers start one, however late the other comes. Only
then is it confirmed. Whoever dies on the way leaves it pending, for any beat to relay.

What goes to a queue shared with Celery is relayed too, but as a plain message, since Celery's workers know no
workflows: there a crash between publish and confirmation sends it again, under the same id.
"""

import logging
from collections.abc import Sequence
from typing import NamedTuple

from taskbus.broker.broker import Broker, checked
from taskbus.config import Config
from taskbus.errors import BrokerError, EncodeError, PayloadTooLarge, PublishFailed
from taskbus.failpoint import failpoint
from taskbus.message import FLOW, SCHEDULE, Message, Sealed
from taskbus.store.base import Store
from taskbus.store.flows import BeginFlow, Flow, Node
from taskbus.store.schedules import Advance, ScheduleStore, Tick
from taskbus.wire import compact
from taskbus.workflow.flows import stamped

logger = logging.getLogger(__name__)

RELAYED_AT_ONCE = 500


class Places(NamedTuple):
    """Where schedules are kept, and where their tasks go. ``is_one``: broker and store are the same database."""

    broker: Broker
    store: Store
    schedules: ScheduleStore
    config: Config
    is_one: bool

    def relays(self, queue: str) -> bool:
        """Whether ticks for a queue are recorded first, and published then."""
        return not self.is_one or queue in self.config.celery_queues

    def now(self) -> float:
        """The time that ticks are sent by: the broker's, where it is the store's too; else the store's."""
        return self.broker.now() if self.is_one else self.schedules.now()


def send(places: Places, advances: Sequence[Advance]) -> None:
    """Record advances and publish their ticks; what was out of date is left out, as ``ScheduleStore.record`` says.

    Raises ``PublishFailed`` or ``StoreError``: nothing was done, or all was recorded and waits to be relayed; or
    ``PublishUnknown``: one of the two.
    """
    failpoint("beat.before")
    if places.is_one:
        places.broker.enact(advances, (), places.schedules.record)
    else:
        places.schedules.record(advances)
        failpoint("beat.recorded")
    if any(tick.is_pending for advance in advances for tick in advance.ticks):
        relay(places)
    failpoint("beat.after")


def relay(places: Places) -> int:
    """Publish what was recorded and not confirmed, whoever recorded it; how many. Raises as ``send``."""
    count = 0
    while ticks := places.schedules.pending(RELAYED_AT_ONCE):
        celerys = [tick for tick in ticks if tick.sealed and tick.sealed.queue in places.config.celery_queues]
        recorded = places.store.apply([_flow(places.config, tick) for tick in ticks if tick not in celerys])
        ready = [] if recorded is None else [stamped(_message(each)) for each in recorded.ready]
        ready += [_message(tick.sealed) for tick in celerys if tick.sealed]
        messages = [message for message in ready if _fits(message, places.config.max_message_bytes)]
        try:
            places.broker.publish_all(messages)
        except BrokerError as error:
            raise PublishFailed(str(error)) from error
        failpoint("beat.published")
        places.schedules.confirm(ticks)
        count += len(ticks)
    return count


def _fits(message: Message, max_bytes: int) -> bool:
    """Whether it may be sent from here; what was accepted under another setting must not hold up all that is behind."""
    try:
        checked(message, max_bytes)
    except (EncodeError, PayloadTooLarge) as error:
        logger.error("a run of schedule %r is dropped: %s", message.headers.get(SCHEDULE), error)
        return False
    return True


def _flow(config: Config, tick: Tick) -> BeginFlow:
    """A workflow that is nothing but the task of a tick."""
    assert tick.sealed is not None
    message = _message(tick.sealed)
    message = message._replace(headers={**message.headers, FLOW: tick.task_id})
    node = Node(
        tick.task_id, message.task, queue=message.queue, priority=message.priority, wire=compact.encode(message),
        result_ttl=config.result_ttl,
    )  # fmt: skip
    flow = Flow(tick.task_id, f"schedule {tick.schedule}", tick.task_id, tick.sent_at, config.flow_ttl)
    return BeginFlow(flow, [node])


def _message(sealed: Sealed) -> Message:
    return compact.decode(sealed.wire, sealed.queue, sealed.priority, len(sealed.wire))
