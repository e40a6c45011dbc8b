"""From settings to a history: which database it is in, when none is named."""

from taskbus.clock import Clock, wall_clock
from taskbus.history.history import History
from taskbus.history.retention import Retention


def open_history(url: str, clock: Clock = wall_clock, retention: Retention = Retention()) -> History:
    """The history at ``url``: ``sqlite:///file.db``, ``postgresql://...``, ``mysql://...``.

    A file is opened and given its tables at once, a server connected to when it is first used.

    Raises:
        ConfigError: the URL is none of a SQL database, or cannot be used.
        StoreError: the database cannot be opened or written to.
    """
    raise NotImplementedError


def history_url(results: str) -> str:
    """Where the history of an application is that does not say: ``results`` is the URL of its result store.

    A SQL server's own database; beside a SQLite file another, ``NAME-history.db``; else (Redis, memory) the file
    ``taskbus-history.db`` in the working folder.
    """
    raise NotImplementedError
