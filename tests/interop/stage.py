"""One broker, one worker that tells of its tasks, and Celery's client: what the tests of one module share."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

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
    """``url`` for TaskBus, ``celery_url`` for Celery: the same broker. ``api_url`` is RabbitMQ's management, or ""."""

    def __init__(self, folder: Path, url: str, *, api_url: str = "") -> None:
        self.folder = folder
        self.url = url
        self.api_url = api_url
        self.results = f"sqlite:///{folder}/results.db" if url.startswith("amqp") else url
        self.client = Celery("stage", broker=url)
        self.bus = TaskBus("work", broker=url, results=self.results)
        for task in work_app.app.tasks.values():
            self.bus._adopt(task)
        self.worker: Program | None = None

    def start_worker(self, *options: str, name: str = NODE) -> Program:
        """A worker of two runners, up and heard of."""
        self.worker = Program(
            self.folder, sys.executable, "-m", "taskbus", "worker", "-A", "tests.interop.work_app:app", "--processes",
            "2", "--name", name, *options,
            TASKBUS_BROKER=self.url, TASKBUS_RESULTS=self.results,
        )  # fmt: skip
        wait_until(lambda: self.ask("ping", timeout=0.5), "the worker answers a ping")
        return self.worker

    def ask(self, method: str, timeout: float = 5.0, node: str = NODE, **arguments: Any) -> Any:
        """What the node answers, by Celery's own client; None if it does not."""
        replies = self.client.control.broadcast(
            method, arguments=arguments, destination=[node], reply=True, timeout=timeout
        )
        return replies[0][node] if replies else None

    def close(self) -> None:
        if self.worker is not None:
            self.worker.end()
        self.bus.close()
        self.client.close()


@contextmanager
def open_stage(broker: str, folder: Path) -> Iterator[Stage]:
    """A stage on a server of its own, without a worker yet."""
    with ExitStack() as closing:
        if broker == "redis":
            redis = RedisServer(folder / "redis")
            closing.callback(redis.kill)
            redis.start()
            stage = Stage(folder, redis.url)
        else:
            api_port = quiet_port()
            rabbit = RabbitServer(
                own_folder("rabbitmq", None),
                config=f"management.tcp.port = {api_port}\nmanagement.tcp.ip = 127.0.0.1\n",
            )
            (rabbit.folder / "plugins").write_text("[rabbitmq_management].\n")
            closing.callback(rabbit.kill)
            rabbit.start()
            stage = Stage(folder, rabbit.url, api_url=f"http://guest:guest@127.0.0.1:{api_port}/api/")
        closing.callback(stage.close)
        yield stage
