"""The store in Redis keeps the contract of all stores, and some promises of its own."""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import hiredis
import pytest

from taskbus.clock import Clock, wall_clock
from taskbus.database.remark import Weight
from taskbus.errors import StoreError
from taskbus.outcome import State
from taskbus.store import redis as redis_store
from taskbus.store import redis_changes
from taskbus.store.base import Bury, Exhume, Filter, ForgetAttempts, Purge, Store
from taskbus.store.flows import BeginFlow, EndNode, Flow, Node, NodeState, Start
from taskbus.store.opening import open_store
from taskbus.testing.clock import START, MovableClock
from taskbus.testing.flow_contract import FlowContract
from taskbus.testing.records import DEADLINE, FAILURE, attempted, dead, eventually, saved
from taskbus.testing.store_contract import ProcessesContract, StoreContract
from tests.servers.redis_server import RedisServer

# Forking a process with threads is what some of this is about; Python 3.12 and later warn of it.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

LEAST = (
    "resetkeys", "~shop:*", "resetchannels", "&shop:*", "-@all", "+hello", "+ping", "+select", "+evalsha", "+eval",
    "+get", "+mget", "+set", "+getrange", "+del", "+exists", "+hset", "+hget", "+hmget", "+hgetall", "+hdel", "+zadd",
    "+hlen", "+zrem", "+zrange", "+zcard", "+zlexcount", "+publish", "+subscribe", "+unsubscribe", "+config|get",
    "+expire", "+hkeys",
)  # fmt: skip
"""What a user must be allowed who only keeps results, dead letters and flows there."""


@pytest.fixture
def empty(server: RedisServer) -> RedisServer:
    server.cli("FLUSHALL")
    server.cli("CONFIG", "RESETSTAT")
    return server


@pytest.fixture
def store(empty: RedisServer) -> Iterator[Store]:
    """Where Redis itself judges what is over."""
    with closing(open_store(empty.url)) as store:
        yield store


class TestRedisStore(StoreContract, FlowContract, ProcessesContract):
    @pytest.fixture(autouse=True)
    def found(self, server: RedisServer) -> None:
        self.url = f"{server.url}?prefix={{folder}}"

    def open(self, folder: Path, clock: Clock) -> Store:
        return open_store(self.url.format(folder=folder), clock)


def calls(server: RedisServer, command: str) -> int:
    """How often a command was executed, also by scripts, since the statistics were reset."""
    for line in server.cli("INFO", "commandstats").decode().splitlines():
        if line.startswith(f"cmdstat_{command}:"):
            return int(line.partition("calls=")[2].partition(",")[0])
    return 0


def connections(server: RedisServer) -> list[str]:
    """What all connections of TaskBus did last, by CLIENT LIST."""
    lines = server.cli("CLIENT", "LIST").decode().splitlines()
    return [line.partition(" cmd=")[2].partition(" ")[0] for line in lines if " name=taskbus " in line]


# --- results ---


def test_a_batch_of_results_is_one_round_trip(empty: RedisServer, store: Store) -> None:
    store.apply([saved("warm")])
    empty.cli("CONFIG", "RESETSTAT")
    assert store.apply([saved(f"t{number}", value=b"x") for number in range(500)])
    assert calls(empty, "evalsha") == 1
    assert calls(empty, "set") == 500
    assert calls(empty, "publish") == 1


def test_redis_itself_deletes_what_is_over(empty: RedisServer, store: Store) -> None:
    store.apply([saved("short", ttl=0.05), saved("long", ttl=3600.0), saved("longer", ttl=float("inf"))])
    eventually(lambda: not store.results(["short"]), "the end of a result")
    assert empty.keys() == ["taskbus:result:{longer}", "taskbus:result:{long}"]
    assert 3_590_000 < empty.cli("PTTL", "taskbus:result:{long}") <= 3_600_000
    empty.cli("CONFIG", "RESETSTAT")
    assert store.sweep(wall_clock() + 7200) == 0
    assert calls(empty, "scan") == 0


def test_a_result_that_is_over_makes_room_in_redis_too(store: Store) -> None:
    store.apply([saved("t1", value=b"old", ttl=0.02)])
    eventually(lambda: not store.results(["t1"]), "the end of a result")
    store.apply([saved("t1", State.FAILURE, failure=FAILURE)])
    assert store.results(["t1"])["t1"].state is State.FAILURE


def test_nothing_is_left_of_what_was_taken_out_or_forgotten(empty: RedisServer, store: Store) -> None:
    store.apply([attempted("t1", 1), saved("t1", State.FAILURE, failure=FAILURE), Bury(dead("t1"))])
    store.apply([attempted("t2", 1), saved("t2", State.FAILURE, failure=FAILURE), Bury(dead("t2"))])
    store.apply([attempted("t3", 1), saved("t3", State.RETRY, failure=FAILURE)])
    store.apply([Bury(dead("t1", START + 9))])
    assert store.apply([Exhume("t1"), Purge("t2"), ForgetAttempts("t3")])
    store.forget(["t2", "t3"])
    assert empty.keys() == []


