"""Wrap to change: the one way to put code around every send and every attempt.

Two context managers, and no more: what only wants to watch subscribes to telemetry instead.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from taskbus.context import Context
from taskbus.message import Message


class Middleware:
    """Base for wrappers around sends and attempts; override one or both."""

    @contextmanager
    def sending(self, message: Message) -> Iterator[Message]:
        """Around a send, in the caller's process. Yield the message to send, as it came or a changed copy.

        A copy is made by ``message._replace(headers=...)``: a ``Message`` is a named tuple.
        """
        yield message

    @contextmanager
    def running(self, context: Context) -> Iterator[None]:
        """Around one attempt, in the runner. What the task raises passes through here."""
        yield


@contextmanager
def sending(middlewares: Sequence[Middleware], message: Message) -> Iterator[Message]:
    """Enter every ``sending`` in order, each seeing the message the one before made."""
    with ExitStack() as stack:
        for middleware in middlewares:
            message = stack.enter_context(middleware.sending(message))
        yield message


@contextmanager
def running(middlewares: Sequence[Middleware], context: Context) -> Iterator[None]:
    """Enter every ``running`` in order; they are left in the opposite order."""
    with ExitStack() as stack:
        for middleware in middlewares:
            stack.enter_context(middleware.running(context))
        yield
