"""Between what TaskBus passes around (``Message``, ``Delivery``) and what a storage keeps (``Parcel``, ``Claimed``)."""

from taskbus.broker.delivery import Delivery
from taskbus.broker.transports.envelope import content_type
from taskbus.broker.transports.port import Claimed, Parcel
from taskbus.message import Message
from taskbus.wire.compact import CONTENT_TYPE, encode


def to_parcel(message: Message) -> Parcel:
    """The message in the compact wire format, for the queue it names."""
    return Parcel(message.queue, encode(message), message.priority, message.due_at)


def to_delivery(claimed: Claimed) -> Delivery:
    rank, tag, queue, body, properties, fence, crashes, losses = claimed
    kind = CONTENT_TYPE if properties is None else content_type(properties)
    return Delivery(tag, queue, body, kind, 9 - rank, fence, crashes, losses)
