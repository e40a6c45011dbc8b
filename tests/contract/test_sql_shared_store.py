"""What the stores on PostgreSQL and on MariaDB promise alike beyond the contract: faults, clocks, texts, patterns."""

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from fnmatch import fnmatchcase
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from taskbus.clock import Clock
from taskbus.database.opening import open_database
from taskbus.errors import StoreError
from taskbus.outcome import Failure, State
from taskbus.store.base import Bury, Change, Exhume, Filter, ForgetAttempts, Purge, Store
from taskbus.store.opening import open_store
from taskbus.store.sql import SqlStore
from taskbus.testing.clock import START, MovableClock
from taskbus.testing.records import DEADLINE, FAILURE, attempted, dead, saved
from tests.servers import mariadb_server, postgres_server
from tests.servers.proxy import Proxy, Way
from tests.servers.server import until

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


@pytest.fixture(params=["postgresql", "mysql"])
def servers(request: pytest.FixtureRequest) -> ModuleType:
    return postgres_server if request.param == "postgresql" else mariadb_server


@pytest.fixture
def url(servers: ModuleType) -> str:
    return str(servers.new_url())


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with closing(open_store(url, MovableClock())) as store:
        yield store


@pytest.fixture
def in_a_file(tmp_path: Path) -> Iterator[Store]:
    with closing(open_store(f"sqlite:///{tmp_path}/store.db", MovableClock())) as store:
        yield store


@pytest.fixture
def proxy(servers: ModuleType) -> Iterator[Proxy]:
    with Proxy(servers.shared_server().port) as proxy:
        yield proxy


def through(proxy: Proxy, url: str, timeout: float = 5.0, clock: Clock | None = None) -> Store:
    place, _, rest = url.rpartition("127.0.0.1:")
    return SqlStore(
        open_database(f"{place}127.0.0.1:{proxy.port}/{rest.partition('/')[2]}", timeout), clock or MovableClock()
    )


