"""From a URL to a store; a store's module is imported only when its scheme is used."""

import difflib
from importlib import import_module

from taskbus.clock import Clock, wall_clock
from taskbus.errors import ConfigError
from taskbus.store.base import Store

SCHEMES = {"memory": "taskbus.store.memory", "sqlite": "taskbus.store.sql"}


def open_store(url: str, clock: Clock = wall_clock) -> Store:
    """The store at ``url``: ``sqlite:////absolute/file.db`` or ``memory://name``, with its tables in place.

    Raises:
        ConfigError: no store has that scheme, or the rest of the URL cannot be used.
        StoreError: the database cannot be opened or written to.
    """
    scheme, separator, _ = url.partition("://")
    module = SCHEMES.get(scheme)
    if module is None or not separator:
        near = difflib.get_close_matches(scheme.lower(), SCHEMES, n=1)
        known = " and ".join(f"{name}://" for name in SCHEMES)
        advice = f"did you mean {near[0]}://?" if near and separator else f"results are kept in {known}"
        raise ConfigError(
            f"no result store for {scheme}:// ({advice})" if separator else f"{url!r} is no URL; {advice}"
        )
    store: Store = import_module(module).open_url(url, clock)
    return store
