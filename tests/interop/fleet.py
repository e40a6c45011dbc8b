"""A broker and who works on it: workers of both kinds, and a producer of Celery's, each a process of its own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from taskbus import TaskBus
from taskbus.broker.broker import Broker
from tests.interop import ledger
from tests.servers.server import until

ROOT = Path(__file__).parent.parent.parent
PATIENCE = 60.0
SHARED = ("new", "old", "both", "fragile", "handed", "ranked", "quorum")
"""The queues that both kinds may use."""


class Producer:
    """``producer.py``, running."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.interop.producer"], env=environment, cwd=ROOT, text=True, bufsize=1,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr,
            )  # fmt: skip

    def do(self, program: str) -> None:
        """Run statements there; fails with what they raised."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(program) + "\n")
        answer = self.process.stdout.readline().strip()
        assert answer == "done", f"{program}: {answer}"

    def send(self, task: str, args: str = "()", **options: Any) -> None:
        """``app.send_task``; ``args`` is an expression."""
        self.do(f"app.send_task({task!r}, {args}, **{options!r})")

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)


class Fleet:
    """One broker's. ``ledger`` tells what ran."""

    def __init__(self, url: str, results: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self.ledger = folder / "ledger.jsonl"
        self.is_redis = url.startswith("redis")
        self.environment = {
            **os.environ, "LEDGER": str(self.ledger), "CELERY_BROKER_URL": url, "TASKBUS_BROKER": url,
            "TASKBUS_RESULTS": results, "TASKBUS_CELERY_QUEUES": ",".join(SHARED), "TASKBUS_SWEEP": "0.2",
            "PYTHONPATH": str(ROOT), "COVERAGE_PROCESS_CONFIG": "",
        }  # fmt: skip
        self.app = TaskBus("tests", broker=url, results=results, celery_queues=SHARED)
        self.producer = Producer(self.environment, folder / "producer.log")
        self._closing = ExitStack()
        self._closing.callback(self.app.close)
        self._closing.callback(self.producer.close)

    def broker(self) -> Broker:
        """As a worker in this process opens it."""
        return self.app.open_broker(1 << 20)

    def taskbus_worker(self, queues: Sequence[str], *options: str) -> subprocess.Popen[bytes]:
        """Start ``taskbus worker`` on these queues."""
        command = [sys.executable, "-m", "taskbus", "worker", "-A", "tests.interop.mixed_shop:app", "--processes", "1",
                   "-Q", ",".join(queues), *options]  # fmt: skip
        return self._start(command, f"taskbus-{time.monotonic_ns()}.log")

    def celery_worker(self, queues: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start ``celery worker`` on these queues."""
        command = [
            sys.executable,
            "-m",
            "celery",
            "-A",
            "tests.interop.celery_shop",
            "worker",
            "-Q",
            ",".join(queues),
            "--pool",
            "solo",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
            "-l",
            "WARNING",
        ]
        return self._start(command, f"celery-{time.monotonic_ns()}.log")

    def _start(self, command: Sequence[str], log: str) -> subprocess.Popen[bytes]:
        with (self.folder / log).open("wb") as out:
            worker = subprocess.Popen(
                command, env=self.environment, cwd=ROOT, stdout=out, stderr=out, start_new_session=True
            )
        self._closing.callback(_end, worker)
        return worker

    def runs(self, *keys: str) -> list[dict[str, Any]]:
        """What ran with one of these keys, in order; all, if there are none."""
        return [entry for entry in ledger.read(self.ledger) if not keys or entry["key"] in keys]

    def wait(self, is_true: Callable[[], Any], what: str) -> None:
        """Return once it is so; fail with the ends of all logs."""
        try:
            until(lambda: bool(is_true()), what, PATIENCE)
        except TimeoutError as error:
            logs = "\n".join(f"--- {log.name}\n{log.read_text()[-3000:]}" for log in self.folder.glob("*.log"))
            raise AssertionError(f"{error}\n{self.ledger.name}: {self.runs()[-5:]}\n{logs}") from None

    def ran(self, key: str) -> dict[str, Any]:
        """The run with this key, once there is one."""
        self.wait(lambda: self.runs(key), f"{key} runs")
        return self.runs(key)[0]

    def result(self, task_id: str) -> Any:
        """What a task returned on TaskBus."""
        self.wait(lambda: self.app.result(task_id).is_ready, f"{task_id} has a result")
        return self.app.result(task_id).get(timeout=1)

    def close(self) -> None:
        self._closing.close()


def _end(worker: subprocess.Popen[bytes]) -> None:
    if worker.poll() is None:
        worker.kill()
    worker.wait()
