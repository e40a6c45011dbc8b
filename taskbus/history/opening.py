"""From settings to a history: which database it is in, when none is named."""

import os
from urllib.parse import quote

from taskbus.clock import Clock, wall_clock
from taskbus.config import Config
from taskbus.database.opening import SERVERS, open_database, scheme_of
from taskbus.database.sqlite import locate
from taskbus.database.urls import quotable
from taskbus.errors import ConfigError
from taskbus.history.history import History
from taskbus.history.retention import DEFAULT, Retention

FILE = "taskbus-history.db"
"""The file, where results are in no SQL database."""


def open_history(url: str, clock: Clock = wall_clock, retention: Retention = DEFAULT) -> History:
    """The history at ``url``: ``sqlite:///file.db``, ``postgresql://...``, ``mysql://...``.

    A file is opened and given its tables at once, a server connected to when it is first used.

    Raises:
        ConfigError: the URL is none of a SQL database, or cannot be used.
        StoreError: the database cannot be opened or written to.
    """
    scheme = scheme_of(url)
    if scheme != "sqlite" and scheme not in SERVERS:
        raise ConfigError(
            f"the history cannot be kept at {quotable(scheme, url)}://; name a SQL database, as"
            " sqlite:///taskbus-history.db or postgresql://user@host/database (setting history)"
        )
    return History(open_database(url), clock, retention)


def open_configured(config: Config, results: str, clock: Clock = wall_clock) -> History:
    """The history of an application: where and how long its settings say. ``results``: the URL of its result store."""
    retention = Retention(
        successes=config.history_keep,
        failures=config.history_keep_failures,
        rows=config.history_max_records,
        bytes=config.history_max_bytes,
    )
    return open_history(config.history or history_url(results), clock, retention)


def history_url(results: str) -> str:
    """Where the history of an application is that does not say: ``results`` is the URL of its result store.

    A SQL server's own database; beside a SQLite file another, ``NAME-history.db``; else (Redis, memory) the file
    ``taskbus-history.db`` in the working folder.
    """
    scheme = scheme_of(results)
    if scheme in SERVERS:
        return results
    path = os.path.abspath(FILE)
    if scheme == "sqlite":
        root, extension = os.path.splitext(locate(results).path)
        path = f"{root}-history{extension or '.db'}"
    return f"sqlite:///{quote(path)}"
