"""Many short calls in one message: how they are put together. The executor makes them: see ``message.CHUNK``.

The message's only positional argument is a list of argument lists; its task is called with each in turn, and the list
of what it returned is the result.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from taskbus.errors import ConfigError
from taskbus.workflow.shape import Callee


def chunked(callee: Callee, items: Iterable[Sequence[Any]], size: int) -> Iterator[list[list[Any]]]:
    """The argument lists, ``size`` at a time; raises ``BadArguments`` for one that does not fit."""
    if type(size) is not int or size < 1:
        raise ConfigError(f"{callee.name}.chunks: size={size!r} is not a whole number of calls, 1 or more")
    each = iter(items)
    while chunk := [list(args) for args in islice(each, size)]:
        for args in chunk:
            callee.arguments.check(args, {})
        yield chunk