@pytest.mark.parametrize("task_id", ["{a}b}", "}{", "{", "a b\n*", "ключ", "\x00", "x\"'\\"])
def test_task_ids_may_be_any_text(store: Store, task_id: str) -> None:
    store.apply([saved(task_id, value=b"1"), attempted(task_id, 1), Bury(dead(task_id))])
    assert store.results([task_id]).keys() == store.attempts([task_id]).keys() == {task_id}
    (letter,) = store.dead_letters(Filter(task_ids=(task_id,)), limit=2)
    assert (letter.task_id, len(letter.attempts)) == (task_id, 1)
    assert store.apply([Exhume(task_id)])


def test_a_change_that_cannot_be_written_leaves_none_of_its_set(store: Store) -> None:
    impossible: Any = object()
    with pytest.raises(StoreError, match="cannot be written"):
        store.apply([saved("t1"), attempted("t1", 1), saved("t2", value=impossible)])
    assert store.results(["t1"]) == store.attempts(["t1"]) == {}


def test_a_huge_set_goes_in_several_steps_in_its_order(
    empty: RedisServer, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_changes, "CHUNK_SIZE", 10)
    store.apply([saved("t1", value=b"first"), *(saved(f"x{number}") for number in range(25)), saved("t1", value=b"2")])
    assert store.results(["t1"])["t1"].value == b"first"
    assert len(store.results([f"x{number}" for number in range(25)])) == 25


def test_an_empty_set_asks_nothing(empty: RedisServer, store: Store) -> None:
    assert store.apply([])
    assert store.results([]) == store.attempts([]) == {}
    store.forget([])
    assert connections(empty) == []


def test_results_are_recorded_though_memory_is_used_up(empty: RedisServer, store: Store) -> None:
    store.apply([attempted("t1", 1), Bury(dead("t9"))])
    empty.cli("CONFIG", "SET", "maxmemory", "1")
    try:
        with pytest.raises(hiredis.ReplyError, match="OOM"):
            empty.cli("SET", "other", "x")
        assert store.apply([ForgetAttempts("t1"), saved("t1", value=b"1"), attempted("t2", 1), Bury(dead("t2"))])
        assert store.apply([Exhume("t9")])
        assert store.results(["t1"])["t1"].value == b"1"
    finally:
        empty.cli("CONFIG", "SET", "maxmemory", "0")


# --- dead letters ---


