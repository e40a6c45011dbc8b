"""The spool across processes: killed producers, killed relays, two relays at once, and the command line."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from cli_runs import taskbus

from taskbus.broker.broker import Broker
from taskbus.spool.spool import Spool
from taskbus.testing.transport_basis import ids
from tests.servers.server import until

PRODUCER = """
import sys
from taskbus import TaskBus

name, count, broker, spool = sys.argv[1], int(sys.argv[2]), *sys.argv[3:]
app = TaskBus("shop", broker=broker, spool=spool, publish_timeout=1)
for n in range(count):
    app.send("tasks.add", (n,), task_id=f"{name}{n:05}")
    print(f"{name}{n:05}", flush=True)
print("done", flush=True)
sys.stdin.read()
"""


class Place:
    """A broker that is down while its folder is not there, and a spool beside it."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "broker"
        self.url = f"sqlite:///{self.home}/queue.db"
        self.spool = Spool(f"{folder}/spool.db", 1 << 30)

    def producer(self, name: str, count: int, failpoints: str = "") -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-c", PRODUCER, name, str(count), self.url, self.spool.path],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env={**os.environ, "TASKBUS_FAILPOINTS": failpoints},
        )  # fmt: skip

    def relay(self, failpoints: str = "") -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, "-m", "taskbus", "spool", "relay", "--wait", "60", "-b", self.url],
            env={**os.environ, "TASKBUS_SPOOL": self.spool.path, "TASKBUS_FAILPOINTS": failpoints},
            stderr=subprocess.DEVNULL,
        )

    def arrived(self) -> list[str]:
        with closing(Broker(self.url)) as broker:
            return ids(broker.peek("default", 1_000_000))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def said(producer: "subprocess.Popen[str]") -> list[str]:
    """What it told to be accepted, until it ended or was done."""
    assert producer.stdout is not None
    lines: list[str] = []
    for line in producer.stdout:
        if line == "done\n":
            break
        lines.append(line.strip())
    return lines


def end(producer: "subprocess.Popen[str]") -> None:
    producer.kill()
    producer.communicate()


def in_order(arrived: Sequence[str], name: str) -> bool:
    own = [id for id in arrived if id.startswith(name)]
    return own == sorted(own)


def test_a_broker_that_was_down_gets_every_task_of_killed_producers_once_and_in_order(place: Place) -> None:
    killed = [place.producer("a", 5000, "spool.after:kill9@40"), place.producer("b", 5000, "spool.inside:kill9@30")]
    accepted = [id for producer in killed for id in said(producer)]
    assert [producer.wait(60) for producer in killed] == [-9, -9]
    for producer in killed:
        producer.communicate()
    patient = place.producer("c", 60)
    accepted += said(patient)
    assert len(accepted) == 39 + 29 + 60
    assert place.spool.size().waiting == len(accepted) + 1  # one was on the disk, and its producer died saying so

    place.home.mkdir()
    relays = [place.relay(), place.relay()]
    assert [relay.wait(90) for relay in relays] == [0, 0]
    until(lambda: not place.spool.size().waiting, "the spool is empty", 60)
    end(patient)
    arrived = place.arrived()
    assert sorted(arrived) == sorted([*accepted, "a00039"])
    assert all(in_order(arrived, name) for name in "abc")


def test_a_relay_killed_between_publishing_and_forgetting_repeats_what_the_broker_remembers(place: Place) -> None:
    producer = place.producer("a", 450)
    accepted = said(producer)
    end(producer)
    place.home.mkdir()
    assert place.relay("relay.inside:kill9@2").wait(60) == -9
    assert place.spool.size().waiting == 250
    with closing(Broker(place.url)) as broker:
        has_dedup = broker.features.dedup
    assert place.relay().wait(60) == 0
    arrived = place.arrived()
    assert list(dict.fromkeys(arrived)) == accepted
    assert len(arrived) == 450 or not has_dedup


def test_producers_of_one_spool_relay_in_turns(place: Place) -> None:
    producers = [place.producer(name, 100) for name in "abc"]
    accepted = [id for producer in producers for id in said(producer)]
    place.home.mkdir()
    until(lambda: not place.spool.size().waiting, "the producers relay by themselves", 60)
    for producer in producers:
        end(producer)
    assert sorted(place.arrived()) == sorted(accepted)
    assert all(in_order(place.arrived(), name) for name in "abc")


def test_a_stopped_relay_holds_up_nobody_for_ever(place: Place) -> None:
    producer = place.producer("a", 10)
    said(producer)
    end(producer)
    place.home.mkdir()
    stopped = place.relay("relay.inside:stop")
    until(lambda: bool(place.arrived()), "the first relay is at work", 60)
    other = place.relay()
    os.kill(stopped.pid, signal.SIGKILL)
    stopped.wait(60)
    assert other.wait(60) == 0
    assert place.spool.size().waiting == 0
    assert list(dict.fromkeys(place.arrived())) == [f"a{n:05}" for n in range(10)]


# --- the command line ---


def test_status_says_what_waits_and_what_was_refused(place: Place) -> None:
    producer = place.producer("a", 12)
    said(producer)
    end(producer)
    place.spool.refuse(place.spool.first(1)[0], "it was too large")
    settings = {"TASKBUS_SPOOL": place.spool.path, "TASKBUS_BROKER": place.url}
    done = taskbus("spool", "status", "-o", "json", **settings)
    assert done.status == 0, done.err
    assert (done.json["waiting"], done.json["file"], len(done.json["next"])) == (11, place.spool.path, 10)
    assert done.json["next"][0]["id"] == "a00001"
    assert done.json["oldest_at"] <= time.time()
    assert [(each["id"], each["reason"]) for each in done.json["refused"]] == [("a00000", "it was too large")]
    table = taskbus("spool", **settings)
    assert "11 messages" in table.out and "it was too large" in table.out
    assert not place.home.exists()


def test_relay_empties_the_spool_and_counts(place: Place) -> None:
    producer = place.producer("a", 5)
    said(producer)
    end(producer)
    place.spool.refuse(place.spool.first(1)[0], "it was too large")
    settings = {"TASKBUS_SPOOL": place.spool.path, "TASKBUS_BROKER": place.url}
    failed = taskbus("spool", "relay", **settings)
    assert failed.status == 1
    assert "broker does not exist" in failed.err
    place.home.mkdir()
    done = taskbus("spool", "relay", "-o", "json", **settings)
    assert (done.status, done.json["relayed"], done.json["refused"]) == (0, 4, 0)
    again = taskbus("spool", "relay", "--refused", "-o", "json", **settings)
    assert (again.status, again.json["relayed"], again.json["refused"]) == (0, 1, 0)
    assert place.arrived() == ["a00001", "a00002", "a00003", "a00004", "a00000"]
    assert json.loads(taskbus("spool", "relay", "-o", "jsonl", **settings).out)["relayed"] == 0


def test_without_a_spool_the_commands_say_how_to_set_one(tmp_path: Path) -> None:
    done = taskbus("spool", "status", TASKBUS_BROKER=f"sqlite:///{tmp_path}/q.db")
    assert done.status == 2
    assert "TASKBUS_SPOOL" in done.err
