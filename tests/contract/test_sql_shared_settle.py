"""Broker and store in one database on a server: a settlement is one transaction of both."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from types import ModuleType

import pytest

from taskbus.broker.broker import Broker
from taskbus.broker.delivery import Settlement
from taskbus.errors import BrokerError, StoreError
from taskbus.outcome import State
from taskbus.store.base import Bury, Exhume, Filter, Store
from taskbus.store.opening import open_store
from taskbus.testing.clock import MovableClock
from taskbus.testing.records import FAILURE, attempted, dead, saved
from taskbus.testing.transport_basis import acks, message, send, waiting
from tests.servers import mariadb_server, postgres_server
from tests.servers.proxy import Proxy


@pytest.fixture(params=["postgresql", "mysql"])
def servers(request: pytest.FixtureRequest) -> ModuleType:
    return postgres_server if request.param == "postgresql" else mariadb_server


@pytest.fixture
def url(servers: ModuleType) -> str:
    return str(servers.new_url())


@pytest.fixture
def broker(url: str) -> Iterator[Broker]:
    with closing(Broker(url, clock=MovableClock())) as broker:
        yield broker


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with closing(open_store(url, MovableClock())) as store:
        yield store


def test_broker_and_store_know_that_they_share_a_database(broker: Broker, store: Store, servers: ModuleType) -> None:
    assert store.database == broker.database != ""
    assert open_store(servers.new_url()).database != broker.database


def test_a_result_is_recorded_in_the_step_that_acks(broker: Broker, store: Store) -> None:
    consumer = broker.consumer(["default"], name="w", lease=30)
    send(broker, "a", "b")
    first, second = consumer.fetch(2)
    assert consumer.settle([Settlement(first, changes=[saved("a")])], store.apply, shared=True) == []
    assert store.results(["a"]).keys() == {"a"}

    # The second result is written, then the step fails: neither the result nor the ack may remain.
    def failing(changes: object, transaction: object) -> bool:
        assert store.apply(changes, transaction)  # type: ignore[arg-type]
        raise BrokerError("died here")

    with pytest.raises(BrokerError, match="died here"):
        consumer.settle([Settlement(second, changes=[saved("b")])], failing, shared=True)
    assert store.results(["b"]) == {}
    assert consumer.settle(acks([second]), None, shared=False) == []
    consumer.close()


def test_a_batch_of_every_outcome_is_settled_in_one_step(broker: Broker, store: Store) -> None:
    consumer = broker.consumer(["default"], name="w", lease=30)
    send(broker, *(f"t{n:02}" for n in range(60)))
    settlements = []
    for n, delivery in enumerate(consumer.fetch(60)):
        task_id = f"t{n:02}"
        if n % 3 == 0:
            settlements.append(Settlement(delivery, changes=[saved(task_id)]))
        elif n % 3 == 1:
            changes = [attempted(task_id, 1), saved(task_id, State.RETRY, failure=FAILURE)]
            settlements.append(Settlement(delivery, follow_ups=[message(f"again-{task_id}")], changes=changes))
        else:
            changes = [attempted(task_id, 1), Bury(dead(task_id)), saved(task_id, State.FAILURE, failure=FAILURE)]
            settlements.append(Settlement(delivery, changes=changes))
    assert consumer.settle(settlements, store.apply, shared=True) == []
    found = store.results([f"t{n:02}" for n in range(60)])
    assert (
        sorted(each.state for each in found.values())
        == [State.FAILURE] * 20 + [State.RETRY] * 20 + [State.SUCCESS] * 20
    )
    assert (store.count_dead_letters(Filter()), len(waiting(broker))) == (20, 20)
    consumer.close()


def test_what_is_held_no_more_is_not_recorded_either(broker: Broker, store: Store) -> None:
    consumer = broker.consumer(["default"], name="w", lease=30)
    send(broker, "a", "b")
    first, second = consumer.fetch(2)
    consumer.settle(acks([first]), None, shared=False)
    both = [Settlement(first, changes=[saved("a")]), Settlement(second, changes=[saved("b")])]
    assert consumer.settle(both, store.apply, shared=True) == [first]
    assert store.results(["a", "b"]).keys() == {"b"}
    consumer.close()


def test_a_dead_letter_is_replayed_once_however_many_try(broker: Broker, store: Store) -> None:
    store.apply([Bury(dead("a"))])
    replay = Settlement(None, follow_ups=[message("a")], changes=[Exhume("a")])
    with ThreadPoolExecutor(6) as pool:
        taken = list(pool.map(lambda _: broker.transact(replay, store.apply, shared=True), range(6)))
    assert sorted(taken) == [False] * 5 + [True]
    assert waiting(broker) == ["a"]


def test_a_refused_change_undoes_the_settlement(broker: Broker, store: Store) -> None:
    consumer = broker.consumer(["default"], name="w", lease=30)
    send(broker, "a")
    (delivery,) = consumer.fetch(1)
    settlement = Settlement(delivery, follow_ups=[message("next")], changes=[saved("a"), Exhume("missing")])
    with pytest.raises(StoreError, match="refused"):
        consumer.settle([settlement], store.apply, shared=True)
    assert (store.results(["a"]), waiting(broker)) == ({}, [])
    assert consumer.settle(acks([delivery]), None, shared=False) == []
    consumer.close()


def test_a_settlement_whose_answer_was_lost_is_done_once(servers: ModuleType, url: str, store: Store) -> None:
    with Proxy(servers.shared_server().port) as proxy:
        place, _, rest = url.rpartition("127.0.0.1:")
        through = f"{place}127.0.0.1:{proxy.port}/{rest.partition('/')[2]}"
        with (
            closing(Broker(through, clock=MovableClock())) as broker,
            closing(open_store(through, MovableClock())) as own,
        ):
            consumer = broker.consumer(["default"], name="w", lease=30)
            send(broker, "a")
            deliveries = consumer.fetch(1)
            settlements = [Settlement(each, follow_ups=[message("next")], changes=[saved("a")]) for each in deliveries]
            lost = proxy.lose_reply(b"COMMIT")
            try:
                assert consumer.settle(settlements, own.apply, shared=True) == []
            except BrokerError:
                assert consumer.settle(settlements, own.apply, shared=True) == []
            lost.wait()
            assert store.results(["a"]).keys() == {"a"}
            assert waiting(broker) == ["next"]
            consumer.close()


SETTLER = """
import os, signal, sys
from taskbus.broker.broker import Broker
from taskbus.broker.delivery import Settlement
from taskbus.store.opening import open_store
from taskbus.testing.records import saved
from taskbus.testing.transport_basis import message
broker, store = Broker(sys.argv[1]), open_store(sys.argv[1])
consumer = broker.consumer(["default"], name="w", lease=0.2)
def record(changes, transaction):
    assert store.apply(changes, transaction)
    os.kill(os.getpid(), signal.SIGKILL)
settlements = [Settlement(each, follow_ups=[message("next")], changes=[saved("a")]) for each in consumer.fetch(1)]
consumer.settle(settlements, record, shared=True)
"""


def test_a_worker_killed_inside_a_settlement_has_done_none_of_it(url: str, tmp_path: Path) -> None:
    with closing(Broker(url)) as broker, closing(open_store(url)) as store:
        send(broker, "a")
        assert subprocess.run([sys.executable, "-c", SETTLER, url], timeout=60).returncode == -9
        assert (store.results(["a"]), waiting(broker)) == ({}, [])
        ((size),) = [size for size in broker.queues() if size.name == "default"]
        assert (size.running, size.ready) == (1, 0)
