"""Between what TaskBus passes around (``Message``, ``Delivery``) and what a storage keeps (``Parcel``, ``Claimed``)."""

from collections.abc import Set

from taskbus.broker.delivery import Delivery
from taskbus.broker.transports.envelope import unpack
from taskbus.broker.transports.port import Claimed, Parcel
from taskbus.message import Message
from taskbus.wire import celery, compact, formats


def to_parcel(message: Message, celery_queues: Set[str] = formats.NO_QUEUES) -> Parcel:
    """The message in its wire format, for the queue it names."""
    return Parcel(message.queue, formats.encode(message, celery_queues), message.priority, message.due_at)


def to_delivery(claimed: Claimed) -> Delivery:
    """What was claimed; a message of Celery's is one piece whether it came as one or in parts."""
    rank, tag, queue, body, properties, fence, crashes, losses = claimed
    if properties is None:
        kind = celery.CONTENT_TYPE if body[:1] == celery.FIRST else compact.CONTENT_TYPE
        return Delivery(tag, queue, body, kind, 9 - rank, fence, crashes, losses)
    kind, encoding, others, headers, *_ = unpack(properties, queue)
    if celery.is_one(kind, headers, body):
        body = celery.wrap(celery.Parts(body, kind, encoding, headers, others))
        kind = celery.CONTENT_TYPE
    return Delivery(tag, queue, body, kind, 9 - rank, fence, crashes, losses)
