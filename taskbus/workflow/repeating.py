"""Ids for what a task adds to its own workflow: the same when the task is run again, so that nothing is added twice."""

import hashlib
from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar
from itertools import count

from taskbus.context import Context
from taskbus.message import Message
from taskbus.workflow.graph import Weaver
from taskbus.workflow.shape import Shape


class Repeatable:
    """Makes ids of the task that runs and of what is added, counting what is added several times.

    A task that adds something else when it is run again adds that too: the ids are other ones then.
    """

    def __init__(self, attempt: Context) -> None:
        self._of = attempt.task_id
        found = _added.get()
        if found is None or found[0] is not attempt:
            found = (attempt, Counter())
            _added.set(found)
        self._seen = found[1]

    def id(self, what: str) -> str:
        """An id for ``what``, another one each time."""
        self._seen[what] += 1
        return _id(f"{self._of} {what} {self._seen[what]}")

    def ids_in(self, what: str) -> Callable[[], str]:
        """Ids for the nodes of one thing, which are always the same in the same order."""
        places = count()
        return lambda: _id(f"{self._of} {what} {next(places)}")

    def ids(self, shape: Shape, join: str) -> Callable[[], str]:
        """Ids for the nodes of a shape that becomes a member of ``join``."""
        numbers = count()
        probe = Weaver("", 0.0, ids=lambda: str(next(numbers)))
        probe.weave(shape, path=None)
        return self.ids_in(self.id(f"{join} {hashlib.blake2b(repr((probe.nodes, probe.roots)).encode()).hexdigest()}"))


def ids_of(message: Message) -> Callable[[], str]:
    """Ids for what takes the place of the task that the message called.

    What takes its place may be replaced in its turn, under the same id: its message was sent at another time.
    """
    places = count()
    return lambda: _id(f"{message.id} {message.sent_at!r} {next(places)}")


_added: ContextVar[tuple[Context, Counter[str]] | None] = ContextVar("taskbus_added", default=None)
"""What the attempt that runs here has added so far."""


def _id(text: str) -> str:
    """36 characters, as of a version 8 UUID. Source: RFC 9562, 5.8."""
    digest = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-8{digest[13:16]}-8{digest[17:20]}-{digest[20:]}"
