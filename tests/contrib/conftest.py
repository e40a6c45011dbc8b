"""The same application under Celery and under taskbus_celery: a worker and a driver of each, on one real Redis."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from taskbus_celery import Celery

from tests.servers.rabbitmq_server import RabbitServer
from tests.servers.redis_server import RedisServer

HERE = Path(__file__).parent
TIMEOUT = 120.0
FRAMEWORKS = ("celery", "taskbus_celery")
_QUEUES = "celery,special"
_WORKERS = {
    "celery": ["celery", "-A", "both_app", "worker", "-Q", _QUEUES, "-c", "2", "-l", "WARNING", "--without-gossip",
               "--without-mingle", "--without-heartbeat"],
    "taskbus_celery": ["taskbus", "worker", "-A", "both_app", "-Q", _QUEUES, "-c", "2"],
}  # fmt: skip


@dataclass
class Side:
    """A driver and a worker, each of one framework: where they run, and the environment in which they do."""

    framework: str
    folder: Path
    environment: dict[str, str]
    worker: str = ""
    cases: tuple[str, ...] = ()
    asked: dict[str, Any] | None = None

    def start_worker(self) -> "subprocess.Popen[bytes]":
        with (self.folder / "worker.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", *_WORKERS[self.worker or self.framework]],
                cwd=self.folder,
                env={**self.environment, "FRAMEWORK": self.worker or self.framework},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def start_driver(self) -> "subprocess.Popen[bytes]":
        with (self.folder / "answers").open("wb") as answers, (self.folder / "driver.log").open("wb") as log:
            command = [sys.executable, str(HERE / "both_driver.py"), *self.cases]
            return subprocess.Popen(command, cwd=self.folder, env=self.environment, stdout=answers, stderr=log)

    def text(self, file: str) -> str:
        return f"--- {self.framework}: {file}\n{(self.folder / file).read_text()}"

    def notes(self, key: str) -> list[Any]:
        return [json.loads(line) for line in (self.folder / "notes" / key).read_text().splitlines()]

    @property
    def answers(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "answers").read_text())
        return found


def side(framework: str, folder: Path, redis: str, database: int) -> Side:
    """A folder, and databases of its own."""
    (folder / "notes").mkdir(parents=True)
    environment = {
        **os.environ,
        "FRAMEWORK": framework,
        "NOTES": str(folder / "notes"),
        "BROKER": redis.replace("/0", f"/{database}"),
        "BACKEND": redis.replace("/0", f"/{database + 1}"),
        "PYTHONPATH": str(HERE),
        "PYTHONWARNINGS": "ignore",
    }
    environment.pop("COVERAGE_PROCESS_CONFIG", None) if framework == "celery" else None
    return Side(framework, folder, environment)


MIXED = (
    "delay_and_its_defaults", "a_route_by_pattern_and_one_by_name", "send_task_by_name", "failures_arrive_as_they_were",
    "countdown_eta_and_expires", "retry_by_hand", "retry_without_a_reason", "retry_by_itself", "retry_but_not_for_some",
    "hooks_and_signals_in_their_order", "soft_time_limit", "classes_of_tasks", "shared_tasks", "chains", "groups",
    "chords", "chains_with_groups_inside", "a_chord_with_a_failure", "map_starmap_and_chunks", "links",
)  # fmt: skip
"""Cases that Celery's own producer plays with our worker, on queues that they share."""


def mixed(folder: Path, redis: str) -> Side:
    """Celery's driver, and our worker with the same tasks."""
    found = side("celery", folder / "mixed", redis, 2 * len(FRAMEWORKS))
    found.worker, found.cases = "taskbus_celery", MIXED
    found.environment.update(TASKBUS_CELERY_QUEUES=_QUEUES, TASKBUS_CELERY_RESULTS=found.environment["BACKEND"])
    return found


def asked(broker: str) -> dict[str, Any]:
    """What a real worker of Celery's answers to the remote control of taskbus_celery."""
    with Celery("asking", broker=broker, set_as_current=False) as app:
        app.control.revoke("called-off")
        inspect = app.control.inspect(timeout=3, limit=1)
        deadline = time.monotonic() + 30
        while not (revoked := inspect.revoked()) or not any("called-off" in ids for ids in revoked.values()):
            assert time.monotonic() < deadline, revoked
        return {
            "ping": app.control.ping(timeout=3, limit=1),
            "revoked": revoked,
            "registered": inspect.registered(),
            "queues": inspect.active_queues(),
            "task": inspect.query_task("nobody"),
            "limited": app.control.rate_limit("both_app.silent", "5/m", reply=True, timeout=3, limit=1),
        }


BROKERS = ("redis", *(pytest.param(name, marks=pytest.mark.slow) for name in ("sqlite", "rabbitmq")))


@pytest.fixture(scope="module", params=BROKERS)
def sides(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Side]]:
    """Both, when their drivers have called everything and their workers have ended in good order.

    Celery's is on Redis; ours is on each broker in turn.
    """
    folder = tmp_path_factory.mktemp("both")
    with ExitStack() as stack:
        server = RedisServer(folder / "redis")
        stack.callback(server.kill)
        server.start()
        found = {name: side(name, folder / name, server.url, 2 * n) for n, name in enumerate(FRAMEWORKS)}
        if request.param != "redis":
            broker = results = f"sqlite:///{folder}/bus.db"
            if request.param == "rabbitmq":
                rabbit = RabbitServer(folder / "rabbit")
                stack.callback(rabbit.kill)
                rabbit.start()
                broker = rabbit.url
            found["taskbus_celery"].environment.update(BROKER=broker, BACKEND=f"db+{results}")
        else:
            found["mixed"] = mixed(folder, server.url)
        yield from play(found)


def play(found: dict[str, Side]) -> Iterator[dict[str, Side]]:
    """Run workers and drivers of both at once."""
    processes: list[subprocess.Popen[bytes]] = []
    try:
        workers = [each.start_worker() for each in found.values()]
        processes += workers
        drivers = [each.start_driver() for each in found.values()]
        processes += drivers
        statuses = [driver.wait(TIMEOUT) for driver in drivers]
        if any(statuses):
            logs = [each.text(file) for each in found.values() for file in ("driver.log", "worker.log")]
            raise AssertionError("\n".join(logs))
        found["celery"].asked = asked(found["celery"].environment["BROKER"])
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait(30)
        yield found
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()
