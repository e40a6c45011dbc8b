"""The relay of a spool: what the broker will not have, and one relay at a time."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from taskbus.broker.broker import Broker
from taskbus.errors import PublishFailed, PublishUnknown
from taskbus.message import Message
from taskbus.spool.relay import RelayThread, relay_all
from taskbus.spool.spool import RelayLock, Spool
from taskbus.testing.transport_basis import message, waiting
from taskbus.wire.compact import encode
from tests.servers.server import until

# Forking a process with threads is what some of this is about; Python 3.12 and later warn of it.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(f"{tmp_path}/spool.db", 1 << 20)


# --- messages the broker will not have ---


@pytest.fixture
def picky(tmp_path: Path) -> Iterator[Broker]:
    """A broker whose database takes nothing for the queue ``forbidden``."""
    with closing(Broker(f"sqlite:///{tmp_path}/picky.db")) as broker:
        with closing(sqlite3.connect(tmp_path / "picky.db")) as database, database:
            database.execute(
                "CREATE TRIGGER picky BEFORE INSERT ON taskbus_message WHEN NEW.queue = 'forbidden'"
                " BEGIN SELECT RAISE(ABORT, 'not in my house'); END"
            )
        yield broker


def fill(spool: Spool, *ids: str) -> None:
    for id in ids:
        each = message(id, queue="forbidden" if id.startswith("bad") else "default")
        spool.append([(each, encode(each))])


def test_a_message_the_broker_refuses_is_put_aside_with_the_reason_and_the_rest_go_on(
    picky: Broker, spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    names = [f"m{n}" for n in range(9)]
    fill(spool, *names[:5], "bad1", *names[5:7], "bad2", *names[7:])
    relayed = relay_all(spool, picky)
    assert relayed == 9
    assert sorted(waiting(picky)) == names
    assert [(each.id, each.task) for each in spool.refused()] == [("bad1", "tasks.add"), ("bad2", "tasks.add")]
    assert all("not in my house" in each.reason for each in spool.refused())
    assert spool.size()[:2] == (0, 2)
    assert "bad1" in caplog.text


def test_what_was_refused_can_be_tried_again(picky: Broker, spool: Spool, tmp_path: Path) -> None:
    fill(spool, "bad1", "good")
    relay_all(spool, picky)
    with closing(sqlite3.connect(tmp_path / "picky.db")) as database, database:
        database.execute("DROP TRIGGER picky")
    assert spool.restore() == 1
    assert relay_all(spool, picky) == 1
    assert waiting(picky, "forbidden") == ["bad1"]
    assert spool.size() == (0, 0, 0)


def test_a_broker_that_refuses_everything_is_an_outage_and_no_judgement(picky: Broker, spool: Spool) -> None:
    fill(spool, "bad1", "bad2", "bad3")
    with pytest.raises(PublishFailed, match="not in my house"):
        relay_all(spool, picky)
    assert spool.size()[:2] == (3, 0)


def test_bytes_that_are_no_message_are_put_aside(picky: Broker, spool: Spool) -> None:
    fill(spool, "a")
    spool.append([(message("b"), b"\xc1 no message")])
    fill(spool, "c")
    assert relay_all(spool, picky) == 2
    assert waiting(picky) == ["a", "c"]
    assert [(each.id, each.wire) for each in spool.refused()] == [("b", b"\xc1 no message")]


# --- a broker that remembers no ids ---


class Forgetful(Broker):
    """Accepts each message of a batch by itself and remembers no id: of a batch with a bad one it tells little."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.features = replace(self.features, dedup=False)
        self.accepted: list[str] = []
        self._batch: list[str] = []

    def publish(self, message: Message) -> None:
        self._batch.append(message.id)

    @contextmanager
    def batch(self, max_size: int = 1000) -> Iterator[None]:
        self._batch = []
        yield
        good = [id for id in self._batch if not id.startswith("bad")]
        self.accepted += good
        if good != self._batch:
            raise (PublishUnknown if good else PublishFailed)("not in my house")


@pytest.fixture
def forgetful(tmp_path: Path) -> Iterator[Forgetful]:
    with closing(Forgetful(f"memory://{tmp_path}")) as broker:
        yield broker


def test_a_refused_message_does_not_have_its_batch_published_for_ever(forgetful: Forgetful, spool: Spool) -> None:
    fill(spool, "a", "b", "bad", "c", "d", "e")
    assert relay_all(spool, forgetful, wait_for=20) == 5
    assert [each.id for each in spool.refused()] == ["bad"]
    assert set(forgetful.accepted) == {"a", "b", "c", "d", "e"}
    assert max(map(forgetful.accepted.count, forgetful.accepted)) <= 4  # 6, 3, 1 at a time, then 2 again


def test_the_relays_thread_finds_a_refused_message_over_several_turns(
    forgetful: Forgetful, spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    fill(spool, "a", "bad", "b", "c")
    thread = RelayThread(spool, lambda: forgetful)
    thread.start()
    until(lambda: "relayed 3 messages" in caplog.text, "all is relayed and told", 20)
    thread.stop(5)
    assert spool.size()[:2] == (0, 1)


# --- one relay at a time ---


def test_two_relays_never_work_at_once(spool: Spool, picky: Broker, tmp_path: Path) -> None:
    fill(spool, "a")
    with spool.relaying() as is_mine, Spool(spool.path, 1 << 20).relaying() as is_theirs:
        assert (is_mine, is_theirs) == (True, False)
        with pytest.raises(PublishFailed, match="another process relays"):
            relay_all(spool, picky)
    assert relay_all(spool, picky) == 1


def test_a_forked_child_does_not_keep_its_parents_lock(tmp_path: Path) -> None:
    path = f"{tmp_path}/lock"
    lock = RelayLock(path)
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(writer)
        os.read(reader, 1)
        os._exit(0)
    lock.release()
    again = RelayLock(path)
    assert again.is_held
    again.release()
    os.close(writer)
    os.waitpid(pid, 0)
    os.close(reader)
