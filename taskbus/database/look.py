"""Looking at a SQLite file as it is: it is neither created, nor changed, nor given a write-ahead log."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

PREFIX = "taskbus_"
"""What the names of TaskBus's own tables start with."""


def tables(path: str) -> frozenset[str] | None:
    """The names of the tables in a database; None if there is no file.

    Raises:
        sqlite3.Error: the file cannot be read, or is no database.
    """
    if not os.path.exists(path):
        return None
    url = f"{Path(path).absolute().as_uri()}?{'immutable=1' if _is_at_rest(path) else 'mode=ro'}"
    with closing(sqlite3.connect(url, uri=True)) as connection:
        found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        return frozenset(row[0] for row in found)


def _is_at_rest(path: str) -> bool:
    """Whether the file has a write-ahead log that is gone: a reader would make one anew, unless told not to.

    Source: sqlite.org/fileformat.html, 1.3: byte 18 is 2 for such a file.
    """
    with open(path, "rb") as file:
        header = file.read(19)
    return len(header) == 19 and header[18] == 2 and not os.path.exists(f"{path}-wal")
