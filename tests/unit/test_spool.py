"""A producer with a spool loses nothing while its broker is out of reach; what it kept arrives once and in order."""

import asyncio
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from taskbus import TaskBus
from taskbus.broker.broker import Broker
from taskbus.errors import ConfigError, PayloadTooLarge, PublishFailed, PublishUnknown, SpoolFailed
from taskbus.message import Message
from taskbus.spool.outlet import Outlet
from taskbus.spool.relay import Relay
from taskbus.spool.spool import RelayLock, Spool
from taskbus.testing.transport_basis import message, waiting
from taskbus.wire.compact import encode
from tests.servers.server import until

# Forking a process with threads is what some of this is about; Python 3.12 and later warn of it.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The folder of the broker's file. While it is not there, neither is the broker."""
    return tmp_path / "broker"


@pytest.fixture
def app(home: Path, tmp_path: Path) -> Iterator[TaskBus]:
    with TaskBus("shop", broker=f"sqlite:///{home}/queue.db", results="memory://", spool=f"{tmp_path}/spool.db") as app:
        app.send("tasks.warm", task_id="0") if home.exists() else None
        yield app


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(f"{tmp_path}/spool.db", 1 << 20)


def send(app: TaskBus, *ids: str, **options: Any) -> None:
    for id in ids:
        app.send("tasks.add", (1,), task_id=id, **options)


def drained(app: TaskBus) -> None:
    assert app.spool is not None
    until(lambda: app.spool is not None and not app.spool.size().waiting, "the spool is empty", 30)


def arrived(app: TaskBus) -> list[str]:
    return waiting(app.broker)


def kept(app: TaskBus) -> list[str]:
    assert app.spool is not None
    return [each.id for each in app.spool.first(10_000)]


@contextmanager
def holding_up_the_relay(spool: Spool) -> Iterator[None]:
    """Nothing is relayed in the block, though the broker may be there."""
    taken: list[RelayLock] = []

    def take() -> bool:
        lock = RelayLock(f"{spool.path}-relay")
        taken.append(lock) if lock.is_held else lock.release()
        return lock.is_held

    until(take, "the relay's lock is free", 30)
    yield
    taken[0].release()


# --- an outage ---


def test_what_is_sent_during_an_outage_arrives_in_order_after_it(app: TaskBus, home: Path) -> None:
    send(app, "a", "b", "c")
    assert kept(app) == ["a", "b", "c"]
    home.mkdir()
    drained(app)
    assert arrived(app) == ["a", "b", "c"]
    send(app, "d")
    assert (arrived(app), kept(app)) == (["a", "b", "c", "d"], [])


def test_what_is_sent_while_something_waits_queues_up_behind_it(app: TaskBus, home: Path, spool: Spool) -> None:
    send(app, "a")
    with holding_up_the_relay(spool):
        home.mkdir()
        send(app, "b")
        with app.batch():
            send(app, "c", "d")
        assert (kept(app), arrived(app)) == (["a", "b", "c", "d"], [])
    drained(app)
    assert arrived(app) == ["a", "b", "c", "d"]


def test_a_batch_is_kept_whole_and_in_order(app: TaskBus, home: Path) -> None:
    names = [f"m{n}" for n in range(25)]
    with app.batch(max_size=10):
        send(app, *names)
        assert kept(app) == names[:20]
    assert kept(app) == names
    home.mkdir()
    drained(app)
    assert arrived(app) == names


def test_a_batch_whose_block_raises_keeps_nothing_more(app: TaskBus) -> None:
    with pytest.raises(ZeroDivisionError), app.batch(max_size=2):
        send(app, "a", "b", "c")
        raise ZeroDivisionError
    assert kept(app) == ["a", "b"]
    send(app, "d")
    assert kept(app) == ["a", "b", "d"]


def test_batches_nest_into_one_and_belong_to_their_thread(app: TaskBus) -> None:
    with app.batch():
        with app.batch():
            send(app, "a")
        thread = threading.Thread(target=send, args=(app, "other"))
        thread.start()
        thread.join()
        assert kept(app) == ["other"]
    assert kept(app) == ["other", "a"]


def test_async_sends_are_kept_too(app: TaskBus, home: Path) -> None:
    @app.task
    def add(x: int) -> int:
        return x

    result = asyncio.run(add.adelay(1))
    assert kept(app) == [result.id]
    home.mkdir()
    drained(app)
    assert arrived(app) == [result.id]