class Counting:
    """A cursor that remembers what was run on it."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor
        self.statements: list[str] = []

    def execute(self, statement: str, *given: Any) -> Any:
        self.statements.append(statement)
        return self._cursor.execute(statement, *given)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


# --- batches ---


def test_a_batch_is_a_statement_a_kind_of_change_not_one_a_task(store: Store, url: str) -> None:
    batch: list[Change] = []
    for number in range(100):
        task_id = f"t{number:03}"
        batch += [attempted(task_id, 1), Bury(dead(task_id)), saved(task_id, State.FAILURE, failure=FAILURE)]
    batch += [change for number in range(100) for change in (saved(f"s{number:03}"), ForgetAttempts(f"s{number:03}"))]
    with open_database(url).transaction() as cursor:
        counting = Counting(cursor)
        assert store.apply(batch, counting)
    assert len(counting.statements) == 4
    ids = [f"{kind}{number:03}" for kind in "ts" for number in range(100)]
    assert (len(store.results(ids)), len(store.attempts(ids)), store.count_dead_letters(Filter())) == (200, 100, 100)


def test_changes_of_a_task_keep_their_order_in_a_batch_of_many(store: Store) -> None:
    store.apply([Bury(dead("a")), Bury(dead("b")), attempted("b", 1)])
    batch: list[Change] = [
        attempted("c", 1), saved("a", State.RETRY), Exhume("a"), saved("a", value=b"after"), ForgetAttempts("c"),
        attempted("c", 2), Purge("b"), Bury(dead("a", START + 5)), attempted("c", 3), saved("a", value=b"late"),
    ]  # fmt: skip
    assert store.apply(batch)
    assert store.results(["a"])["a"].value == b"after"
    assert [each.attempt for each in store.attempts(["b", "c"])["c"]] == [2, 3]
    assert [(each.task_id, each.dead_at) for each in store.dead_letters(Filter(), limit=9)] == [("a", START + 5)]


def test_the_same_row_twice_in_a_batch_is_written_once(store: Store) -> None:
    later = Failure("builtins.KeyError", "'later'", "")
    store.apply([attempted("t", 1), attempted("t", 1, later), Bury(dead("t")), Bury(dead("t", START + 1))])
    store.apply([saved("t", State.RETRY), saved("t", State.STARTED), saved("t", value=b"1"), saved("t", value=b"2")])
    assert [each.failure for each in store.attempts(["t"])["t"]] == [later]
    assert [each.dead_at for each in store.dead_letters(Filter(), limit=9)] == [START + 1]
    assert store.results(["t"])["t"].value == b"1"


def test_writers_of_the_same_tasks_in_any_order_do_not_fail(store: Store) -> None:
    """Deadlocks and serialization failures are the database's affair and ours, never the caller's."""
    ids = [f"t{number:02}" for number in range(40)]

    def write(writer: int) -> None:
        order = random.Random(writer)
        for _ in range(15):
            batch: list[Change] = []
            for task_id in order.sample(ids, len(ids)):
                kinds = [saved(task_id, State.RETRY, failure=FAILURE), attempted(task_id, 1), Bury(dead(task_id))]
                batch += order.sample(kinds, len(kinds))
            assert store.apply(batch)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, range(6)))
    assert (len(store.results(ids)), store.count_dead_letters(Filter())) == (40, 40)


def test_a_deadlock_with_another_program_is_none_of_the_callers_business(store: Store, url: str) -> None:
    store.apply([saved("a", State.RETRY), saved("b", State.RETRY)])
    touch = "UPDATE taskbus_results SET attempt = attempt WHERE task_id = %s"
    other = open_database(url, 20.0)
    with ThreadPoolExecutor(1) as pool:
        try:
            with other.transaction() as cursor:
                cursor.execute(touch, ("b",))
                done = pool.submit(store.apply, [saved("a", value=b"1"), saved("b", value=b"1")])
                until(lambda: is_waited_for(other), "the store waits for the other program")
                cursor.execute(touch, ("a",))
        except other.errors:
            pass  # it was this one that the server took back
        assert done.result(DEADLINE)
    assert {each.value for each in store.results(["a", "b"]).values()} == {b"1"}
    other.close()


def is_waited_for(database: Any) -> bool:
    if database.dialect == "postgresql":
        rows = postgres_server.shared_server().run("SELECT 1 FROM pg_locks WHERE NOT granted")
    else:
        rows = mariadb_server.shared_server().run(
            "SELECT 1 FROM information_schema.global_status"
            " WHERE variable_name = 'INNODB_ROW_LOCK_CURRENT_WAITS' AND variable_value > 0"
        )
    return bool(rows)


# --- texts and patterns ---


def test_what_no_database_takes_is_spelled_out_and_found_again(store: Store) -> None:
    failure = Failure("app.Error\0", "nul \0 and half \ud83d of a pair", "\0")
    store.apply([saved("id\0", State.FAILURE, failure=failure, task="t\0"), attempted("id\0", 1, failure)])
    store.apply([Bury(dead("id\0", failure=failure, task="t\0", queue="q\0"))])
    found = store.results(["id\0", "id"])
    assert found.keys() == store.attempts(["id\0"]).keys() == {"id\0"}
    assert found["id\0"].failure == Failure("app.Error\\x00", "nul \\x00 and half \\ud83d of a pair", "\\x00")
    assert (
        store.count_dead_letters(Filter(task_ids=("id\0",), task="t\0", queue="q\0", text="nul \0", error="Error\0"))
        == 1
    )
    (letter,) = store.dead_letters(Filter(), limit=9)
    assert len(letter.attempts) == 1
    assert store.apply([Exhume(letter.task_id)])
    assert store.results(["id\0"]) == {}


def test_texts_and_values_of_several_mebibytes_are_kept(store: Store) -> None:
    long = Failure("app.Error", "ü" * 3_000_000, "x" * 3_000_000)
    store.apply([saved("t", State.FAILURE, failure=long), attempted("t", 1, long), Bury(dead("t", failure=long))])
    assert store.results(["t"])["t"].failure == long
    (letter,) = store.dead_letters(Filter(text="ü" * 1000), limit=9)
    assert (letter.failure, letter.attempts[0].failure) == (long, long)


SPECIAL = "ab-]![^\\.*?&|~ :=é$(){}+#'\"%_\n"


def test_patterns_mean_what_they_mean_in_memory_and_in_a_file(store: Store, in_a_file: Store) -> None:
    choice = random.Random(7)
    names = sorted(
        {"".join(choice.choices(SPECIAL, k=choice.randint(1, 4))) for _ in range(300)} | {"Ab", "aB", "a\nb"}
    )
    for each in (store, in_a_file):
        each.apply([Bury(dead(f"{number:03}", task=name)) for number, name in enumerate(names)])
    patterns = ["".join(choice.choices(SPECIAL, k=choice.randint(1, 6))) for _ in range(250)]
    patterns += [
        "a*",
        "[a-b]?",
        "*[!a]",
        "[]]*",
        "[!]]*",
        "[b-a]",
        "[!b-a]*",
        "[a",
        "[^a]*",
        "*\n*",
        "[[:alpha:]]*",
        "A*",
        "*",
    ]
    for pattern in patterns:
        expected = [name for name in names if fnmatchcase(name, pattern)]
        for each in (store, in_a_file):
            assert [letter.task for letter in each.dead_letters(Filter(task=pattern), limit=1000)] == expected, pattern


# --- time ---


def test_without_a_clock_of_the_callers_the_servers_says_when_a_result_is_over(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong_clock() -> float:
        return time.time() + 86_400

    monkeypatch.setattr("taskbus.store.sql.wall_clock", wrong_clock)
    with closing(open_store(url, wrong_clock)) as store:
        store.apply([saved("short", ttl=3600), saved("over", ttl=0.0)])
        assert store.results(["short", "over"]).keys() == {"short"}
        assert store.results(["short"]).keys() == {"short"}
        store.apply([saved("over", State.FAILURE, failure=FAILURE)])
        assert store.results(["over"])["over"].state is State.FAILURE
        assert store.sweep(wrong_clock()) == 0
        ((expires_at,),) = open_database(url).read("SELECT expires_at FROM taskbus_results WHERE task_id = 'short'")
    assert abs(expires_at - time.time() - 3600) < 60


def test_sweeps_of_several_workers_at_once_share_the_work(store: Store) -> None:
    store.apply([saved(f"t{number}", ttl=10) for number in range(3000)])
    store.apply([saved("kept", ttl=100)])
    with ThreadPoolExecutor(4) as pool:
        swept = sum(pool.map(lambda _: sum(iter(lambda: store.sweep(START + 60), 0)), range(4)))
    assert (swept, store.sweep(START + 60)) == (3000, 0)
    assert store.results(["kept"])


# --- faults ---


def test_a_commit_whose_answer_was_lost_is_done_and_reported_as_done(url: str, proxy: Proxy) -> None:
    with closing(through(proxy, url)) as store:
        store.apply([saved("before")])
        lost = proxy.lose_reply(b"COMMIT")
        assert store.apply([saved("t", value=b"1"), attempted("t", 1), Bury(dead("t"))])
        lost.wait()
        assert store.results(["t"])["t"].value == b"1"
        assert (len(store.attempts(["t"])["t"]), store.count_dead_letters(Filter())) == (1, 1)


def test_taking_a_letter_out_is_not_repeated_when_the_answer_was_lost(url: str, proxy: Proxy) -> None:
    with closing(through(proxy, url)) as store:
        store.apply([Bury(dead("t"))])
        proxy.lose_reply(b"COMMIT")
        with pytest.raises(StoreError, match="may have been done"):
            store.apply([Exhume("t")])
        assert not store.apply([Exhume("t")])


def test_a_connection_that_was_cut_while_idle_is_replaced_without_a_word(url: str, proxy: Proxy) -> None:
    with closing(through(proxy, url)) as store:
        for number in range(5):
            assert store.apply([saved(f"t{number}"), attempted(f"t{number}", 1)])
            proxy.cut(reset=bool(number % 2))
            assert store.results([f"t{number}"])


def test_a_request_that_was_cut_is_made_again(url: str, proxy: Proxy) -> None:
    with closing(through(proxy, url)) as store:
        store.apply([saved("before")])
        for count in (1, 40, 200):
            cut = proxy.cut_after(count, Way.TO_SERVER)
            assert store.apply([saved(f"t{count}", value=bytes(500))])
            cut.wait()
        assert len(store.results(["t1", "t40", "t200"])) == 3


CALLS: dict[str, Callable[[Store], object]] = {
    "apply": lambda store: store.apply([saved("t"), attempted("t", 1)]),
    "results": lambda store: store.results(["t"]),
    "letters": lambda store: store.dead_letters(Filter(), limit=1),
    "sweep": lambda store: store.sweep(START),
    "examine": lambda store: store.examine(),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_server_that_answers_nothing_is_an_error_in_time(url: str, proxy: Proxy, call: str) -> None:
    with closing(through(proxy, url)) as patient:
        patient.apply([saved("before")])  # makes the tables, which takes its time
    with closing(through(proxy, url, timeout=0.5)) as store:
        assert store.results(["before"])
        proxy.blackhole()
        started = time.monotonic()
        with pytest.raises(StoreError) as caught:
            CALLS[call](store)
        assert time.monotonic() - started < 2.0
        assert "127.0.0.1" in str(caught.value) and "s3cret" not in str(caught.value)
        proxy.heal()
        assert store.results(["before"])


def test_a_server_that_cannot_be_reached_is_an_error_that_says_where(url: str, proxy: Proxy) -> None:
    proxy.refuse()
    with (
        closing(through(proxy, url, timeout=1.0)) as store,
        pytest.raises(StoreError, match=f":{proxy.port}") as caught,
    ):
        store.results(["t"])
    assert "s3cret" not in str(caught.value)


def test_a_subscriber_hears_of_results_after_its_connection_was_cut(url: str, proxy: Proxy, store: Store) -> None:
    heard = threading.Event()
    with closing(through(proxy, url)) as listening:
        cancel = listening.subscribe(heard.set)
        proxy.cut()
        deadline = time.monotonic() + DEADLINE
        while not heard.wait(0.1):  # told at once, or when it is connected again
            assert time.monotonic() < deadline
        heard.clear()
        store.apply([saved("t")])
        assert heard.wait(DEADLINE)
        cancel()


def test_a_forked_child_writes_through_a_connection_of_its_own(store: Store) -> None:
    store.apply([saved("parent")])
    child = os.fork()
    if not child:
        status = 1
        try:
            status = 0 if store.apply([saved("child")]) and store.results(["parent"]) else 1
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert store.results(["parent", "child"]).keys() == {"parent", "child"}


def test_a_change_that_cannot_be_written_leaves_none_of_its_set(store: Store) -> None:
    impossible = saved("t2", value=b"1", started_at=float("nan"), task="t" * 10, attempt=1 << 40)
    with pytest.raises(StoreError):
        store.apply([saved("t1"), attempted("t1", 1), impossible])
    assert store.results(["t1"]) == store.attempts(["t1"]) == {}


def test_nothing_is_connected_to_before_the_store_is_used(url: str, proxy: Proxy) -> None:
    with closing(through(proxy, url)) as store:
        assert proxy.accepted == 0
        assert store.results([]) == store.attempts([]) == {}
        assert proxy.accepted == 0
        store.results(["t"])
        assert proxy.accepted == 1
