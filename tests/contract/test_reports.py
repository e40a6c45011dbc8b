"""Every store of reports keeps the contract."""

import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from subprocess import PIPE

import pytest

from taskbus.database.opening import open_database
from taskbus.database.remark import Weight
from taskbus.database.sqlite import SqliteDatabase
from taskbus.store import memory_reports, redis_reports, sql_reports
from taskbus.store.opening import open_store
from taskbus.store.report_opening import open_reports
from taskbus.store.reports import KEEP_MINUTES, KEEP_NODE, Answer, Order, Report
from taskbus.testing.records import eventually, saved
from taskbus.testing.report_contract import RAW, ReportContract, report
from tests.contract.store_grounds import Cluster, Memory, Mysql, Postgresql, Redis, Sqlite
from tests.servers import mariadb_server, postgres_server
from tests.servers.proxy import Proxy
from tests.servers.redis_server import RedisServer


def now(number: int, **fields: object) -> Report:
    """A report of this instant."""
    return report(number, at=time.time(), **fields)  # type: ignore[arg-type]


class TestMemoryReports(Memory, ReportContract):
    opened = staticmethod(open_reports)


class TestSqliteReports(Sqlite, ReportContract):
    opened = staticmethod(open_reports)


class TestPostgresqlReports(Postgresql, ReportContract):
    opened = staticmethod(open_reports)


class TestMysqlReports(Mysql, ReportContract):
    opened = staticmethod(open_reports)


class TestRedisReports(Redis, ReportContract):
    opened = staticmethod(open_reports)


class TestRedisReportsOnACluster(Cluster, ReportContract):
    opened = staticmethod(open_reports)


# --- Redis ---


def endless(server: RedisServer) -> list[str]:
    names = server.keys("*")
    return [name for name in names if server.cli("TTL", name) == -1]


def test_no_key_in_redis_is_without_an_end_but_that_of_the_pauses(server: RedisServer) -> None:
    server.cli("FLUSHALL")
    store = open_reports(server.url)
    order = store.order(RAW, time.time())
    for number in (1, 2):
        inbox = store.post(now(number, minutes={1: RAW}, records=RAW), 0, [Answer(order, "a", RAW)])
        assert [each.number for each in inbox.orders] == [order]
    store.pause("slow")
    store.watch(time.time() + 5)
    assert len(server.keys("taskbus:reports:{all}:*")) == len(server.keys()) == 17
    assert endless(server) == ["taskbus:reports:{all}:paused"]
    assert 100 < server.cli("TTL", "taskbus:reports:{all}:state:a") <= KEEP_NODE
    assert store.sweep(time.time() + 7 * 3600) == 5  # a node, two bundles, an order, and a minute of long ago
    assert endless(server) == ["taskbus:reports:{all}:paused"]
    store.close()


def test_orders_in_redis_last_as_long_as_the_furthest(server: RedisServer) -> None:
    server.cli("FLUSHALL")
    store = open_reports(server.url)
    month = 30 * 86400.0
    far = store.order(b"far", time.time(), ttl=month)
    store.order(b"near", time.time(), ttl=10.0)
    for key in ("order", "orders", "over", "meta"):
        assert server.cli("TTL", f"taskbus:reports:{{all}}:{key}") >= month
    assert store.post(now(1), 0).orders[0].number == far
    store.close()


def test_a_node_in_redis_goes_by_itself(server: RedisServer) -> None:
    server.cli("FLUSHALL")
    store = open_reports(server.url)
    store.post(now(1), 0)
    server.cli("PEXPIRE", "taskbus:reports:{all}:state:a", 1)
    eventually(lambda: store.nodes() == [], "a node to be forgotten")
    store.post(now(2), 0)
    assert [node.number for node in store.nodes()] == [2]
    store.close()


@pytest.mark.parametrize("most", [(3, 1 << 30), (100, 300)], ids=["bundles", "bytes"])
def test_records_in_redis_take_no_more_than_their_share(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch, most: tuple[int, int]
) -> None:
    server.cli("FLUSHALL")
    monkeypatch.setattr(redis_reports, "KEEP", [*redis_reports.KEEP[:4], *most])
    store = open_reports(server.url)
    for number in range(1, 7):
        for node in ("a", "b"):
            store.post(now(number, node=node, records=b"x" * 100), 0)
    assert [(each.node, each.number) for each in store.records({})] == [("a", 6), ("b", 5), ("b", 6)]
    assert server.cli("GET", "taskbus:reports:{all}:bytes") == b"300"
    store.sweep(time.time() + 7 * 3600)
    assert server.cli("GET", "taskbus:reports:{all}:bytes") == b"0" and store.records({}) == []
    store.close()


