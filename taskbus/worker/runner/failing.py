"""An exception as data: its class, its message, its traceback, each of a bounded size, whatever the exception is."""

import importlib
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import taskbus
from taskbus.outcome import Failure

MAX_MESSAGE = 4_096
MAX_TRACEBACK = 32_768
_MAX_FRAMES = 200
_NOT_THE_USERS = (f"{Path(taskbus.__file__).parent}{os.sep}", "<frozen importlib", importlib.__file__)
_BRIDGES = "taskbus_"
"""What the names of packages start with that let other frameworks' code run: their frames are no more the user's."""


def failure_of(error: BaseException) -> Failure:
    """Describe ``error``, with the frames of its traceback that are the user's. Survives a ``__str__`` that raises."""
    return Failure(
        _name(type(error)), shortened(_message(error), MAX_MESSAGE), shortened(traceback_of(error), MAX_TRACEBACK)
    )


def traceback_of(error: BaseException) -> str:
    """The traceback as Python prints it, with causes and groups, without frames that are no code of the user's."""
    try:
        summary = traceback.TracebackException(
            type(error), error, error.__traceback__, limit=-_MAX_FRAMES, compact=True
        )
        ours = (*_NOT_THE_USERS, *_bridges())
        for part in _family(summary):
            # A StackSummary is a list of frames; leaving ours out in place keeps all else as Python made it.
            part.stack[:] = [frame for frame in part.stack if not frame.filename.startswith(ours)]
        return "".join(summary.format())
    except BaseException as broken:  # noqa: BLE001 - formatting asks the user's classes for attributes
        return f"{_name(type(error))}: its traceback cannot be formatted ({_name(type(broken))})\n"


def shortened(text: str, limit: int) -> str:
    """``text``, or its beginning and its end: the end of a traceback says what went wrong, the beginning where from."""
    # Lone surrogates cannot be encoded, and a failure must always be.
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters left out ...]\n{text[-half:]}"


def _bridges() -> Iterator[str]:
    """The folders of those packages that were imported."""
    for name in [name for name in list(sys.modules) if name.startswith(_BRIDGES) and "." not in name]:
        file = getattr(sys.modules[name], "__file__", None)
        if file:
            yield f"{Path(file).parent}{os.sep}"


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException as broken:  # noqa: BLE001 - a __str__ of the user's
        return f"<its __str__ raised {_name(type(broken))}>"


def _family(summary: traceback.TracebackException) -> Iterator[traceback.TracebackException]:
    """The exception with its causes, contexts and group members."""
    waiting = [summary]
    while waiting:
        part = waiting.pop()
        yield part
        waiting += [other for other in (part.__cause__, part.__context__) if other is not None]
        waiting += part.exceptions or ()
