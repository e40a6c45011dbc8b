"""The shared database: URLs, a connection a thread, transactions, errors in words, and forks."""

import os
import sqlite3
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from taskbus.database.connection import explain, is_locked
from taskbus.database.sqlite import SqliteDatabase, locate
from taskbus.database.watch import subscribe
from taskbus.errors import ConfigError
from taskbus.testing.transport_processes import in_child

# Forking a process with threads is what some of this is about; Python 3.12 and later warn of it.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


@pytest.fixture
def database(tmp_path: Path) -> SqliteDatabase:
    database = SqliteDatabase.open(f"sqlite:///{tmp_path}/x.db", timeout=0.05)
    database.connection().execute("CREATE TABLE numbers (n INTEGER)")
    return database


def insert(database: SqliteDatabase, *numbers: int) -> None:
    with database.transaction() as cursor:
        cursor.executemany("INSERT INTO numbers VALUES (?)", [(n,) for n in numbers])


def numbers(database: SqliteDatabase) -> list[int]:
    return [n for (n,) in database.connection().execute("SELECT n FROM numbers ORDER BY rowid")]


# --- URLs ---


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:////tmp/a.db", "/tmp/a.db"),
        ("sqlite:///a.db", "{cwd}/a.db"),
        ("sqlite:///sub/../a.db", "{cwd}/a.db"),
        ("sqlite:///with%20space%3F.db", "{cwd}/with space?.db"),
        ("sqlite:///żółw.db?synchronous=full", "{cwd}/żółw.db"),
    ],
)
def test_a_url_names_an_absolute_path(url: str, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    location = locate(url)
    assert location.path == path.format(cwd=tmp_path)
    assert locate(location.url) == location
    assert locate(location.identity).path == location.path


@pytest.mark.parametrize("url", ["", "x.db", "sqlite:", "sqlite://", "sqlite:///", "sqlite://x.db", "postgres://h/d"])
def test_a_url_that_names_no_file_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="sqlite"):
        locate(url)


def test_one_file_is_one_database_whatever_leads_to_it(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "x.db")
    plain, linked = (SqliteDatabase.open(f"sqlite:///{tmp_path}/{name}") for name in ("x.db", "link.db"))
    assert plain is linked
    durable = SqliteDatabase.open(f"sqlite:///{tmp_path}/x.db?synchronous=FULL")
    assert durable.identity == plain.identity
    assert durable.connection().execute("PRAGMA synchronous").fetchone() == (2,)
    assert plain.connection().execute("PRAGMA synchronous").fetchone() == (1,)


# --- connections and transactions ---


def test_each_thread_has_a_connection_of_its_own(database: SqliteDatabase) -> None:
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(database.connection()))
    thread.start()
    thread.join()
    assert database.connection() is database.connection()
    assert found[0] is not database.connection()


def test_a_transaction_happens_whole_or_not_at_all(database: SqliteDatabase) -> None:
    insert(database, 1, 2)
    with pytest.raises(ZeroDivisionError), database.transaction() as cursor:
        cursor.execute("INSERT INTO numbers VALUES (3)")
        raise ZeroDivisionError
    assert numbers(database) == [1, 2]


def test_a_closed_database_opens_again(database: SqliteDatabase) -> None:
    insert(database, 1)
    database.close()
    assert numbers(database) == [1]


def test_closing_leaves_alone_whoever_is_reading_and_closes_what_nobody_uses(database: SqliteDatabase) -> None:
    """SQLite crashes the process when a connection is closed in the middle of a statement."""
    insert(database, *range(200))
    slow = "SELECT count(*) FROM numbers a, numbers b WHERE a.rowid + b.rowid > ?"
    is_over = threading.Event()
    errors: list[BaseException] = []
    read = [0] * 4

    def reader(place: int) -> None:
        try:
            while not is_over.is_set():
                assert database.read(slow, (read[place] % 7,))[0][0] > 30_000
                read[place] += 1
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=reader, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    until = time.monotonic() + 20
    while min(read) < 10 and not errors and time.monotonic() < until:
        database.close()
        time.sleep(0.001)
    is_over.set()
    for thread in threads:
        thread.join()
    assert not errors and min(read) >= 10
    read_by_now = database.read("SELECT count(*) FROM numbers")
    before = set(os.listdir("/proc/self/fd"))
    database.close()
    assert read_by_now == [(200,)]
    assert len(set(os.listdir("/proc/self/fd"))) < len(before)


def test_tables_are_made_once_by_whoever_comes_first(tmp_path: Path) -> None:
    database = SqliteDatabase.open(f"sqlite:///{tmp_path}/x.db")
    metadata = sa.MetaData()
    table = sa.Table("things", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("n", sa.Integer))
    sa.Index("things_n", table.c.n, sqlite_where=table.c.n > 0)
    assert not database.has(["things"])
    database.create(metadata)
    database.create(metadata)
    assert database.has(["things"])
    assert not database.has(["things", "others"])
    assert (
        "WHERE n > 0" in database.connection().execute("SELECT sql FROM sqlite_master WHERE type='index'").fetchone()[0]
    )


# --- errors ---


def test_a_lock_held_too_long_is_told_from_other_errors(database: SqliteDatabase) -> None:
    other = sqlite3.connect(database.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError) as caught:
        insert(database, 1)
    assert is_locked(caught.value)
    assert "locked by another process" in explain(caught.value, database.path)
    other.close()
    with pytest.raises(sqlite3.OperationalError) as caught:
        database.connection().execute("SELECT nonsense")
    assert not is_locked(caught.value)
    assert "nonsense" in explain(caught.value, database.path)


# --- forks ---


def test_a_forked_child_opens_its_own_connection(database: SqliteDatabase) -> None:
    insert(database, 1)
    assert in_child(lambda: insert(database, 2)) == 0
    assert numbers(database) == [1, 2]


def test_what_a_child_writes_survives_its_parents_other_connections(tmp_path: Path) -> None:
    """The parent's watching thread has a connection open at the fork, and closes it while the child writes."""
    for attempt in range(10):
        database = SqliteDatabase.open(f"sqlite:///{tmp_path}/{attempt}.db")
        database.connection().execute("CREATE TABLE numbers (n INTEGER)")
        cancel = subscribe(database, lambda: None)
        reader, writer = os.pipe()
        pid = os.fork()
        if not pid:
            insert(database, 1)
            os.write(writer, b".")
            insert(database, *range(2, 50))
            os._exit(0)
        os.read(reader, 1)
        cancel()
        database.close()
        assert os.waitpid(pid, 0)[1] == 0
        assert numbers(database) == list(range(1, 50))
        assert database.connection().execute("PRAGMA integrity_check").fetchone() == ("ok",)
        os.close(reader)
        os.close(writer)


def test_a_child_that_ends_leaves_its_parents_connections_alone(database: SqliteDatabase) -> None:
    cancel = subscribe(database, lambda: None)
    assert in_child(lambda: None) == 0
    assert in_child(database.close) == 0
    insert(database, 1)
    assert numbers(database) == [1]
    cancel()
