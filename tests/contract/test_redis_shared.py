"""A broker and a store on the same Redis: what is settled and what is recorded is one atomic step."""

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from taskbus.broker.broker import Broker
from taskbus.broker.consumer import Consumer
from taskbus.broker.delivery import Act, Settlement
from taskbus.errors import BrokerError, StoreError
from taskbus.outcome import State
from taskbus.store.base import Bury, Exhume, Filter, ForgetAttempts, Store
from taskbus.store.opening import open_store
from taskbus.testing.records import DEADLINE, FAILURE, attempted, dead, saved
from taskbus.testing.transport_basis import LEASE, ids, message, send, waiting
from tests.servers.proxy import Proxy
from tests.servers.redis_server import RedisServer


@pytest.fixture
def url(server: RedisServer, tmp_path: Path) -> str:
    return f"{server.url}?prefix={tmp_path.name}"


@pytest.fixture
def broker(url: str) -> Iterator[Broker]:
    with closing(Broker(url)) as broker:
        yield broker


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with closing(open_store(url)) as store:
        yield store


@pytest.fixture
def worker(broker: Broker) -> Iterator[Consumer]:
    worker = broker.consumer(["default"], name="worker", lease=LEASE)
    yield worker
    worker.close()


def test_both_know_that_they_share(broker: Broker, store: Store) -> None:
    assert broker.database == store.database != ""


@pytest.mark.parametrize("other", ["redis://127.0.0.1:{port}/1", "redis://127.0.0.1:{port}/0?prefix=other"])
def test_another_database_or_prefix_is_not_shared(server: RedisServer, broker: Broker, other: str) -> None:
    assert open_store(other.format(port=server.port)).database != broker.database


def test_ack_result_and_what_follows_are_one_step(
    server: RedisServer, broker: Broker, store: Store, worker: Consumer
) -> None:
    send(broker, "a", "b", "c")
    a, b, c = worker.fetch(10)
    store.apply([attempted("b", 1), attempted("c", 1)])
    server.cli("CONFIG", "RESETSTAT")
    settlements = [
        Settlement(a, changes=(saved("a", value=b"1"),)),
        Settlement(b, follow_ups=(message("next"),), changes=(saved("b", value=b"2"), ForgetAttempts("b"))),
        Settlement(c, changes=(saved("c", State.FAILURE, failure=FAILURE), Bury(dead("c")))),
    ]
    assert worker.settle(settlements, store.apply, shared=True) == []
    scripts = [line for line in server.cli("INFO", "commandstats").decode().splitlines() if "cmdstat_eval" in line]
    assert sum(int(line.partition("calls=")[2].partition(",")[0]) for line in scripts) <= 2  # EVAL once, if unknown
    assert {key: result.value for key, result in store.results(["a", "b", "c"]).items()} == {
        "a": b"1", "b": b"2", "c": None,
    }  # fmt: skip
    assert store.attempts(["b", "c"]).keys() == {"c"}
    assert [letter.task_id for letter in store.dead_letters(Filter(), limit=9)] == ["c"]
    assert waiting(broker) == ["next"]


def test_a_result_recorded_with_its_ack_rings_the_bell(broker: Broker, store: Store, worker: Consumer) -> None:
    send(broker, "a")
    (delivery,) = worker.fetch(1)
    heard = threading.Event()
    cancel = store.subscribe(heard.set)
    worker.settle([Settlement(delivery, changes=(saved("a"),))], store.apply, shared=True)
    assert heard.wait(DEADLINE)
    cancel()


def test_what_is_not_held_any_more_is_not_recorded_either(broker: Broker, store: Store, worker: Consumer) -> None:
    send(broker, "a", "b")
    a, b = worker.fetch(2)
    worker.settle([Settlement(a, Act.RELEASE)], None, shared=True)
    settlements = [Settlement(each, changes=(saved(name),)) for each, name in ((a, "a"), (b, "b"))]
    assert worker.settle(settlements, store.apply, shared=True) == [a]
    assert store.results(["a", "b"]).keys() == {"b"}
    assert waiting(broker) == ["a"]


