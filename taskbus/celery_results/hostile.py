"""Data of Celery's is data of strangers: whatever is wrong with it is a ``DecodeError``, and never ends a worker."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from taskbus.errors import CodecError, DecodeError

P = ParamSpec("P")
R = TypeVar("R")


def decoding(what: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Have a function that reads ``what`` raise ``DecodeError`` for all that data of another form makes it raise."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return function(*args, **kwargs)
            except CodecError:
                raise
            except (TypeError, ValueError, LookupError, AttributeError, OverflowError, RecursionError) as error:
                raise DecodeError(f"{what} cannot be read: {type(error).__name__}: {error}"[:500]) from error

        return checked

    return decorate
