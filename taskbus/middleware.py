"""Wrap to change: the one way to put code around every send, every attempt, and the processes that make attempts.

Four context managers, and no more: what only wants to watch subscribes to telemetry instead.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from taskbus.context import Context
from taskbus.message import Message


class Middleware:
    """Base for wrappers around sends, attempts, runners and workers; override those you need."""

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
    def serving(self) -> Iterator[None]:
        """Around the life of a runner, in its main thread: before its first attempt and after its last.

        The place to open what all its attempts share. A runner that is killed, or dies, does not come back to it; one
        in which it raises leaves, and is tried again. It must start no thread that it does not end.
        """
        yield

    @contextmanager
    def working(self) -> Iterator[None]:
        """Around the life of a worker, in the process that imports the application and forks the runners.

        No task runs there, and no thread may run there either. When the worker has ended there are two seconds left;
        of a worker that is killed, or dies, none.
        """
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


@contextmanager
def serving(middlewares: Sequence[Middleware]) -> Iterator[None]:
    """Enter every ``serving`` in order; they are left in the opposite order."""
    with ExitStack() as stack:
        for middleware in middlewares:
            stack.enter_context(middleware.serving())
        yield


@contextmanager
def working(middlewares: Sequence[Middleware]) -> Iterator[None]:
    """Enter every ``working`` in order; they are left in the opposite order."""
    with ExitStack() as stack:
        for middleware in middlewares:
            stack.enter_context(middleware.working())
        yield
