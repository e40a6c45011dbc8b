"""The store in MariaDB, and so in MySQL, keeps the contract of all stores, and some promises of its own."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from taskbus import TaskBus
from taskbus.clock import Clock
from taskbus.database.opening import open_database
from taskbus.store.base import Bury, Filter, Store
from taskbus.store.opening import open_store
from taskbus.testing.clock import MovableClock
from taskbus.testing.flow_contract import FlowContract
from taskbus.testing.records import attempted, dead, saved
from taskbus.testing.store_contract import ProcessesContract, StoreContract, TransactionsContract
from tests.servers import mariadb_server
from tests.servers.server import until


class TestMysqlStore(StoreContract, FlowContract, TransactionsContract, ProcessesContract):
    @pytest.fixture(autouse=True)
    def database(self) -> None:
        self.url = mariadb_server.new_url()

    def open(self, folder: Path, clock: Clock) -> Store:
        return open_store(self.url, clock)

    def transaction(self, folder: Path) -> AbstractContextManager[Any]:
        return open_database(self.url).transaction()


@pytest.fixture
def store() -> Store:
    return open_store(mariadb_server.new_url(), MovableClock())


def test_every_spelling_of_the_scheme_leads_to_the_same_store() -> None:
    url = mariadb_server.new_url()
    schemes = ("mysql", "mariadb", "mysql+pymysql", "mariadb+pymysql")
    assert len({open_store(url.replace("mysql://", f"{scheme}://")).database for scheme in schemes}) == 1


def test_ids_that_a_collation_would_take_for_one_are_different(store: Store) -> None:
    ids = ["task", "Task", "tâsk", "task ", "\uff54ask"]
    store.apply([saved(each, value=each.encode()) for each in ids])
    store.apply([change for each in ids for change in (attempted(each, 1), Bury(dead(each, task=each)))])
    assert {each: found.value for each, found in store.results(ids).items()} == {each: each.encode() for each in ids}
    assert (
        len(store.attempts(ids)) == store.count_dead_letters(Filter()) == len(store.dead_letter_groups(Filter())) == 5
    )
    store.forget(["task"])
    assert len(store.results(ids)) == 4


def test_a_batch_larger_than_a_packet_goes_in_parts() -> None:
    store = open_store(mariadb_server.new_url(), MovableClock())
    value = bytes(1 << 20)
    store.apply([saved(f"t{number:02}", value=value) for number in range(40)])  # a server takes 16 MiB at once
    assert len(store.results([f"t{number:02}" for number in range(10)])) == 10
    assert store.results(["t39"])["t39"].value == value


def test_who_waits_looks_often_at_first_and_ever_less_often_without_a_change(store: Store) -> None:
    looks: list[float] = []
    cancel = store.subscribe(lambda: looks.append(time.monotonic()))
    until(lambda: len(looks) >= 8, "eight looks", 20)
    pauses = [later - earlier for earlier, later in pairwise(looks[:8])]
    assert pauses[0] < 0.2 < pauses[-1]
    seen = len(looks)
    store.apply([saved("t1")])
    store.results(["t1"])
    started = time.monotonic()
    until(lambda: len(looks) > seen + 1, "two looks more", 20)
    assert time.monotonic() - started < 0.4
    cancel()


def test_a_result_is_waited_for_without_a_word_from_the_server() -> None:
    app = TaskBus("waits", broker="memory://waits", results=mariadb_server.new_url())
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(app.result("t1").get, 10)
        app.store.apply([saved("t1", value=b"\x07", ttl=60)])
        assert waiting.result(10) == 7
    app.close()