def bury_many(store: Store, count: int) -> None:
    for start in range(0, count, 1000):
        store.apply(
            [
                Bury(dead(f"t{number:06}", START + number // 3, task=f"task{number % 1000}", wire=b"w" * 100))
                for number in range(start, min(count, start + 1000))
            ]
        )


def test_a_filter_reads_heads_page_by_page_and_completes_only_what_fits(empty: RedisServer, store: Store) -> None:
    bury_many(store, 5000)
    empty.cli("CONFIG", "RESETSTAT")
    found = store.dead_letters(Filter(task="task77"), limit=3)
    assert [letter.task_id for letter in found] == ["t000077", "t001077", "t002077"]
    assert all(letter.wire == b"w" * 100 for letter in found)
    assert calls(empty, "get") == 3
    assert calls(empty, "zrange") < 5000 // 100
    after = found[-1].dead_at, found[-1].task_id
    assert [letter.task_id for letter in store.dead_letters(Filter(task="task77"), limit=9, after=after)] == [
        "t003077", "t004077",
    ]  # fmt: skip


def test_counting_by_time_asks_the_index_alone(empty: RedisServer, store: Store) -> None:
    bury_many(store, 999)
    empty.cli("CONFIG", "RESETSTAT")
    assert store.count_dead_letters(Filter()) == 999
    assert store.count_dead_letters(Filter(newer_than=START + 100, older_than=START + 109)) == 30
    assert (calls(empty, "zlexcount"), calls(empty, "hmget")) == (2, 0)


def test_letters_keep_their_order_across_signs_and_scripts(store: Store) -> None:
    given = [(-5.0, "z"), (-1.5, "y"), (0.0, "b"), (1.0, "a"), (1.0, "é"), (1.0, "日"), (1.0, "💥"), (2.5, "a2")]
    store.apply([Bury(dead(task_id, dead_at)) for dead_at, task_id in reversed(given)])
    found = [(each.dead_at, each.task_id) for each in store.dead_letters(Filter(), limit=99)]
    assert found == given == sorted(given)
    for place, after in enumerate(given):
        rest = store.dead_letters(Filter(), limit=99, after=after)
        assert [(each.dead_at, each.task_id) for each in rest] == given[place + 1 :]


def test_pages_go_on_from_a_letter_that_is_gone(store: Store) -> None:
    store.apply([Bury(dead(f"t{number}")) for number in range(4)])
    store.apply([Exhume("t1")])
    assert [each.task_id for each in store.dead_letters(Filter(), limit=9, after=(START, "t1"))] == ["t2", "t3"]


class Interrupted(redis_store.RedisStore):
    """A store where something happens between the reading of heads and that of the rest."""

    between: Any = None

    def pipeline(self, commands: Sequence[Any]) -> Sequence[Any]:
        happens, self.between = self.between, None
        if happens is not None:
            happens()
        return super().pipeline(commands)


def test_a_letter_taken_out_while_it_is_listed_leaves_no_gap_in_the_page(empty: RedisServer, store: Store) -> None:
    store.apply([Bury(dead(f"t{number}", START + number)) for number in range(5)])
    reading = Interrupted(redis_store.RedisDatabase.open(empty.url))
    reading.between = lambda: store.apply([Exhume("t0"), Bury(dead("t1", START + 9))])
    assert [each.task_id for each in reading.dead_letters(Filter(), limit=3)] == ["t2", "t3", "t4"]
    reading.between = lambda: store.apply([Purge("t2")])
    assert [each.task_id for each in reading.dead_letters(Filter(), limit=9)] == ["t3", "t4", "t1"]
    with closing(reading):
        assert (store.count_dead_letters(Filter()), len(store.dead_letter_groups(Filter()))) == (3, 1)


def test_only_a_letter_s_own_attempts_go_with_it(store: Store) -> None:
    store.apply([Bury(dead("t1")), attempted("t1", 1), Exhume("t1"), attempted("t1", 2), Bury(dead("t1", START + 1))])
    (letter,) = store.dead_letters(Filter(), limit=9)
    assert replace(letter, attempts=()) == dead("t1", START + 1)
    assert [each.attempt for each in letter.attempts] == [2]


def test_half_of_a_surrogate_pair_is_found_by_what_it_was(store: Store) -> None:
    failure = replace(FAILURE, message="no such file: caf\udce9.txt")
    store.apply([Bury(dead("t1", failure=failure, task="caf\udce9"))])
    assert store.count_dead_letters(Filter(text="caf\udce9", task="caf\udce9")) == 1


# --- who may do what ---


def test_a_user_with_the_least_rights_can_do_all_of_it(empty: RedisServer) -> None:
    empty.cli("ACL", "SETUSER", "keeper", "reset", "on", ">s3cret", *LEAST)
    url = f"redis://keeper:s3cret@127.0.0.1:{empty.port}/0?prefix=shop"
    with closing(open_store(url)) as store:
        heard = threading.Event()
        cancel = store.subscribe(heard.set)
        assert store.apply([saved("t1"), attempted("t2", 1), Bury(dead("t2")), Bury(dead("t3"))])
        assert heard.wait(DEADLINE)
        assert store.apply([saved("t1"), Exhume("t2"), Purge("t3")])
        assert (store.results(["t1"]).keys(), store.attempts(["t2"])) == ({"t1"}, {})
        assert store.count_dead_letters(Filter()) == 0 and store.dead_letters(Filter(task="x"), limit=1) == []
        store.forget(["t1"])
        store.apply([BeginFlow(Flow("flow", "", "", 1.0, 1.0), [Node("a", "task")])])
        assert store.begin([Start("flow", "a", "", 1.0)])[0].verdict == "run"
        store.apply([EndNode("flow", "a", NodeState.REVOKED, 2.0)])
        assert len(store.nodes("flow", limit=9)) == len(store.flows(limit=9)) == 1
        assert {remark.subject for remark in store.examine()} == {"version", "durability"}
        cancel()
    empty.cli("ACL", "DELUSER", "keeper")


def test_a_user_who_may_not_publish_records_results_all_the_same(empty: RedisServer) -> None:
    empty.cli("ACL", "SETUSER", "keeper", "reset", "on", ">s3cret", "~*", "+@all", "-publish", "-config")
    with closing(open_store(f"redis://keeper:s3cret@127.0.0.1:{empty.port}/0")) as store:
        assert store.apply([saved("t1"), Bury(dead("t1"))])
        assert store.results(["t1"]) and store.count_dead_letters(Filter()) == 1
        unknown = [remark for remark in store.examine() if remark.subject == "settings"]
        assert unknown and unknown[0].weight is Weight.RISK and "s3cret" not in str(unknown)
    empty.cli("ACL", "DELUSER", "keeper")


def test_an_error_never_shows_the_password(server: RedisServer) -> None:
    store = open_store(f"redis://nobody:s3cret-42@127.0.0.1:{server.port}/0")
    with pytest.raises(StoreError, match="does not know this user or password") as caught:
        store.results(["t1"])
    assert "s3cret" not in str(caught.value) + repr(caught.value.__cause__) + repr(store)


# --- the bell ---


def test_one_connection_listens_for_all_and_only_while_somebody_waits(empty: RedisServer, store: Store) -> None:
    store.apply([saved("t1")])
    assert connections(empty) == ["evalsha"]
    heard = [threading.Event() for _ in range(5)]
    cancels = [store.subscribe(each.set) for each in heard]
    assert empty.cli("PUBSUB", "NUMSUB", "taskbus:finished") == [b"taskbus:finished", 1]
    assert len(connections(empty)) == 2
    store.apply([saved("t2")])
    assert all(each.wait(DEADLINE) for each in heard)
    for cancel in cancels:
        cancel()
        cancel()
    eventually(lambda: len(connections(empty)) == 1, "the end of the bell")


def test_listening_asks_nothing_while_nothing_happens(empty: RedisServer, store: Store) -> None:
    heard = threading.Event()
    cancel = store.subscribe(heard.set)
    empty.cli("CONFIG", "RESETSTAT")
    assert not heard.wait(0.3)
    assert empty.cli("INFO", "commandstats").decode().count("cmdstat_") <= 1  # that of CONFIG itself
    store.apply([Bury(dead("t1"))])
    assert not heard.wait(0.1), "a letter is no result"
    cancel()


def test_the_bell_rings_once_for_a_connection_that_broke(empty: RedisServer, store: Store) -> None:
    rings = threading.Semaphore(0)
    cancel = store.subscribe(rings.release)
    empty.cli("CLIENT", "KILL", "TYPE", "pubsub")
    assert rings.acquire(timeout=DEADLINE)
    eventually(lambda: empty.cli("PUBSUB", "NUMSUB", "taskbus:finished")[1] == 1, "listening again")
    store.apply([saved("t1")])
    assert rings.acquire(timeout=DEADLINE)
    cancel()


def test_a_forked_child_writes_and_listens_through_connections_of_its_own(store: Store) -> None:
    store.apply([saved("parent")])
    heard = threading.Event()
    cancel = store.subscribe(heard.set)
    child = os.fork()
    if not child:
        mine = threading.Event()
        store.subscribe(mine.set)
        is_well = store.apply([saved("child")]) and bool(store.results(["parent"])) and mine.wait(DEADLINE)
        os._exit(0 if is_well else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert heard.wait(DEADLINE)
    assert store.results(["parent", "child"]).keys() == {"parent", "child"}
    cancel()


# --- what the settings mean ---


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"appendonly": "yes", "appendfsync": "always"}, [(Weight.FINE, "durability", "survives a power failure")]),
        ({"appendonly": "yes", "appendfsync": "everysec"}, [(Weight.FINE, "durability", "the last 2 seconds")]),
        ({"appendonly": "yes", "appendfsync": "no"}, [(Weight.RISK, "durability", "the last 30 seconds")]),
        ({"appendonly": "no", "save": ""}, [(Weight.RISK, "durability", "nothing is saved to disk")]),
        ({"appendonly": "no", "save": "60 1000"}, [(Weight.RISK, "durability", "since the last snapshot")]),
        (
            {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "allkeys-lru"},
            [(Weight.RISK, "eviction", "allkeys-lru"), (Weight.FINE, "durability", "survives")],
        ),
    ],
)
def test_it_says_what_the_live_settings_mean(
    empty: RedisServer, store: Store, settings: dict[str, str], expected: list[tuple[Weight, str, str]]
) -> None:
    for name, value in settings.items():
        empty.cli("CONFIG", "SET", name, value)
    try:
        version, *others = store.examine()
        assert version.subject == "version" and version.text.startswith(("Redis ", "Valkey "))
        assert [(each.weight, each.subject) for each in others] == [each[:2] for each in expected]
        assert all(part in each.text for each, (_, _, part) in zip(others, expected, strict=True))
    finally:
        for name, value in (("appendonly", "no"), ("save", ""), ("maxmemory-policy", "noeviction")):
            empty.cli("CONFIG", "SET", name, value)


def test_a_clock_that_was_passed_in_is_obeyed_however_far_it_is_off(empty: RedisServer) -> None:
    clock = MovableClock(1000.0)
    with closing(open_store(empty.url, clock)) as store:
        store.apply([saved("t1", ttl=0.001)])
        assert store.results(["t1"])
        clock.advance(0.002)
        assert store.results(["t1"]) == {}
        assert [store.sweep(clock()), store.sweep(clock())] == [1, 0]
