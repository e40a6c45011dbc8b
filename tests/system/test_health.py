"""Probes of real workers and beats: while they start, work, lose their broker, are stopped, and leave."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sample
from cli_runs import HERE
from cli_runs import taskbus as command
from watching import is_ok, probe, series, summed, url_of
from worker_process import StartWorker, Worker, wait_until

from taskbus import TaskBus
from taskbus.monitor.probes import unpack
from tests.servers.proxy import Proxy
from tests.servers.redis_server import RedisServer
from tests.servers.server import need

LONG = 60.0


def health(*arguments: object) -> tuple[int, str]:
    done = command("health", *arguments)
    return done.status, done.out


def test_a_worker_is_ready_once_it_works_and_no_longer_when_it_stops(
    bus: TaskBus, start_worker: StartWorker, tmp_path: Path
) -> None:
    file = tmp_path / "health.json"
    worker = start_worker("-c", "1", "--http", "0", "--set", f"health_file={file}")
    url = url_of(worker)
    wait_until(lambda: is_ok(url, "ready") and is_ok(url, "startup"), LONG)
    status, said = probe(url, "ready")
    assert (status, said["status"], said["kind"], said["pid"]) == (200, "ok", "worker", worker.pid)
    assert (said["runners"], said["wanted"], said["queues"]) == (1, 1, ["default"])
    assert health("ready", "--http", url) == (0, "ready: ok\n")
    wait_until(lambda: health("ready", "--file", file) == (0, "ready: ok\n"), LONG)
    running = sample.waits_for.delay(str(tmp_path / "go"))
    wait_until(lambda: summed(series(url), "celery_worker_tasks_active") == 1, LONG)
    worker.process.send_signal(signal.SIGTERM)
    wait_until(lambda: not is_ok(url, "ready"), LONG)
    assert probe(url, "ready")[1]["reasons"] == ["it is stopping"]
    assert is_ok(url, "live") and is_ok(url, "startup"), "whoever finishes its tasks must not be killed"
    (tmp_path / "go").touch()
    assert worker.process.wait(60) == 0
    assert running.get(timeout=5) is None
    assert not file.exists()
    assert health("live", "--file", file)[0] == 1


def test_a_worker_that_was_stopped_is_not_live_by_its_file_nor_by_its_port(
    bus: TaskBus, start_worker: StartWorker, tmp_path: Path
) -> None:
    file = tmp_path / "health.json"
    worker = start_worker("-c", "1", "--http", "0", "--set", f"health_file={file}", "--set", "lease=120")
    url = url_of(worker)
    wait_until(lambda: is_ok(url, "ready"), LONG)
    wait_until(lambda: unpack(file.read_text()).is_up, LONG)
    assert health("live", "--file", file, "--within", 8)[0] == 0
    os.kill(worker.pid, signal.SIGSTOP)
    try:
        wait_until(lambda: health("live", "--file", file, "--within", 8)[0] == 1, LONG)
        # Its loop may have turned some seconds before it last said anything, and be told of first.
        wait_until(lambda: "said nothing" in health("live", "--file", file, "--within", 8)[1], LONG)
        assert health("live", "--http", url, "--timeout", 0.3)[0] == 1
    finally:
        os.kill(worker.pid, signal.SIGCONT)
    wait_until(lambda: health("live", "--file", file, "--within", 8)[0] == 0, LONG)
    wait_until(lambda: is_ok(url, "ready"), LONG)


def test_a_worker_alone_with_a_long_task_is_live_and_ready(
    bus: TaskBus, start_worker: StartWorker, tmp_path: Path
) -> None:
    """A ping that waits for tasks, or a probe that counts ends, would restart it in the middle."""
    url = url_of(start_worker("-c", "1", "--http", "0"))
    sample.waits_for.delay(str(tmp_path / "go"))
    wait_until(lambda: summed(series(url), "celery_worker_tasks_active") == 1, LONG)
    began = time.monotonic()
    while time.monotonic() < began + 7:  # longer than the longest sleep of the loop
        assert is_ok(f"{url}", "live") and is_ok(url, "ready")
        time.sleep(0.2)
    (tmp_path / "go").touch()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    need("redis-server")
    server = RedisServer(tmp_path_factory.mktemp("redis"), password="s3cret")
    server.start()
    yield server
    server.kill()


@pytest.mark.parametrize("fault", ["refused", "silent"])
def test_a_worker_whose_broker_is_away_lives_and_is_not_ready_and_is_ready_again(
    server: RedisServer, tmp_path: Path, fault: str
) -> None:
    with Proxy(server.port) as proxy:
        broker = f"redis://:s3cret@127.0.0.1:{proxy.port}/0"
        with Worker(broker, tmp_path, "-c", "1", "--http", "0") as worker:
            url = url_of(worker)
            wait_until(lambda: is_ok(url, "ready"), LONG)
            assert summed(series(url), "taskbus_broker_up") == 1
            if fault == "refused":
                proxy.refuse()
                proxy.cut()
            else:
                proxy.blackhole()
            wait_until(lambda: not is_ok(url, "ready"), LONG, "not ready")
            (reason,) = probe(url, "ready")[1]["reasons"]
            assert reason.startswith("the broker fails since") and "s3cret" not in reason
            assert is_ok(url, "live") and is_ok(url, "startup")
            found = series(url)
            assert summed(found, "taskbus_broker_up") == 0
            assert summed(found, "taskbus_broker_errors_total") > 0
            assert summed(found, "celery_worker_up") == 1
            proxy.heal()
            proxy.admit()
            wait_until(lambda: is_ok(url, "ready"), LONG, "ready again")
            assert worker.stop() == 0


class Beat:
    """``taskbus beat`` as a process of its own; ``log`` is where its words go."""

    def __init__(self, broker: str, folder: Path, *options: str) -> None:
        self.log = folder / f"beat-{time.monotonic_ns()}.log"
        path = os.pathsep.join(filter(None, (str(HERE), os.environ.get("PYTHONPATH"))))
        variables = {**os.environ, "PYTHONPATH": path, "TASKBUS_BROKER": broker}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "taskbus", "beat", "-A", "sample_schedules:app", *options],
                env=variables, cwd=folder, stdout=log, stderr=log,
            )  # fmt: skip


def test_of_two_beats_both_are_ready_and_one_leads(bus: TaskBus, tmp_path: Path) -> None:
    beats = [Beat(bus.broker_url, tmp_path, "--http", "0") for _ in range(2)]
    try:
        urls: list[Any] = [url_of(beat) for beat in beats]  # type: ignore[arg-type]
        wait_until(lambda: all(is_ok(url, "ready") and is_ok(url, "live") for url in urls), LONG)
        wait_until(lambda: sorted(probe(url, "ready")[1]["role"] for url in urls) == ["leader", "standby"], LONG)
        leader = next(url for url in urls if probe(url, "ready")[1]["role"] == "leader")
        wait_until(lambda: summed(series(leader), "celery_task_sent_total", name="sample_schedules.often") >= 2, LONG)
        found = series(leader)
        assert summed(found, "taskbus_schedule_sent_total", schedule="sample_schedules.often") >= 2
        assert abs(summed(found, "taskbus_schedule_last_run_timestamp_seconds") - time.time()) < 10
        assert sum(summed(series(url), "taskbus_beat_leader") for url in urls) == 1
        beats[urls.index(leader)].process.kill()
        (other,) = set(urls) - {leader}
        wait_until(lambda: probe(other, "ready")[1]["role"] == "leader", LONG)
    finally:
        for beat in beats:
            beat.process.kill()
            beat.process.wait()
