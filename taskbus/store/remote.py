"""From a failure as data to an exception to raise: by a list of classes, never by importing a stored name."""

import builtins
from collections.abc import Mapping

from taskbus import errors
from taskbus.errors import RemoteError, TaskBusError, TaskExpired, TaskRevoked, TaskTimedOut, TimeLimitExceeded
from taskbus.outcome import Failure, State
from taskbus.store.base import StoredResult

REFUSALS = (TypeError, ValueError, LookupError, ArithmeticError, AttributeError, RuntimeError)
"""What a class's constructor may raise that wants more than a message."""

# Raised out of ``get`` these would end the loop or the generator they are raised in.
_CONTROL = (StopIteration, StopAsyncIteration, BaseExceptionGroup)


def _known() -> dict[str, type[BaseException]]:
    known: dict[str, type[BaseException]] = {}
    for name, value in vars(builtins).items():
        if isinstance(value, type) and issubclass(value, Exception) and not issubclass(value, _CONTROL):
            known[name] = known[f"builtins.{name}"] = value
    for value in vars(errors).values():
        if isinstance(value, type) and issubclass(value, TaskBusError) and not issubclass(value, RemoteError):
            known[f"{value.__module__}.{value.__qualname__}"] = value
    return known


_TIME_LIMIT = f"{TimeLimitExceeded.__module__}.{TimeLimitExceeded.__qualname__}"

KNOWN: Mapping[str, type[BaseException]] = _known()
"""By dotted name, the classes that are always rebuilt: Python's own exceptions and those of TaskBus."""


def error_of(result: StoredResult, allowed: Mapping[str, type[BaseException]]) -> BaseException | None:
    """What ``get`` raises for a final result, None for a success.

    A class in ``allowed`` or ``KNOWN`` is made of the message alone, with a ``RemoteError`` as its cause; any other
    failure is a ``RemoteError`` itself, a ``TaskTimedOut`` if it is the task's time limit. The remote traceback is a
    note on either.
    """
    if result.state is State.SUCCESS:
        return None
    if result.state is State.REVOKED:
        return _revoked(result.failure)
    failure = result.failure or Failure("taskbus.errors.TaskBusError", "the task failed and left no reason")
    remote = (TaskTimedOut if failure.type == _TIME_LIMIT else RemoteError)(
        failure.type, failure.message, failure.traceback
    )
    error = rebuild(failure, allowed)
    if error is None:
        error = remote
    else:
        error.__cause__ = remote
    if failure.traceback:
        error.add_note(f"Remote traceback:\n{failure.traceback.rstrip()}")
    return error


def rebuild(failure: Failure, allowed: Mapping[str, type[BaseException]]) -> BaseException | None:
    """The exception itself, made of its message; None if its class is not among those known, or cannot be made so.

    A class whose constructor wants more than a message is made without calling it, and lacks what that would set.
    """
    kind = allowed.get(failure.type) or KNOWN.get(failure.type)
    if kind is None:
        return None
    try:
        error = kind(failure.message)
    except REFUSALS:
        return _unconstructed(kind, failure.message)
    return error if isinstance(error, kind) else None


def _unconstructed(kind: type[BaseException], message: str) -> BaseException | None:
    """An instance that says ``message``, or None: a ``__str__`` may need what only the constructor sets."""
    try:
        error = kind.__new__(kind)
        error.args = (message,)
        return error if isinstance(error, kind) and message in str(error) else None
    except REFUSALS:
        return None


def _revoked(failure: Failure | None) -> TaskRevoked:
    if failure is None:
        return TaskRevoked("the task was revoked before it ran")
    kind = TaskExpired if failure.type.rpartition(".")[2] == TaskExpired.__name__ else TaskRevoked
    return kind(failure.message)
