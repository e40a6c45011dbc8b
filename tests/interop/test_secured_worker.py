"""A real worker as the users of ``docs/howto/secure_redis.md``: it is refused nothing, whatever is asked of it."""

import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery

from taskbus import TaskBus
from taskbus.broker.monitoring.asking import ask
from taskbus.broker.monitoring.place import place_of
from tests.interop import work_app
from tests.interop.stage import NODE, ROOT, Place, Stage, heartbeats, script
from tests.servers.redis_server import RedisServer

PAGE = ROOT / "docs" / "howto" / "secure_redis.md"


def commands() -> list[list[str]]:
    """The page's lines that make users."""
    return [shlex.split(line) for line in PAGE.read_text().splitlines() if line.startswith("ACL SETUSER")]


def url_of(server: RedisServer, user: str) -> str:
    return f"redis://{user}:password@127.0.0.1:{server.port}/0?prefix=shop"


def refused(server: RedisServer) -> list[str]:
    """What the server has refused to somebody."""
    told = [dict(zip(entry[::2], entry[1::2], strict=True)) for entry in server.cli("ACL", "LOG")]
    return [f"{each[b'username'].decode()}: {each[b'reason'].decode()} {each[b'object'].decode()}" for each in told]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """One that has all users of the page but those of the lines that restrict a user further."""
    server = RedisServer(tmp_path / "redis")
    server.start()
    for line in commands():
        if line[2] != "worker" or "reset" in line:
            server.cli(*line)
    yield server
    server.kill()


@pytest.fixture
def stage(server: RedisServer, tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path, Place(url_of(server, "worker")))
    yield stage
    stage.close()


def work(bus: TaskBus) -> None:
    """Let a worker do what workers do."""
    tasks = {name.rpartition(".")[2]: task for name, task in bus.tasks.items()}
    first, later = tasks["add"].delay(1, 2), tasks["add"].options(countdown=1).delay(3, 4)
    again, bad = tasks["once_more"].delay(), tasks["boom"].delay("bad")
    assert (first.get(timeout=60), later.get(timeout=60), again.get(timeout=60)) == (3, 7, 2)
    with pytest.raises(Exception, match="bad"):
        bad.get(timeout=60)


def test_a_worker_with_all_at_its_defaults_is_refused_nothing(server: RedisServer, stage: Stage) -> None:
    there = place_of(stage.url)
    worker = stage.start_worker("--events", ping=lambda: ask(there, "ping", {}, nodes=[NODE], timeout=1))
    work(stage.bus)
    stage.start_worker(name="second@interop", ping=lambda: len(ask(there, "ping", {}, nodes=[], timeout=2)) == 2)
    assert ask(there, "active", {}, nodes=[NODE], timeout=10) == {NODE: []}
    worker.end()
    assert worker.process.returncode == 0, worker.output()
    assert refused(server) == []


def test_a_worker_that_ended_in_good_order_leaves_reports_and_names_of_queues_only(
    server: RedisServer, stage: Stage
) -> None:
    there = place_of(stage.url)
    worker = stage.start_worker(ping=lambda: ask(there, "ping", {}, nodes=[NODE], timeout=1))
    worker.end()
    left = server.keys()
    assert not [key for key in left if "kombu" in key or "pidbox" in key]
    lives = {key: server.cli("TTL", key) for key in left}
    assert lives.pop("shop:{%broker}:queues") == -1
    assert all(key.startswith("shop:reports:") for key in lives), lives
    assert all(0 < seconds <= 3 * 86400 for seconds in lives.values()), lives


def test_a_worker_that_does_not_listen_needs_still_less(server: RedisServer, stage: Stage) -> None:
    (less,) = (line for line in commands() if line[2] == "worker" and "reset" not in line)
    server.cli(*less)
    bus = TaskBus("work", broker=stage.url, results=stage.url)
    for task in work_app.app.tasks.values():
        bus._adopt(task)
    worker = stage.start_worker("--set", "remote_control=off", ping=server.keys)
    work(bus)
    worker.end()
    assert worker.process.returncode == 0, worker.output()
    bus.close()
    assert refused(server) == []


def test_celerys_tools_as_the_user_of_the_page_are_answered_and_refused_nothing(
    server: RedisServer, stage: Stage, tmp_path: Path
) -> None:
    stage.start_worker(ping=lambda: ask(place_of(stage.url), "ping", {}, nodes=[NODE], timeout=1))
    monitor = url_of(server, "monitor").partition("?")[0]
    (tmp_path / "tools.py").write_text(
        f"from celery import Celery\napp = Celery('tools', broker={monitor!r})\n"
        "app.conf.broker_transport_options = {'global_keyprefix': 'shop:'}\n"
    )
    said = subprocess.run(
        [script("celery"), "-A", "tools", "inspect", "ping", "--timeout", "5"], cwd=tmp_path, text=True, timeout=110,
        capture_output=True, env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert NODE in said.stdout and "pong" in said.stdout, said
    client = Celery("tools", broker=monitor)
    client.conf.broker_transport_options = {"global_keyprefix": "shop:"}
    assert set(heartbeats(client, 1)) == {NODE}
    client.close()
    assert refused(server) == []
