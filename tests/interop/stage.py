"""One broker, one worker that tells of its tasks, and Celery's client: what the tests of one module share."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from celery import Celery

from taskbus import TaskBus
from tests.interop import work_app
from tests.servers.rabbitmq_server import RabbitServer, quiet_port
from tests.servers.redis_server import RedisServer
from tests.servers.server import own_folder

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0
NODE = "stage@interop"


def wait_until(condition: Callable[[], Any], what: str, timeout: float = PATIENCE) -> Any:
    """What ``condition`` returned once it is true; fail after ``timeout`` seconds."""
    deadline, never = time.monotonic() + timeout, threading.Event()
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {timeout:g} s: {what}"
        never.wait(0.05)
    return found


def heartbeats(client: Celery, count: int) -> list[str]:
    """Of which workers Celery's client hears, until it has heard so many heartbeats."""
    heard: list[str] = []

    def on_heartbeat(event: dict[str, str]) -> None:
        heard.append(event["hostname"])
        receiver.should_stop = len(heard) >= count

    with client.connection_for_read() as connection:
        receiver = client.events.Receiver(connection, handlers={"worker-heartbeat": on_heartbeat})
        receiver.capture(limit=None, timeout=PATIENCE, wakeup=False)
    return heard


class Program:
    """A process with its output in a file; killed at the end if it is still there."""

    def __init__(self, folder: Path, *command: str, **environment: str) -> None:
        self.log = folder / f"{Path(command[0]).name}-{time.monotonic_ns()}.log"
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, env={**os.environ, "PYTHONPATH": path, **environment}, cwd=folder, stdout=log, stderr=log,
                stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def is_running(self) -> bool:
        return self.process.poll() is None

    def end(self) -> None:
        """SIGTERM, then SIGKILL."""
        if self.is_running():
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def script(name: str) -> str:
    """A program of this environment."""
    return str(Path(sys.executable).with_name(name))


class Stage:
    """A broker with at most one worker, which is started and ended as the tests like."""

    def __init__(self, folder: Path, place: "Place") -> None:
        self.folder = folder
        self.url, self.api_url = place
        url = self.url
        self.results = f"sqlite:///{folder}/results.db" if url.startswith("amqp") else url
        self.client = Celery("stage", broker=url if url.startswith(("redis:", "amqp:")) else None)
        self.bus = TaskBus("work", broker=url, results=self.results)
        for task in work_app.app.tasks.values():
            self.bus._adopt(task)
        self.workers: list[Program] = []

    @property
    def worker(self) -> Program:
        """The worker that was started last."""
        return self.workers[-1]

    def start_worker(self, *options: str, name: str = NODE, ping: Callable[[], Any] | None = None) -> Program:
        """A worker of two runners, up and heard of: by Celery's client, or by ``ping``."""
        worker = Program(
            self.folder, sys.executable, "-m", "taskbus", "worker", "-A", "tests.interop.work_app:app", "--processes",
            "2", "--name", name, *options,
            TASKBUS_BROKER=self.url, TASKBUS_RESULTS=self.results,
        )  # fmt: skip
        self.workers.append(worker)
        wait_until(ping or (lambda: self.ask("ping", timeout=0.5, node=name)), "the worker answers a ping")
        return worker

    def ask(self, method: str, timeout: float = 5.0, node: str = NODE, **arguments: Any) -> Any:
        """What the node answers, by Celery's own client; None if it does not."""
        replies = self.client.control.broadcast(
            method, arguments=arguments, destination=[node], reply=True, timeout=timeout
        )
        return replies[0][node] if replies else None

    def close(self) -> None:
        for worker in self.workers:
            worker.end()
        self.bus.close()
        self.client.close()


class Place(NamedTuple):
    """A broker; ``api_url`` is RabbitMQ's management, or ""."""

    url: str
    api_url: str = ""


@contextmanager
def open_place(broker: str) -> Iterator[Place]:
    """A server of the tests' own."""
    if broker == "redis":
        redis = RedisServer(own_folder("redis", None))
        redis.start()
        try:
            yield Place(redis.url)
        finally:
            redis.kill()
        return
    port = quiet_port()
    rabbit = RabbitServer(
        own_folder("rabbitmq", None), config=f"management.tcp.port = {port}\nmanagement.tcp.ip = 127.0.0.1\n"
    )
    (rabbit.folder / "plugins").write_text("[rabbitmq_management].\n")
    rabbit.start()
    try:
        yield Place(rabbit.url, f"http://guest:guest@127.0.0.1:{port}/api/")
    finally:
        rabbit.kill()
