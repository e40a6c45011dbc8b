"""The store in SQLite keeps the contract of all stores, and some promises of its own."""

import os
import sqlite3
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from taskbus.clock import Clock
from taskbus.database.sqlite import SqliteDatabase
from taskbus.errors import ConfigError, StoreError
from taskbus.store.base import Bury, Filter, Store
from taskbus.store.opening import open_store
from taskbus.store.sql import SqlStore
from taskbus.testing.clock import MovableClock
from taskbus.testing.flow_contract import FlowContract
from taskbus.testing.records import attempted, dead, saved
from taskbus.testing.store_contract import ProcessesContract, StoreContract, TransactionsContract


class TestSqliteStore(StoreContract, FlowContract, TransactionsContract, ProcessesContract):
    url = "sqlite:///{folder}/results.db"

    def open(self, folder: Path, clock: Clock) -> Store:
        return open_store(self.url.format(folder=folder), clock)

    def transaction(self, folder: Path) -> AbstractContextManager[Any]:
        return SqliteDatabase.open(self.url.format(folder=folder)).transaction()


def url_of(folder: Path) -> str:
    return f"sqlite:///{folder}/results.db"


def test_its_database_is_named_alike_by_every_url_of_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "deep"
    folder.mkdir()
    (tmp_path / "link").symlink_to(folder)
    names = {open_store(f"sqlite:///{tmp_path}/{way}/results.db").database for way in ("deep", "link", "deep/../deep")}
    assert names == {SqliteDatabase.open(url_of(folder)).identity}


def test_results_survive_the_process_that_wrote_them(tmp_path: Path) -> None:
    clock = MovableClock()
    child = os.fork()
    if not child:
        open_store(url_of(tmp_path), clock).apply([saved("t1", value=b"1"), Bury(dead("t2"))])
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    store = open_store(url_of(tmp_path), clock)
    assert store.results(["t1"])["t1"].value == b"1"
    assert store.count_dead_letters(Filter()) == 1


def test_a_forked_child_writes_through_a_connection_of_its_own(tmp_path: Path) -> None:
    store = open_store(url_of(tmp_path), MovableClock())
    store.apply([saved("parent")])
    child = os.fork()
    if not child:
        os._exit(0 if store.apply([saved("child")]) and store.results(["parent"]) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert store.results(["parent", "child"]).keys() == {"parent", "child"}


def test_a_change_that_cannot_be_written_leaves_none_of_its_set(tmp_path: Path) -> None:
    store = open_store(url_of(tmp_path), MovableClock())
    impossible: Any = object()
    with pytest.raises(StoreError):
        store.apply([saved("t1"), attempted("t1", 1), saved("t2", value=impossible)])
    assert store.results(["t1"]) == store.attempts(["t1"]) == {}


def test_nothing_but_reading_happens_in_a_sweep_that_finds_nothing(tmp_path: Path) -> None:
    clock = MovableClock()
    store = open_store(url_of(tmp_path), clock)
    store.apply([saved("t1", ttl=60)])
    other = sqlite3.connect(tmp_path / "results.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert store.sweep(clock()) == 0
    other.close()


def test_a_locked_database_is_an_error_that_says_so(tmp_path: Path) -> None:
    open_store(url_of(tmp_path))
    hasty = SqliteDatabase.open(url_of(tmp_path), 0.01)
    other = sqlite3.connect(tmp_path / "results.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="locked by another process"):
        SqlStore(hasty).apply([saved("t1")])
    other.close()


@pytest.mark.parametrize(
    ("place", "says"),
    [("missing/results.db", "does not exist; create it"), ("plain.txt", "is not a SQLite database")],
)
def test_a_file_that_cannot_be_used_is_an_error_with_advice(tmp_path: Path, place: str, says: str) -> None:
    (tmp_path / "plain.txt").write_text("just some text, long enough to be read as a header of a database\n" * 20)
    with pytest.raises(StoreError, match=says):
        open_store(f"sqlite:///{tmp_path}/{place}")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("kafka://localhost/0", "no result store for kafka://"),
        ("sqllite:///x.db", "did you mean sqlite://"),
        ("results.db", "is no URL"),
        ("sqlite://", "names no file"),
        ("sqlite:///x.db?sync=1", "unknown option sync"),
    ],
)
def test_a_url_that_leads_nowhere_is_refused_with_advice(url: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        open_store(url)
