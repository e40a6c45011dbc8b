"""Learning that a database was written to: by inotify, by polling, and through subscriptions."""

import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from taskbus.database.sqlite import SqliteDatabase
from taskbus.database.watch import FileWatch, PollingWatch, Watch, subscribe, watch

# Forking a process with threads is what some of this is about; Python 3.12 and later warn of it.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

DEADLINE = 20.0
INSERT = "INSERT INTO numbers VALUES (1)"


@pytest.fixture
def database(tmp_path: Path) -> SqliteDatabase:
    database = SqliteDatabase.open(f"sqlite:///{tmp_path}/x.db")
    database.connection().execute("CREATE TABLE numbers (n INTEGER)")
    return database


@pytest.fixture(params=[FileWatch, PollingWatch])
def watching(request: pytest.FixtureRequest, database: SqliteDatabase) -> Iterator[Watch]:
    if request.param is FileWatch and not sys.platform.startswith("linux"):
        pytest.skip("inotify is Linux only")
    with closing(request.param(database)) as watching:
        settle(watching)
        yield watching


def readable(watching: Watch, timeout: float = DEADLINE) -> bool:
    return bool(select.select([watching.fileno()], [], [], timeout)[0])


def settle(watching: Watch) -> int:
    """Drain until it stays quiet; how often that was."""
    times, deadline = 0, time.monotonic() + DEADLINE
    while readable(watching, 0.4):
        watching.drain()
        times += 1
        assert time.monotonic() < deadline
    return times


def elsewhere(database: SqliteDatabase) -> None:
    program = f"import sqlite3; c = sqlite3.connect({database.path!r}, isolation_level=None); c.execute({INSERT!r})"
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("write", [lambda database: database.connection().execute(INSERT), elsewhere])
def test_a_commit_by_anyone_makes_it_readable(
    watching: Watch, database: SqliteDatabase, write: Callable[[SqliteDatabase], object]
) -> None:
    write(database)
    assert readable(watching)
    assert settle(watching) >= 1
    assert not readable(watching, 0)


def test_reading_wakes_nobody(watching: Watch, database: SqliteDatabase) -> None:
    for _ in range(5):
        database.connection().execute("SELECT * FROM numbers").fetchall()
    assert not readable(watching, 0.3)


def test_a_commit_that_becomes_visible_late_is_looked_at_again(database: SqliteDatabase) -> None:
    """A write to the log is seen before its commit can be read: echoes follow every burst."""
    if not sys.platform.startswith("linux"):
        pytest.skip("inotify is Linux only")
    with closing(FileWatch(database)) as watching:
        settle(watching)
        database.connection().execute(INSERT)
        assert readable(watching)
        watching.drain()
        assert settle(watching) == 3


def test_a_log_that_is_deleted_and_made_anew_is_still_watched(watching: Watch, database: SqliteDatabase) -> None:
    database.close()
    settle(watching)
    elsewhere(database)
    settle(watching)
    database.connection().execute(INSERT)
    assert readable(watching)


def test_the_best_way_this_system_has_is_chosen(database: SqliteDatabase) -> None:
    with closing(watch(database)) as watching:
        assert isinstance(watching, FileWatch if sys.platform.startswith("linux") else PollingWatch)


# --- subscriptions ---


def test_subscribers_are_told_of_each_commit_until_they_cancel(database: SqliteDatabase) -> None:
    first, second = threading.Event(), threading.Event()
    cancel_first, cancel_second = subscribe(database, first.set), subscribe(database, second.set)
    elsewhere(database)
    assert first.wait(DEADLINE)
    assert second.wait(DEADLINE)
    cancel_first()
    first.clear()
    second.clear()
    database.connection().execute(INSERT)
    assert second.wait(DEADLINE)
    cancel_second()
    cancel_second()
    assert not first.is_set()


def test_what_is_committed_right_after_subscribing_is_told(database: SqliteDatabase) -> None:
    for _ in range(10):
        told = threading.Event()
        cancel = subscribe(database, told.set)
        database.connection().execute(INSERT)
        assert told.wait(DEADLINE)
        cancel()


def test_the_last_to_cancel_ends_the_thread(database: SqliteDatabase) -> None:
    before = set(threading.enumerate())
    cancels = [subscribe(database, lambda: None) for _ in range(3)]
    (watcher,) = set(threading.enumerate()) - before
    for cancel in cancels:
        cancel()
    watcher.join(DEADLINE)
    assert not watcher.is_alive()


def test_a_forked_child_can_subscribe_for_itself(database: SqliteDatabase) -> None:
    cancel = subscribe(database, lambda: None)
    pid = os.fork()
    if not pid:
        told = threading.Event()
        subscribe(database, told.set)
        database.connection().execute(INSERT)
        os._exit(0 if told.wait(DEADLINE) else 1)
    assert os.waitpid(pid, 0)[1] == 0
    cancel()
