"""Middleware around the messages that a graph is stored with: whoever ends what they wait for will publish them."""

from collections.abc import Sequence
from contextlib import ExitStack

from taskbus.broker.broker import checked
from taskbus.message import OWN_HEADERS, Message
from taskbus.middleware import Middleware, sending
from taskbus.store.flows import Node
from taskbus.wire import compact


def wrapped(middlewares: Sequence[Middleware], nodes: Sequence[Node], stack: ExitStack, most: int) -> Sequence[Node]:
    """Nodes as the middleware wants their messages, of at most so many bytes; it is left with the ``stack``.

    Raises ``PayloadTooLarge``.
    """
    return [_wrapped(middlewares, node, stack, most) if node.wire else node for node in nodes] if middlewares else nodes


def _wrapped(middlewares: Sequence[Middleware], node: Node, stack: ExitStack, most: int) -> Node:
    message = compact.decode(node.wire, node.queue, node.priority, len(node.wire))
    changed = same(message, stack.enter_context(sending(middlewares, message)))
    if changed is message:
        return node
    due_at = changed.due_at or node.due_at
    wire = checked(changed._replace(due_at=None), most)
    return node._replace(wire=wire, queue=changed.queue, priority=changed.priority, due_at=due_at)


def same(message: Message, changed: Message) -> Message:
    """A middleware may change what a message says, not which node it is."""
    if changed is message:
        return message
    own = {name: text for name, text in message.headers.items() if name.startswith(OWN_HEADERS)}
    return changed._replace(id=message.id, task=message.task, headers={**changed.headers, **own})