def test_everything_a_message_says_survives_the_spool(app: TaskBus, home: Path) -> None:
    send(app, "a", priority=7, queue="other", countdown=3600, expires=7200, headers={"k": "v"})
    assert app.spool is not None
    (spooled,) = app.spool.first(1)
    home.mkdir()
    drained(app)
    (delivery,) = app.broker.peek("other", 1)
    assert (delivery.wire, delivery.priority) == (spooled.wire, 7)
    assert app.broker.queues()[0].delayed == 1


def test_an_outage_is_told_once(app: TaskBus, caplog: pytest.LogCaptureFixture, home: Path) -> None:
    with caplog.at_level(logging.INFO, "taskbus.spool"):
        send(app, "a", "b", "c")
        home.mkdir()
        drained(app)
        until(lambda: "relayed 3 messages" in caplog.text, "the end is told", 30)
    assert caplog.text.count("until the broker is back") == 1
    assert "broker does not exist" in caplog.text


def test_what_an_earlier_run_left_goes_first(app: TaskBus, home: Path) -> None:
    send(app, "a", "b")
    app.close()
    home.mkdir()
    send(app, "c")
    drained(app)
    assert arrived(app) == ["a", "b", "c"]


def test_what_an_earlier_run_left_is_relayed_without_a_send_where_that_is_asked_for(app: TaskBus, home: Path) -> None:
    send(app, "a")
    app.close()
    home.mkdir()
    outlet = app.outlet
    assert isinstance(outlet, Outlet)
    outlet.start()
    drained(app)
    assert arrived(app) == ["a"]


def test_what_waits_can_be_read_by_its_owner_alone(app: TaskBus, tmp_path: Path) -> None:
    send(app, "a")
    until(lambda: (tmp_path / "spool.db-relay").exists(), "the relay has looked", 30)
    assert {file.name: oct(file.stat().st_mode & 0o777) for file in tmp_path.glob("spool.db*")} == dict.fromkeys(
        ("spool.db", "spool.db-wal", "spool.db-shm", "spool.db-relay"), "0o600"
    )


def test_without_an_outage_there_is_no_file(app: TaskBus, home: Path, tmp_path: Path) -> None:
    home.mkdir()
    send(app, "a")
    with app.batch():
        send(app, "b")
    assert arrived(app) == ["a", "b"]
    assert app.spool is not None
    assert (app.spool.size(), app.spool.oldest_at(), app.spool.refused()) == ((0, 0, 0), None, [])
    assert not list(tmp_path.glob("spool.db*"))


def test_without_a_spool_a_send_raises(home: Path) -> None:
    with TaskBus("shop", broker=f"sqlite:///{home}/queue.db") as app:
        with pytest.raises(PublishFailed, match="does not exist"):
            send(app, "a")
        with pytest.raises(PublishFailed, match="does not exist"), app.batch():
            send(app, "a")


# --- what is never kept ---


def test_a_message_that_is_too_large_is_refused_and_not_kept(home: Path, tmp_path: Path) -> None:
    with TaskBus(
        "shop", broker=f"sqlite:///{home}/queue.db", spool=f"{tmp_path}/spool.db", max_message_bytes=1000
    ) as app:
        for first in ("large", "small"):
            with pytest.raises(PayloadTooLarge, match="max_message_bytes=1000"):
                app.send("tasks.add", ("x" * 1000,), task_id=first)
            with pytest.raises(PayloadTooLarge), app.batch():
                app.send("tasks.add", ("x" * 1000,))
            send(app, f"{first} kept")
        assert kept(app) == ["large kept", "small kept"]


# --- a spool that cannot take more ---


def test_a_full_spool_refuses_and_says_what_is_in_it(home: Path, tmp_path: Path) -> None:
    with TaskBus("shop", broker=f"sqlite:///{home}/q.db", spool=f"{tmp_path}/spool.db", max_spool_bytes=800) as app:
        send(app, "a", "b", "c")
        with pytest.raises(SpoolFailed, match=r"is full: 3 messages wait .*max_spool_bytes=800") as caught:
            send(app, "d")
        assert caught.value.task_ids == ("d",)
        with pytest.raises(SpoolFailed, match="full") as caught, app.batch():
            send(app, "e", "f")
        assert caught.value.task_ids == ("e", "f")
        assert kept(app) == ["a", "b", "c"]
        home.mkdir()
        drained(app)
        send(app, "d")
        assert arrived(app) == ["a", "b", "c", "d"]


def test_a_spool_that_is_full_from_the_start_says_why_the_broker_was_not_reached(home: Path, tmp_path: Path) -> None:
    with TaskBus("shop", broker=f"sqlite:///{home}/q.db", spool=f"{tmp_path}/spool.db", max_spool_bytes=10) as app:
        with pytest.raises(SpoolFailed, match=r"broker does not exist.*; and the spool .* is full") as caught:
            send(app, "a")
        assert caught.value.task_ids == ("a",)


