"""The store in Redis under faults of its own: restarts, cut and silent connections, lost replies, replicas."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from taskbus import codec
from taskbus.database.redis import RedisDatabase
from taskbus.errors import StoreError
from taskbus.outcome import State
from taskbus.store.base import Bury, Exhume, Filter, ForgetAttempts, Purge
from taskbus.store.redis import RedisStore
from taskbus.store.results import AsyncResult
from taskbus.store.waiting import waiting_for
from taskbus.testing.records import DEADLINE, FAILURE, attempted, dead, eventually, saved
from tests.servers.proxy import Proxy, Way
from tests.servers.redis_server import ALWAYS, RedisServer

HASTY = 0.4
SLACK = 1.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path / "redis", *ALWAYS)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def store(server: RedisServer) -> Iterator[RedisStore]:
    with closing(RedisStore(RedisDatabase.open(server.url))) as store:
        yield store


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[Proxy]:
    with Proxy(server.port) as proxy:
        yield proxy


@pytest.fixture
def far(proxy: Proxy) -> Iterator[RedisStore]:
    """A store on the other side of the proxy."""
    with closing(RedisStore(RedisDatabase.open(f"redis://127.0.0.1:{proxy.port}/0"))) as store:
        yield store


def hasty(port: int) -> RedisStore:
    """A store with little time."""
    return RedisStore(RedisDatabase.open(f"redis://127.0.0.1:{port}/0", HASTY))


def error_in_time(act: Callable[[], object]) -> str:
    """What the ``StoreError`` says that ``act`` raises within its time."""
    started = time.monotonic()
    with pytest.raises(StoreError) as caught:
        act()
    assert time.monotonic() - started < HASTY + SLACK
    return str(caught.value)


# --- the server goes and comes ---


def test_ten_restarts_in_a_row_cost_no_error_and_no_result(server: RedisServer, store: RedisStore) -> None:
    for number in range(10):
        assert store.apply([saved(f"t{number}", value=b"x"), attempted(f"t{number}", 1), Bury(dead(f"t{number}"))])
        server.kill()
        server.start()
    ids = [f"t{number}" for number in range(10)]
    assert store.results(ids).keys() == store.attempts(ids).keys() == set(ids)
    assert store.count_dead_letters(Filter()) == 10


def test_a_server_that_is_down_is_an_error_that_says_so(server: RedisServer) -> None:
    store = hasty(server.port)
    server.stop()
    for act in (
        lambda: store.apply([saved("t1")]),
        lambda: store.results(["t1"]),
        lambda: store.dead_letters(Filter(), limit=1),
        lambda: store.forget(["t1"]),
        store.examine,
    ):
        assert "is it running?" in error_in_time(act)
    store.close()


def test_who_waits_across_a_restart_gets_the_result(server: RedisServer, store: RedisStore) -> None:
    result: AsyncResult[Any] = AsyncResult("t1", store, decode=codec.decode)
    with ThreadPoolExecutor(1) as pool:
        waiter = pool.submit(result.get, DEADLINE)
        eventually(lambda: waiting_for(store)._wakes, "someone waiting")
        server.stop()
        server.start()
        store.apply([saved("t1", value=codec.encode(42))])
        assert waiter.result(DEADLINE) == 42


def test_the_bell_rings_when_the_server_is_back(server: RedisServer, store: RedisStore) -> None:
    rings = threading.Semaphore(0)
    cancel = store.subscribe(rings.release)
    server.restart()
    assert rings.acquire(timeout=DEADLINE)
    eventually(lambda: server.cli("PUBSUB", "NUMSUB", "taskbus:finished")[1] == 1, "listening again")
    store.apply([saved("t1")])
    assert rings.acquire(timeout=DEADLINE)
    cancel()


def test_listening_may_begin_while_the_server_is_down(server: RedisServer, store: RedisStore) -> None:
    server.stop()
    heard = threading.Event()
    cancel = store.subscribe(heard.set)
    assert not heard.is_set()
    server.start()
    assert heard.wait(DEADLINE)
    cancel()
    assert not any(thread.name == "taskbus-bell" and thread.is_alive() for thread in left_threads())


def left_threads() -> list[threading.Thread]:
    """The threads that are there after those that are about to end have had time to."""
    for thread in threading.enumerate():
        if thread.name == "taskbus-bell":
            thread.join(DEADLINE)
    return threading.enumerate()


def test_what_an_operator_flushed_is_unknown_and_all_goes_on(server: RedisServer, store: RedisStore) -> None:
    store.apply([saved("t1"), Bury(dead("t2"))])
    server.cli("FLUSHALL")
    server.cli("SCRIPT", "FLUSH")
    assert store.results(["t1"]) == {}
    assert (store.count_dead_letters(Filter()), store.apply([Exhume("t2")])) == (0, None)
    assert store.apply([saved("t1"), Bury(dead("t2"))])
    assert store.apply([Exhume("t2")])


def test_a_replica_is_an_error_until_it_is_the_primary_again(server: RedisServer) -> None:
    store = hasty(server.port)
    store.apply([saved("t1")])
    server.cli("REPLICAOF", "127.0.0.1", "1")
    assert "is a replica" in error_in_time(lambda: store.apply([saved("t2")]))
    server.cli("REPLICAOF", "NO", "ONE")
    assert store.apply([saved("t2")])
    store.close()


# --- connections ---


def test_killed_connections_are_noticed_by_nobody(server: RedisServer, store: RedisStore) -> None:
    is_over = threading.Event()

    def kill() -> None:
        while not is_over.wait(0.02):
            server.cli("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    def write(writer: int) -> None:
        for number in range(60):
            task_id = f"{writer}-{number}"
            store.apply([saved(task_id, value=b"first"), Bury(dead(task_id)), attempted(task_id, 1)])
            assert store.results([task_id])
            is_over.wait(0.002)

    with ThreadPoolExecutor(5) as pool:
        killer = pool.submit(kill)
        writers = [pool.submit(write, writer) for writer in range(4)]
        try:
            for each in writers:
                each.result(60)
        finally:
            is_over.set()
        killer.result(DEADLINE)
    assert store.count_dead_letters(Filter()) == 240


def test_a_server_that_stands_still_is_an_error_in_time_and_nothing_is_written_twice(server: RedisServer) -> None:
    store = hasty(server.port)
    store.apply([Bury(dead("t1"))])
    server.pause()
    try:
        assert "record it again" in error_in_time(lambda: store.apply([saved("t1", value=b"first"), Purge("t1")]))
        assert "no answer in time" in error_in_time(lambda: store.results(["t1"]))
    finally:
        server.resume()
    assert store.apply([saved("t1", value=b"first"), Purge("t1")])
    assert store.apply([saved("t1", value=b"second")])
    assert store.results(["t1"])["t1"].value == b"first"
    store.close()


@pytest.mark.parametrize("way", list(Way))
def test_a_network_that_swallows_one_way_is_an_error_in_time(proxy: Proxy, way: Way) -> None:
    store = hasty(proxy.port)
    store.apply([saved("warm")])
    proxy.blackhole(way)
    error_in_time(lambda: store.apply([saved("t1", value=b"x")]))
    error_in_time(lambda: store.results(["t1"]))
    proxy.heal()
    assert store.apply([saved("t1", value=b"x")])
    assert store.results(["t1"])["t1"].value == b"x"
    store.close()


def test_a_request_cut_at_any_byte_is_recorded_once(proxy: Proxy, far: RedisStore) -> None:
    far.apply([saved("warm")])
    for offset in range(0, 400, 7):
        cut = proxy.cut_after(offset, Way.TO_SERVER)
        changes = [saved(f"t{offset}", value=b"x" * 100), attempted(f"t{offset}", 1), Bury(dead(f"t{offset}"))]
        assert far.apply(changes)
        cut.wait()
        assert far.results([f"t{offset}"])[f"t{offset}"].value == b"x" * 100
    assert far.count_dead_letters(Filter()) == len(range(0, 400, 7))


# --- lost replies ---


def test_recording_goes_on_after_a_lost_reply(proxy: Proxy, far: RedisStore) -> None:
    far.apply([saved("warm")])
    lost = proxy.lose_reply(b"EVALSHA")
    changes = [saved("t1", State.RETRY, failure=FAILURE), attempted("t1", 1), saved("t1", value=b"1"), Bury(dead("t2"))]
    assert far.apply([*changes, ForgetAttempts("t1")])
    assert lost.is_over
    assert (far.results(["t1"])["t1"].value, far.attempts(["t1"])) == (b"1", {})
    assert far.count_dead_letters(Filter()) == 1


def test_a_letter_whose_taking_out_was_not_confirmed_is_not_taken_twice(proxy: Proxy, far: RedisStore) -> None:
    far.apply([Bury(dead("t1"))])
    proxy.lose_reply(b"EVALSHA")
    with pytest.raises(StoreError, match="may be, or not"):
        far.apply([Exhume("t1")])
    assert not far.apply([Exhume("t1")])
    assert far.count_dead_letters(Filter()) == 0


def test_reading_goes_on_after_a_lost_reply(proxy: Proxy, far: RedisStore) -> None:
    far.apply([saved("t1"), Bury(dead("t2"))])
    for pattern, read in (
        (b"MGET", lambda: far.results(["t1"])),
        (b"ZLEXCOUNT", lambda: far.count_dead_letters(Filter())),
        (b"EVALSHA", lambda: far.dead_letters(Filter(), limit=5)),
        (b"HGETALL", lambda: far.dead_letters(Filter(), limit=5)),
    ):
        lost = proxy.lose_reply(pattern)
        assert read()
        assert lost.is_over
