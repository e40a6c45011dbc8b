"""From a URL to a store; a store's module is imported only when its scheme is used."""

import difflib
from collections.abc import Callable
from importlib import import_module
from typing import Any

from taskbus.clock import Clock, wall_clock
from taskbus.database.urls import quotable, redacted
from taskbus.errors import ConfigError
from taskbus.store.base import Store

SCHEMES = {
    "memory": "taskbus.store.memory",
    "sqlite": "taskbus.store.sql",
    "postgresql": "taskbus.store.sql",
    "postgres": "taskbus.store.sql",
    "mysql": "taskbus.store.sql",
    "mariadb": "taskbus.store.sql",
    "redis": "taskbus.store.redis",
    "rediss": "taskbus.store.redis",
    "sentinel": "taskbus.store.redis",
    "sentinels": "taskbus.store.redis",
    "redis+cluster": "taskbus.store.redis",
    "rediss+cluster": "taskbus.store.redis",
}
EXTRAS: dict[str, str] = {
    "postgresql": "postgresql",
    "postgres": "postgresql",
    "mysql": "mysql",
    "mariadb": "mysql",
    "redis": "redis",
    "rediss": "redis",
    "sentinel": "redis",
    "sentinels": "redis",
}
"""What pip must install for a scheme, where that is not part of TaskBus's own requirements."""


def open_store(url: str, clock: Clock = wall_clock) -> Store:
    """The store at ``url``: ``sqlite:////absolute/file.db``, ``postgresql://user@host/database``, and so on.

    A file is opened and given its tables at once, a server connected to when the store is first used. SQLAlchemy's
    spelling with a driver (``postgresql+psycopg://``) is understood.

    Raises:
        ConfigError: no store has that scheme, the rest of the URL cannot be used, or a library it needs is missing.
        StoreError: the database cannot be opened or written to.
    """
    store: Store = opened(url, lambda module: import_module(module).open_url(url, clock))
    return store


def opened(url: str, opening: Callable[[str], Any]) -> Any:
    """What ``opening`` makes of the name of the module whose store that URL is of; raises as ``open_store``."""
    spelling, separator, _ = url.partition("://")
    scheme = spelling.partition("+")[0]
    module = SCHEMES.get(scheme)
    if module is None or not separator:
        near = difflib.get_close_matches(scheme.lower(), SCHEMES, n=1)
        known = ", ".join(f"{name}://" for name in SCHEMES)
        advice = f"did you mean {near[0]}://?" if near and separator else f"results are kept in {known}"
        raise ConfigError(
            f"no result store for {quotable(spelling, url)}:// ({advice})"
            if separator
            else f"{redacted(url)!r} is no URL; {advice}"
        )
    try:
        return opening(module)
    except ModuleNotFoundError as error:
        if scheme not in EXTRAS or str(error.name).startswith("taskbus"):
            raise
        raise ConfigError(f"{scheme}:// needs {error.name}: pip install 'taskbus[{EXTRAS[scheme]}]'") from None
