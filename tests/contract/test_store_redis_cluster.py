"""The store on a Redis Cluster: what spans slots goes in several steps, in an order that loses nothing."""

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from taskbus.clock import Clock
from taskbus.database.redis import RedisDatabase
from taskbus.errors import StoreError
from taskbus.store import redis_cluster
from taskbus.store.base import Bury, Change, Exhume, Filter, Purge, Store
from taskbus.store.opening import open_store
from taskbus.store.redis import RedisStore
from taskbus.store.redis_cluster import write_index
from taskbus.testing.clock import START
from taskbus.testing.flow_contract import FlowContract
from taskbus.testing.records import attempted, dead, saved
from taskbus.testing.store_contract import ProcessesContract, StoreContract
from tests.servers.redis_server import RedisCluster


class TestRedisStoreOnACluster(StoreContract, FlowContract, ProcessesContract):
    @pytest.fixture(autouse=True)
    def found(self, cluster: RedisCluster) -> None:
        self.url = f"{cluster.url}?prefix={{folder}}"

    def open(self, folder: Path, clock: Clock) -> Store:
        return open_store(self.url.format(folder=folder), clock)


@pytest.fixture
def store(cluster: RedisCluster) -> Iterator[RedisStore]:
    cluster.flush()
    with closing(RedisStore(RedisDatabase.open(cluster.url))) as store:
        yield store


def broken_off(store: RedisStore, change: Change, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Apply a change, but for its last step; that is returned."""
    late: list[Callable[[], None]] = []
    with monkeypatch.context() as patch:
        patch.setattr(redis_cluster, "write_index", lambda *given: late.append(partial(write_index, *given)))
        assert store.apply([change])
    return late[0]


def test_it_shares_no_step_with_a_broker(store: RedisStore) -> None:
    assert store.database == ""


def commands(cluster: RedisCluster, name: str) -> list[int]:
    """How often each node executed a command."""
    found = []
    for node in cluster.nodes:
        lines = node.cli("INFO", "commandstats").decode().splitlines()
        own = [line.partition("calls=")[2].partition(",")[0] for line in lines if line.startswith(f"cmdstat_{name}:")]
        found.append(int(own[0]) if own else 0)
    return found


def test_a_batch_is_spread_over_the_nodes_and_rings_once(cluster: RedisCluster, store: RedisStore) -> None:
    store.apply([saved(f"warm{number}") for number in range(20)])
    for node in cluster.nodes:
        node.cli("CONFIG", "RESETSTAT")
    ids = [f"t{number}" for number in range(300)]
    assert store.apply([saved(task_id) for task_id in ids])
    assert sum(commands(cluster, "set")) == 300 and min(commands(cluster, "set")) > 50
    assert sum(commands(cluster, "publish")) == 1
    assert store.results(ids).keys() == set(ids)


def test_a_node_that_is_gone_is_an_error_for_its_own_tasks_alone(cluster: RedisCluster, store: RedisStore) -> None:
    ids = [f"t{number}" for number in range(60)]
    store.apply([saved(task_id, value=b"first") for task_id in ids])
    hasty = RedisStore(RedisDatabase.open(cluster.url, 0.5))
    node = cluster.nodes[2]
    node.kill()
    try:
        with pytest.raises(StoreError):
            hasty.apply([saved(task_id) for task_id in ids])
    finally:
        node.start()
        cluster.wait_until_well()
    assert store.apply([saved(task_id, value=b"second") for task_id in ids])
    assert {result.value for result in store.results(ids).values()} == {b"first"}


def test_what_the_nodes_settings_mean_is_said_once(cluster: RedisCluster, store: RedisStore) -> None:
    assert [remark.subject for remark in store.examine()] == ["version", "durability"]
    cluster.nodes[1].cli("CONFIG", "SET", "appendfsync", "everysec")
    try:
        assert [remark.subject for remark in store.examine()] == ["version", "durability", "durability"]
    finally:
        cluster.nodes[1].cli("CONFIG", "SET", "appendfsync", "always")


def test_nothing_is_left_of_what_was_taken_out(cluster: RedisCluster, store: RedisStore) -> None:
    store.apply([saved("t1"), attempted("t1", 1), Bury(dead("t1")), attempted("t2", 1), Bury(dead("t2"))])
    store.apply([Bury(dead("t1", START + 1))])
    assert store.apply([Purge("missing"), Exhume("t1"), Purge("t2")])
    assert [node.keys() for node in cluster.nodes] == [[], [], []]


def test_a_burial_that_stopped_half_way_is_completed_by_the_next(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken_off(store, Bury(dead("t1")), monkeypatch)
    assert (store.count_dead_letters(Filter()), store.dead_letters(Filter(), limit=9)) == (0, [])
    store.apply([Bury(dead("t1", START + 1))])
    assert [letter.dead_at for letter in store.dead_letters(Filter(), limit=9)] == [START + 1]


def test_a_letter_whose_taking_out_stopped_half_way_is_not_listed(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.apply([Bury(dead("t1")), Bury(dead("t2", START + 1))])
    broken_off(store, Exhume("t1"), monkeypatch)
    assert [letter.task_id for letter in store.dead_letters(Filter(), limit=1)] == ["t2"]
    assert not store.apply([Exhume("t1")])
    assert store.count_dead_letters(Filter()) == 1, "listing took the entry out that leads nowhere"


def test_a_letter_buried_anew_while_the_old_one_is_taken_out_stays_listed(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.apply([Bury(dead("t1"))])
    late = broken_off(store, Exhume("t1"), monkeypatch)
    store.apply([Bury(dead("t1", START + 1))])
    late()
    assert [letter.dead_at for letter in store.dead_letters(Filter(), limit=9)] == [START + 1]
