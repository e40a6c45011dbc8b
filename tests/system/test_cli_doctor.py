"""The doctor on brokers and stores across the network, and on a spool; and a worker that heeds what it would say."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from cli_runs import Run, taskbus
from worker_process import Worker, wait_until

from taskbus import TaskBus
from taskbus.broker.transports.schemes import SCHEMES
from taskbus.spool.spool import Spool
from taskbus.testing.transport_basis import message
from taskbus.wire.compact import encode
from tests.servers import mariadb_server, postgres_server
from tests.servers.rabbitmq_server import RabbitServer
from tests.servers.redis_server import ALWAYS, RedisCluster, RedisServer
from tests.servers.server import free_port, need

SECRET = "s3cret-passw0rd"


def findings(run: Run, level: str) -> list[tuple[str, str, str]]:
    return [(item["subject"], item["text"], item["hint"]) for item in run.json["items"] if item["level"] == level]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def redis(folder: Path, stack: ExitStack, *options: str) -> RedisServer:
    need("redis-server")
    server = RedisServer(folder / "redis", *options, password=SECRET)
    stack.callback(server.kill)
    server.start()
    return server


def rabbit(folder: Path, stack: ExitStack) -> str:
    server = RabbitServer(folder / "rabbit")
    stack.callback(server.kill)
    server.start()
    server.control("change_password", "guest", SECRET)
    return f"amqp://guest:{SECRET}@127.0.0.1:{server.port}//"


BROKERS: dict[str, Callable[[Path, ExitStack], str]] = {
    "redis": lambda folder, stack: redis(folder, stack, *ALWAYS).url,
    "amqp": rabbit,
    "postgresql": lambda folder, stack: postgres_server.new_url(),
    "mysql": lambda folder, stack: mariadb_server.new_url(),
}
UNREACHABLE = {
    "redis": "redis://:{secret}@127.0.0.1:{port}/0",
    "amqp": "amqp://me:{secret}@127.0.0.1:{port}//",
    "postgresql": "postgresql://me:{secret}@127.0.0.1:{port}/taskbus",
    "mysql": "mysql://me:{secret}@127.0.0.1:{port}/taskbus",
}


def must_be_there(scheme: str) -> None:
    if scheme not in SCHEMES:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"this TaskBus has no transport for {scheme}://")


# --- brokers across the network ---


@pytest.mark.parametrize("scheme", BROKERS)
def test_the_doctor_states_the_durability_of_a_live_broker(scheme: str, tmp_path: Path, stack: ExitStack) -> None:
    must_be_there(scheme)
    url = BROKERS[scheme](tmp_path, stack)
    done = taskbus("doctor", "-b", url, "-o", "json")
    assert findings(done, "error") == [], done.out
    subjects = {item["subject"] for item in done.json["items"]}
    assert {"broker", "durability"} <= subjects
    limits = [text for subject, text, _ in findings(done, "ok") if subject == "limits"]
    assert len(limits) == (scheme == "amqp")  # the others do all that there is
    assert all("; nor refuse a second publish" in text and "; nor list workers" in text for text in limits)
    assert SECRET not in done.out + done.err
    assert not any(name.endswith(".db") for name in os.listdir())


@pytest.mark.parametrize("scheme", UNREACHABLE)
def test_the_doctor_says_that_a_broker_cannot_be_reached_and_what_to_do(scheme: str) -> None:
    must_be_there(scheme)
    port = free_port()
    started = time.monotonic()
    done = taskbus("doctor", "-b", UNREACHABLE[scheme].format(secret=SECRET, port=port), "-o", "json")
    assert time.monotonic() - started < 30
    assert done.status == 1
    (subject, text, hint), *_ = findings(done, "error")
    assert subject == "broker"
    assert f"127.0.0.1:{port}" in text
    assert "is it running" in text
    assert hint == ""  # the error has said what to do
    assert SECRET not in done.out + done.err


@pytest.mark.parametrize(
    "url", [f"rediss://127.0.0.1:1/0?ca_file=/nowhere&password={SECRET}", "redis://a,b", "amqp://h/?cafile=x"]
)
def test_the_doctor_does_not_ask_whether_a_wrong_url_is_running(url: str) -> None:
    done = taskbus("doctor", "-b", url, "-o", "json")
    assert [(subject, hint) for subject, _, hint in findings(done, "error")] == [("broker", "")]


def test_the_doctor_says_that_a_cluster_cannot_settle_in_one_step(tmp_path: Path) -> None:
    need("redis-server")
    with RedisCluster(tmp_path, primaries=1) as cluster:
        done = taskbus("doctor", "-b", cluster.url, "-o", "json")
        said = {subject: text for subject, text, _ in findings(done, "ok")}
        assert "cannot settle a task and store its result in one step" in said["limits"]
        assert "a crash between the two may run a finished task again" in said["results"]
        assert "one transaction" not in done.out


def test_the_doctor_says_that_a_store_cannot_be_reached(tmp_path: Path) -> None:
    need("redis-server")
    url = UNREACHABLE["redis"].format(secret=SECRET, port=free_port())
    done = taskbus("doctor", "-b", f"sqlite:///{tmp_path}/queue.db", "--results", url, "-o", "json")
    assert done.status == 1
    assert [subject for subject, _, _ in findings(done, "error")] == ["results"]
    assert SECRET not in done.out + done.err


def test_results_in_a_file_of_this_host_are_a_warning_where_the_broker_is_for_all(
    tmp_path: Path, stack: ExitStack
) -> None:
    must_be_there("redis")
    server = redis(tmp_path, stack, *ALWAYS)
    done = taskbus("doctor", "-b", server.url, "--results", f"sqlite:///{tmp_path}/results.db", "-o", "json")
    assert any("who sends from another host" in text for _, text, _ in findings(done, "warning"))
    done = taskbus("doctor", "-b", server.url, "-o", "json")
    assert not any("another host" in text for _, text, _ in findings(done, "warning"))


def test_a_password_is_shown_by_no_command_that_shows_settings(tmp_path: Path) -> None:
    url = f"postgresql://me:{SECRET}@db/shop"
    for arguments in (("config", "show"), ("config", "show", "--origin", "-o", "json"), ("doctor",)):
        done = taskbus(*arguments, "-b", f"sqlite:///{tmp_path}/queue.db", TASKBUS_RESULTS=url)
        assert SECRET not in done.out + done.err
        assert "me:***@db" in done.out


def test_the_doctor_says_what_a_file_cannot_do_once_there_is_one(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/queue.db"
    for is_there in (False, True):
        done = taskbus("doctor", "-b", url, "-o", "json")
        limits = [text for subject, text, _ in findings(done, "ok") if subject == "limits"]
        assert limits == ["this broker cannot refuse a second publish of one task id"] * is_there
        with TaskBus("shop", broker=url) as app:
            app.send("tasks.add")


# --- what a worker makes of it ---


def test_a_worker_does_not_start_on_a_broker_that_may_throw_tasks_away(tmp_path: Path, stack: ExitStack) -> None:
    must_be_there("redis")
    server = redis(tmp_path, stack, "--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru")
    done = taskbus("doctor", "-b", server.url, "-o", "json")
    assert done.status == 1
    assert any("noeviction" in text + hint for _, text, hint in findings(done, "error"))
    refused = taskbus("worker", "-A", "sample:app", "-b", server.url, "--processes", "1")
    assert refused.status != 0
    assert "noeviction" in refused.err
    left = server.keys()
    assert not any("worker" in name for name in left), left


def test_a_worker_says_at_its_start_what_may_be_lost(tmp_path: Path, stack: ExitStack) -> None:
    must_be_there("redis")
    server = redis(tmp_path, stack, "--appendonly", "no", "--save", "")
    with Worker(server.url, tmp_path, "--processes", "1") as worker:
        wait_until(lambda: "Ready in" in worker.log.read_text(), what="a banner")
        assert "durability" in worker.log.read_text()
        assert SECRET not in worker.log.read_text()
        assert worker.stop() == 0


# --- the spool ---


def test_the_doctor_looks_into_the_spool(tmp_path: Path) -> None:
    settings = {"TASKBUS_BROKER": f"sqlite:///{tmp_path}/queue.db", "TASKBUS_SPOOL": f"{tmp_path}/spool.db"}
    done = taskbus("doctor", "-o", "json", **settings)
    assert ("spool", f"{tmp_path}/spool.db: nothing waits", "") in findings(done, "ok")
    assert not (tmp_path / "spool.db").exists()

    spool = Spool(settings["TASKBUS_SPOOL"], 1 << 20)
    spool.append([(each, encode(each)) for each in map(message, "abc")])
    spool.refuse(spool.first(1)[0], "too large")
    done = taskbus("doctor", "-o", "json", **settings)
    assert done.status == 75
    said = [text for subject, text, _ in findings(done, "warning") if subject == "spool"]
    assert said[0].startswith(f"2 messages in {tmp_path}/spool.db, the oldest ")
    assert said[1] == f"the broker refused 1 message of {tmp_path}/spool.db"


def test_the_doctor_names_a_spool_that_could_keep_nothing(tmp_path: Path) -> None:
    settings = {"TASKBUS_BROKER": f"sqlite:///{tmp_path}/queue.db", "TASKBUS_SPOOL": f"{tmp_path}/nowhere/spool.db"}
    done = taskbus("doctor", "-o", "json", **settings)
    assert done.status == 1
    ((subject, text, hint),) = findings(done, "error")
    assert (subject, hint.startswith("mkdir -p")) == ("spool", True)
    assert "nowhere/spool.db" in text


def test_the_doctor_warns_before_the_spool_is_full(tmp_path: Path) -> None:
    spool = f"{tmp_path}/spool.db"
    with TaskBus("shop", broker=f"sqlite:///{tmp_path}/nowhere/q.db", spool=spool, max_spool_bytes=600) as app:
        app.send("tasks.add")
        app.send("tasks.add")
    settings = {"TASKBUS_SPOOL": spool, "TASKBUS_MAX_SPOOL_BYTES": "600"}
    done = taskbus("doctor", "-b", f"sqlite:///{tmp_path}/q.db", "-o", "json", **settings)
    assert any("soon sends fail" in text for _, text, _ in findings(done, "warning"))