def test_a_full_disk_refuses_and_keeps_what_was_kept(app: TaskBus, home: Path) -> None:
    send(app, "a")
    assert app.spool is not None
    app.close()
    disk = app.spool._database.connection()
    disk.execute(f"PRAGMA max_page_count={disk.execute('PRAGMA page_count').fetchone()[0] + 1}")
    with pytest.raises(SpoolFailed, match="no space left"):
        app.send("tasks.add", ("x" * 100_000,), task_id="b")
    disk.execute("PRAGMA max_page_count=1000000")
    send(app, "c")
    assert kept(app) == ["a", "c"]
    home.mkdir()
    drained(app)
    assert arrived(app) == ["a", "c"]


def test_a_spool_in_a_folder_that_is_not_there_is_named(home: Path, tmp_path: Path) -> None:
    with TaskBus("shop", broker=f"sqlite:///{home}/q.db", spool=f"{tmp_path}/nowhere/spool.db") as app:
        with pytest.raises(SpoolFailed, match=r"nowhere does not exist; create it"):
            send(app, "a")
        home.mkdir()
        send(app, "b")  # nothing can be waiting there
        assert arrived(app) == ["b"]


def test_a_spool_that_is_damaged_does_not_keep_a_reachable_broker_from_being_used(
    app: TaskBus, home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "spool.db").write_text("this is no database, " * 100)
    home.mkdir()
    send(app, "a")
    assert arrived(app) == ["a"]
    assert "out of reach" in caplog.text


# --- outcomes that are not known ---


class Deaf(Broker):
    """A broker whose answers are lost while ``is_deaf``."""

    is_deaf = False

    def publish(self, message: Message) -> None:
        super().publish(message)
        if self.is_deaf:
            raise PublishUnknown("no answer within 5 s", [message.id])


@pytest.fixture
def deaf(tmp_path: Path) -> Iterator[Deaf]:
    with closing(Deaf(f"memory://{tmp_path}")) as broker:
        yield broker


def test_an_unknown_outcome_is_repeated_under_its_id_and_queued_once(deaf: Deaf, spool: Spool) -> None:
    outlet = Outlet(spool, lambda: deaf, lambda: Broker(deaf.url), 1 << 20)
    deaf.is_deaf = True
    outlet.publish(message("a"))
    until(lambda: not spool.size().waiting, "the spool is empty", 30)
    deaf.is_deaf = False
    outlet.publish(message("b"))
    assert waiting(deaf) == ["a", "b"]
    outlet.close()


def test_an_unknown_outcome_stays_unknown_when_the_spool_is_full(deaf: Deaf, tmp_path: Path) -> None:
    outlet = Outlet(Spool(f"{tmp_path}/spool.db", 10), lambda: deaf, lambda: deaf, 1 << 20)
    deaf.is_deaf = True
    with pytest.raises(PublishUnknown, match="sent again with the same task_id") as caught:
        outlet.publish(message("a"))
    assert caught.value.task_ids == ("a",)
    assert any("is full" in note for note in caught.value.__notes__)


def test_relaying_stops_at_a_broker_that_cannot_be_reached(spool: Spool, home: Path, tmp_path: Path) -> None:
    spool.append([(each, encode(each)) for each in (message("a"), message("b"))])
    with closing(Deaf(f"memory://{tmp_path}")) as broker:
        broker.is_deaf = True
        with pytest.raises(PublishUnknown):
            Relay(spool, broker).step()
        assert spool.size().waiting == 2
        broker.is_deaf = False
        relay = Relay(spool, broker)
        assert relay.step()
        assert relay.relayed == 2
        assert waiting(broker) == ["a", "b"]


# --- its end ---


def test_a_forked_child_keeps_and_relays_its_own(app: TaskBus, home: Path) -> None:
    send(app, "parent")
    pid = os.fork()
    if not pid:
        status = 1
        try:
            send(app, "child")
            home.mkdir()
            drained(app)
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    send(app, "after")
    drained(app)
    assert arrived(app) == ["parent", "child", "after"]


def test_a_closed_application_relays_no_more_and_loses_nothing(app: TaskBus, home: Path) -> None:
    send(app, "a")
    app.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "taskbus-relay"]
    home.mkdir()
    assert kept(app) == ["a"]


def test_a_limit_below_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="max_spool_bytes"):
        TaskBus("shop", max_spool_bytes=-1)
