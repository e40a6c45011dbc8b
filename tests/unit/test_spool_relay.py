"""The relay of a spool: what the broker will not have, and one relay at a time."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from taskbus.broker.broker import Broker
from taskbus.errors import PublishFailed
from taskbus.spool.relay import relay_all
from taskbus.spool.spool import RelayLock, Spool
from taskbus.testing.transport_basis import message, waiting
from taskbus.wire.compact import encode

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
    assert relayed >= 9
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
    relay_all(spool, picky)
    assert waiting(picky) == ["a", "c"]
    assert [(each.id, each.wire) for each in spool.refused()] == [("b", b"\xc1 no message")]


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
