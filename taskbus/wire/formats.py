"""Which of the wire formats: every consumer reads all of them, and a queue says in which one it is sent to."""

from collections.abc import Set

from taskbus.message import CHUNK, FLOW, Message
from taskbus.wire import celery, compact

NO_QUEUES: Set[str] = frozenset()


def encode(message: Message, celery_queues: Set[str] = NO_QUEUES) -> bytes:
    """Return the bytes that travel: in Celery's format what came in it, and what is for one of ``celery_queues``.

    Messages of flows are in ours wherever they go: Celery's workers know no flows. Raises ``EncodeError``.
    """
    if message.celery is None and not (celery_queues and message.queue in celery_queues and _is_plain(message)):
        return compact.encode(message)
    return celery.encode(message)


def _is_plain(message: Message) -> bool:
    return FLOW not in message.headers and CHUNK not in message.headers


def decode(wire: bytes, queue: str, priority: int, max_bytes: int) -> Message:
    """Return the message in ``wire``, whatever its format; raises ``DecodeError``.

    ``priority``: of what is in ours, which does not say it.
    """
    if wire[:1] == celery.FIRST:
        return celery.decode(wire, queue, max_bytes)
    return compact.decode(wire, queue, priority, max_bytes)


READ = (compact.CONTENT_TYPE, celery.CONTENT_TYPE)
