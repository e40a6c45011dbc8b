"""The SQL transport keeps the contract of all transports, and some promises of its own."""

import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskbus.broker.broker import Broker
from taskbus.broker.delivery import Settlement
from taskbus.broker.transports.sql_session import SQL
from taskbus.database.sqlite import SqliteDatabase
from taskbus.errors import BrokerError, ConfigError, PublishFailed
from taskbus.store.base import Bury, Exhume
from taskbus.store.opening import open_store
from taskbus.testing.clock import MovableClock
from taskbus.testing.records import dead, saved
from taskbus.testing.transport_basis import acks, message, send, waiting
from taskbus.testing.transport_contract import TransportContract

# Forking a process with threads is what some of this is about; Python 3.12 and later warn of it.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


class TestSqliteTransport(TransportContract):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/broker.db"


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/broker.db"


@pytest.fixture
def broker(url: str) -> Iterator[Broker]:
    broker = Broker(url, clock=MovableClock(), publish_timeout=0.05)
    yield broker
    broker.close()


@pytest.fixture
def foreign_writer(broker: Broker, tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Another program that holds the write lock."""
    connection = sqlite3.connect(tmp_path / "broker.db", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    yield connection
    connection.close()


# --- locks and disks ---


def test_a_publish_gives_up_on_a_locked_file_in_time(broker: Broker, foreign_writer: sqlite3.Connection) -> None:
    with pytest.raises(PublishFailed, match="locked by another process"):
        send(broker, "a")
    with pytest.raises(PublishFailed, match="locked"), broker.batch():
        send(broker, "a", "b")
    foreign_writer.execute("ROLLBACK")
    send(broker, "c")
    assert waiting(broker) == ["c"]


def test_reading_goes_on_while_another_program_writes(broker: Broker, foreign_writer: sqlite3.Connection) -> None:
    assert (broker.queues(), broker.workers(), waiting(broker)) == ([], [], [])
    with pytest.raises(BrokerError, match="locked"):
        broker.ping()


def test_a_full_disk_refuses_a_publish_and_loses_nothing(broker: Broker, url: str) -> None:
    send(broker, "before")
    disk = SqliteDatabase.open(url, 0.05).connection()
    disk.execute(f"PRAGMA max_page_count={disk.execute('PRAGMA page_count').fetchone()[0] + 2}")
    with pytest.raises(PublishFailed, match="no space left"):
        broker.publish(message("large", body=bytes(100_000)))
    with pytest.raises(PublishFailed, match="no space left"), broker.batch():
        for n in range(10):
            broker.publish(message(str(n), body=bytes(10_000)))
    disk.execute("PRAGMA max_page_count=1000000")
    send(broker, "after")
    assert waiting(broker) == ["before", "after"]


def test_a_batch_that_failed_takes_no_more(broker: Broker, foreign_writer: sqlite3.Connection) -> None:
    with pytest.raises(PublishFailed, match="failed before"), broker.batch(max_size=1):
        with pytest.raises(PublishFailed, match="locked"):
            send(broker, "a")
        foreign_writer.execute("ROLLBACK")
        send(broker, "b")
    assert waiting(broker) == []


# --- places that cannot be used ---


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match=r"nowhere does not exist; create it"):
        Broker(f"sqlite:///{tmp_path}/nowhere/broker.db")


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("my notes, " * 100)
    with pytest.raises(BrokerError, match="not a SQLite database"):
        Broker(f"sqlite:///{path}")
    assert path.read_text() == "my notes, " * 100


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match="cannot open"):
        Broker(f"sqlite:///{tmp_path}")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_an_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(BrokerError, match="must be able to write"):
        Broker(f"sqlite:///{tmp_path}/broker.db")
    tmp_path.chmod(0o700)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sqlit:///x.db", "did you mean sqlite://"),
        ("memry://x", "did you mean memory://"),
        ("ftp://host/x", "there are sqlite://, memory://"),
        ("mysql://host", "names no database"),
        ("broker.db", "there are sqlite://, memory://"),
        ("sqlite://", "names no file"),
        ("sqlite:///x.db?sync=1", "unknown option sync"),
        ("sqlite:///x.db?synchronous=OFF", "is not one of NORMAL, FULL"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_with_advice(url: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Broker(url)


def test_a_relative_url_becomes_absolute_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    broker = Broker("sqlite:///here.db?synchronous=FULL")
    assert broker.url == broker.safe_url == f"sqlite:///{tmp_path}/here.db?synchronous=FULL"
    assert broker.database == f"sqlite:///{tmp_path}/here.db"
    broker.close()


@pytest.mark.parametrize("fate", ["deleted", "replaced", "its log deleted"])
def test_a_file_deleted_or_replaced_while_in_use_is_an_error_and_no_silence(
    url: str, tmp_path: Path, fate: str
) -> None:
    broker = Broker(url)
    consumer = broker.consumer(["default"], name="w", lease=30)
    send(broker, "a")
    file = tmp_path / "broker.db"
    if fate == "replaced":  # as by a backup that is put back
        shutil.copy(file, tmp_path / "backup.db")
        (tmp_path / "backup.db").replace(file)
    elif fate == "deleted":
        file.unlink()
    else:
        (tmp_path / "broker.db-wal").unlink()
    deadline = time.monotonic() + 20
    with pytest.raises(PublishFailed, match="-wal was deleted or replaced"):
        while time.monotonic() < deadline:
            send(broker, "lost?")
    with pytest.raises(BrokerError, match="deleted or replaced"):
        consumer.fetch(1)


# --- one transaction with the store ---


def test_a_result_is_recorded_in_the_step_that_acks(broker: Broker, url: str) -> None:
    clock = MovableClock()
    store = open_store(url, clock)
    assert store.database == broker.database
    consumer = broker.consumer(["default"], name="w", lease=30)
    send(broker, "a", "b")
    first, second = consumer.fetch(2)
    done = Settlement(first, changes=[saved("a")])
    assert consumer.settle([done], store.apply, shared=True) == []
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


def test_a_dead_letter_is_replayed_once_however_many_try(broker: Broker, url: str) -> None:
    store = open_store(url, MovableClock())
    store.apply([Bury(dead("a"))])
    replay = Settlement(None, follow_ups=[message("a")], changes=[Exhume("a")])
    assert [broker.transact(replay, store.apply, shared=True) for _ in range(3)] == [True, False, False]
    assert waiting(broker) == ["a"]


# --- what is kept small ---


def test_ids_are_never_used_twice(broker: Broker) -> None:
    consumer = broker.consumer(["default"], name="w", lease=30)
    tags = []
    for _ in range(3):
        send(broker, "a")
        (delivery,) = consumer.fetch(1)
        tags.append(delivery.tag)
        consumer.settle(acks([delivery]), None, shared=False)
    assert tags == [1, 2, 3]
    consumer.close()


def test_the_connections_of_threads_end_with_them(broker: Broker, tmp_path: Path) -> None:
    def open_files() -> int:
        paths = (os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd"))
        return sum(path.startswith(str(tmp_path)) for path in paths)

    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("no /proc to count open files in")
    send(broker, "first")
    before = open_files()
    for n in range(40):
        thread = threading.Thread(target=send, args=(broker, f"t{n}"))
        thread.start()
        thread.join()
    assert len(waiting(broker)) == 41
    assert open_files() <= before + 1


def test_several_processes_may_make_the_tables_at_once(url: str) -> None:
    children = []
    for n in range(4):
        pid = os.fork()
        if not pid:
            status = 1
            try:
                send(Broker(url), f"from {n}")
                status = 0
            finally:
                os._exit(status)
        children.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0] * 4
    assert sorted(waiting(Broker(url))) == [f"from {n}" for n in range(4)]


def test_a_claim_never_scans_the_table(broker: Broker, url: str) -> None:
    """The statements of the hot path search an index, whatever the number of messages."""
    connection = SqliteDatabase.open(url).connection()
    for name in ("probe", "promote", "claim", "ack", "give_back", "held", "reap_messages", "leave_messages", "oldest"):
        plan = connection.execute(f"EXPLAIN QUERY PLAN {SQL[name]}", (1,) * SQL[name].count("?")).fetchall()
        assert not [step[3] for step in plan if step[3].startswith("SCAN taskbus_message")], name
        assert [step[3] for step in plan if "taskbus_message USING" in step[3]], name