def test_an_index_in_redis_keeps_no_more_minutes_than_are_kept(server: RedisServer) -> None:
    server.cli("FLUSHALL")
    store = open_reports(server.url)
    minutes = int(KEEP_MINUTES // 60)
    store.post(now(1, minutes=dict.fromkeys(range(minutes), b"")), 0)
    store.post(now(2, minutes=dict.fromkeys(range(minutes, minutes + 100), b"")), 0)
    store.post(now(3, minutes={minutes + 100: b"last"}), 0)
    kept = server.cli("ZCARD", "taskbus:reports:{all}:changed:a")
    assert minutes <= kept < minutes + 101
    found = store.minutes({}, limit=9999)
    assert len(found) == kept and found[-1].totals == b"last"
    store.close()


def test_doctor_is_told_what_a_redis_may_do_to_pauses(server: RedisServer) -> None:
    store = open_reports(server.url)
    policy = server.cli("CONFIG", "GET", "maxmemory-policy")[1]
    server.cli("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    try:
        (remark,) = (each for each in store.examine() if "maxmemory" in each.text)
    finally:
        server.cli("CONFIG", "SET", "maxmemory-policy", policy)
    assert (remark.weight, remark.subject) == (Weight.RISK, "pauses")
    store.close()


# --- SQL ---


@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "mysql", "memory"])
def test_the_oldest_records_go_where_there_are_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    servers = {"postgresql": postgres_server, "mysql": mariadb_server}
    url = str(servers[kind].new_url()) if kind in servers else f"{kind}:///{tmp_path}/reports.db"
    for module in (sql_reports, memory_reports):
        monkeypatch.setattr(module, "MAX_RECORDS", 3)
    with closing(open_reports(url)) as store:
        for number in range(1, 7):
            for node in ("b", "a"):
                store.post(now(number, node=node, records=b"x"), 0)
        assert store.sweep(time.time()) == (0 if kind == "memory" else 9)
        assert [(each.node, each.number) for each in store.records({})] == [("a", 5), ("a", 6), ("b", 6)]


def test_a_report_is_one_round_trip_to_postgresql_and_waits_for_no_disk() -> None:
    url = str(postgres_server.new_url())
    with Proxy(postgres_server.shared_server().port) as proxy:
        head, _, path = url.rpartition("/")
        store = open_reports(f"{head.rpartition(':')[0]}:{proxy.port}/{path}")
        order = store.order(RAW, time.time())
        for number in (1, 2):
            before = proxy.round_trips
            inbox = store.post(now(number, minutes={1: RAW, 2: RAW}, records=RAW), 0, [Answer(order, "a", RAW)])
            assert proxy.round_trips - before == 1
            assert [each.number for each in inbox.orders] == [order]
        store.close()
    database = open_database(url)
    assert database.read("SHOW synchronous_commit") == [("on",)]


@pytest.mark.parametrize("usual", ["NORMAL", "FULL"])
def test_in_sqlite_only_orders_and_pauses_wait_for_the_disk(tmp_path: Path, usual: str) -> None:
    url = f"sqlite:///{tmp_path}/reports.db?synchronous={usual}"
    store, connection = open_reports(url), SqliteDatabase.open(url).connection()
    levels: list[int] = []
    level, heard = 0, list[str]()

    def hear(statement: str) -> None:
        nonlocal level
        if statement.startswith("PRAGMA synchronous="):
            level = {"NORMAL": 1, "FULL": 2}.get(statement.partition("=")[2]) or int(statement[-1])
        elif statement == "COMMIT":
            levels.append(level)
        heard.append(statement)

    connection.set_trace_callback(hear)
    acts: list[Callable[[], object]] = [
        lambda: store.post(now(1, records=RAW), 0), lambda: store.watch(1.0), lambda: store.order(RAW, 1.0),
        lambda: store.pause("slow"), lambda: store.resume("slow"),
    ]  # fmt: skip
    for act in acts:
        act()
        assert connection.execute("PRAGMA synchronous").fetchone() == ({"NORMAL": 1, "FULL": 2}[usual],)
    connection.set_trace_callback(None)
    assert levels == [1, 1, 2, 2, 2]
    store.close()


ORDERING = """
import sys, time
from taskbus.store.report_opening import open_reports
print("ready", flush=True)
sys.stdin.readline()
store = open_reports(sys.argv[1])
for n in range(int(sys.argv[2])):
    store.order(f"{sys.argv[3]}-{n}".encode(), time.time(), ttl=3600)
"""


def test_orders_of_processes_that_make_the_tables_at_once_are_each_heard_once(tmp_path: Path) -> None:
    url, count = f"sqlite:///{tmp_path}/reports.db", 150
    with closing(open_store(url)) as results:
        results.apply([saved("before")])  # a file of before there were reports
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", ORDERING, url, str(count), name], stdin=PIPE, stdout=PIPE, text=True
        )
        for name in ("x", "y")
    ]  # fmt: skip
    for process in processes:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    store, heard, number, is_over = open_reports(url), list[Order](), 0, False
    while not is_over:
        is_over = all(process.poll() is not None for process in processes)
        number += 1
        heard += store.post(now(number), heard[-1].number if heard else 0).orders
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    assert sorted(order.order for order in heard) == sorted(f"{p}-{n}".encode() for p in "xy" for n in range(count))
    with closing(open_store(url)) as results:
        assert results.results(["before"]).keys() == {"before"}
    store.close()
