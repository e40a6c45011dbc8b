"""The store behind Sentinels keeps the contract, and goes on where the primary is after a failover."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from taskbus import codec
from taskbus.clock import Clock
from taskbus.errors import StoreError
from taskbus.store import waiting
from taskbus.store.base import Bury, Filter, Store
from taskbus.store.opening import open_store
from taskbus.store.results import AsyncResult
from taskbus.testing.flow_contract import FlowContract
from taskbus.testing.records import dead, eventually, saved
from taskbus.testing.store_contract import ProcessesContract, StoreContract
from tests.servers.redis_sentinel import House
from tests.servers.server import until

FAILOVER = 60.0


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with House(tmp_path_factory.mktemp("sentinel")) as house:
        yield house


class TestRedisStoreBySentinel(StoreContract, FlowContract, ProcessesContract):
    @pytest.fixture(autouse=True)
    def found(self, house: House) -> None:
        self.url = f"{house.url}?prefix={{folder}}"

    def open(self, folder: Path, clock: Clock) -> Store:
        return open_store(self.url.format(folder=folder), clock)


def test_who_waits_across_a_failover_gets_the_result(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "PATIENCE", FAILOVER)  # the first one may take its time on a busy machine
    with closing(open_store(house.url)) as store, ThreadPoolExecutor(1) as pool:
        store.apply([saved("before", value=b"1"), Bury(dead("letter"))])
        until(lambda: b"taskbus:result:{before}" in house.replica.cli("KEYS", "*before*"), "it is replicated")
        result: AsyncResult[Any] = AsyncResult("t1", store, decode=codec.decode)
        waiter = pool.submit(result.get, FAILOVER)
        eventually(lambda: waiting.waiting_for(store)._wakes, "someone waiting")
        house.primary.kill()
        until(lambda: is_saved(store), "the failover", FAILOVER)
        assert waiter.result(FAILOVER) == 42
        assert store.results(["before"])["before"].value == b"1"
        assert store.count_dead_letters(Filter()) == 1


def is_saved(store: Store) -> bool:
    """Whether a result can be recorded by now."""
    try:
        return store.apply([saved("t1", value=codec.encode(42))])
    except StoreError:
        return False
