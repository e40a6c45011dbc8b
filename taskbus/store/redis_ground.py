"""What the stores in Redis ask of it alike: errors that are those of a store."""

from collections.abc import Iterator
from contextlib import contextmanager

from taskbus.database.redis import RedisError
from taskbus.errors import StoreError


@contextmanager
def store_errors() -> Iterator[None]:
    """Turns what Redis raises into ``StoreError``."""
    try:
        yield
    except RedisError as error:
        raise StoreError(str(error)) from error