def test_a_refused_change_settles_nothing_and_records_nothing(broker: Broker, store: Store, worker: Consumer) -> None:
    send(broker, "a", "b")
    a, b = worker.fetch(2)
    settlements = [
        Settlement(a, follow_ups=(message("next"),), changes=(saved("a"),)),
        Settlement(b, changes=(saved("b"), Exhume("missing"))),
    ]
    with pytest.raises(StoreError, match="refused a change"):
        worker.settle(settlements, store.apply, shared=True)
    assert store.results(["a", "b"]) == {}
    assert waiting(broker) == []
    assert worker.settle([Settlement(a), Settlement(b)], None, shared=True) == []


def test_replaying_takes_the_letter_and_queues_its_task_or_neither(broker: Broker, store: Store) -> None:
    store.apply([Bury(dead("a")), saved("a", State.FAILURE, failure=FAILURE), attempted("a", 1)])
    replay = Settlement(None, follow_ups=(message("a"),), changes=(Exhume("a"),))
    assert broker.transact(replay, store.apply, shared=True)
    assert not broker.transact(replay, store.apply, shared=True)
    assert waiting(broker) == ["a"]
    assert store.count_dead_letters(Filter()) == 0
    assert store.results(["a"]) == store.attempts(["a"]) == {}


def test_a_step_that_fails_records_and_settles_nothing(
    server: RedisServer, broker: Broker, store: Store, worker: Consumer, tmp_path: Path
) -> None:
    """Something of another program is where the index of the letters should be."""
    send(broker, "a")
    (delivery,) = worker.fetch(1)
    settlement = Settlement(delivery, follow_ups=(message("next"),), changes=(saved("a"), Bury(dead("a"))))
    heads = f"{tmp_path.name}:letters:{{index}}:heads"
    server.cli("SET", heads, "foreign")
    with pytest.raises(BrokerError, match="prefix="):
        worker.settle([settlement], store.apply, shared=True)
    assert store.results(["a"]) == {} and waiting(broker) == []
    server.cli("DEL", heads)
    assert worker.settle([settlement], store.apply, shared=True) == []
    assert (store.results(["a"]).keys(), store.count_dead_letters(Filter()), waiting(broker)) == ({"a"}, 1, ["next"])


def test_tasks_end_though_memory_is_used_up(
    server: RedisServer, broker: Broker, store: Store, worker: Consumer
) -> None:
    send(broker, "a")
    (delivery,) = worker.fetch(1)
    server.cli("CONFIG", "SET", "maxmemory", "1")
    try:
        changes = (ForgetAttempts("a"), saved("a", value=b"1"), Bury(dead("b")))
        assert worker.settle([Settlement(delivery, changes=changes)], store.apply, shared=True) == []
        assert store.results(["a"])["a"].value == b"1"
    finally:
        server.cli("CONFIG", "SET", "maxmemory", "0")


def test_a_lost_reply_settles_and_records_once(server: RedisServer, tmp_path: Path) -> None:
    with Proxy(server.port) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}/0?prefix={tmp_path.name}"
        with closing(Broker(url)) as broker, closing(open_store(url)) as store:
            worker = broker.consumer(["default"], name="worker", lease=LEASE)
            send(broker, "warm", "a")
            warm, a = worker.fetch(2)
            worker.settle([Settlement(warm, changes=(saved("warm"),))], store.apply, shared=True)
            lost = proxy.lose_reply(b"finished-by-a")
            changes = (saved("a", value=b"finished-by-a"),)
            settlement = Settlement(a, follow_ups=(message("next"),), changes=changes)
            assert worker.settle([settlement], store.apply, shared=True) == []
            assert lost.is_over
            assert store.results(["a"])["a"].value == b"finished-by-a"
            assert ids(worker.fetch(9)) == ["next"]
            worker.close()


def test_nothing_is_left_when_all_is_done(
    server: RedisServer, broker: Broker, store: Store, worker: Consumer, tmp_path: Path
) -> None:
    send(broker, "a")
    (delivery,) = worker.fetch(1)
    changes = (attempted("a", 1), saved("a", State.FAILURE, failure=FAILURE), Bury(dead("a")))
    worker.settle([Settlement(delivery, changes=changes)], store.apply, shared=True)
    assert store.apply([Exhume("a")])
    left = [key for key in server.keys(f"{tmp_path.name}:*") if not key.startswith(f"{tmp_path.name}:{{")]
    assert left == []
