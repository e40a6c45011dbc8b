"""Two fleets that share a broker and Celery's results: a worker of each kind, and both ways to send and to read."""

import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from celery import Celery

from taskbus import TaskBus
from tests.interop import results_celery, results_taskbus
from tests.servers.server import until

ROOT = Path(__file__).parent.parent.parent
PATIENCE = 60.0
OURS, THEIRS, BOTH = "results-ours", "results-theirs", "results-both"
"""The queues: of the TaskBus worker, of the Celery worker, of both."""
SHARED = (OURS, THEIRS, BOTH)


class Fleet:
    """``results``: in Celery's words. Its workers run until ``close``."""

    def __init__(self, broker: str, own_results: str, results: str, folder: Path) -> None:
        self.folder = folder
        self.ledger = folder / "ledger.jsonl"
        self.environment = {
            **os.environ, "LEDGER": str(self.ledger), "PYTHONPATH": str(ROOT), "COVERAGE_PROCESS_CONFIG": "",
            "FLEET_BROKER": broker, "FLEET_RESULTS": results.replace("+postgresql:", "+postgresql+psycopg:"),
            "TASKBUS_BROKER": broker, "TASKBUS_RESULTS": own_results, "TASKBUS_CELERY_QUEUES": ",".join(SHARED),
            "TASKBUS_CELERY_RESULTS": f"{results}?extended=true", "TASKBUS_SWEEP": "0.2",
        }  # fmt: skip
        self.celery: Celery = results_celery.made(broker, self.environment["FLEET_RESULTS"])
        self.taskbus = TaskBus(
            "sender", broker=broker, results=own_results, celery_queues=SHARED,
            celery_results=f"{results}?extended=true",
        )  # fmt: skip
        for task in results_taskbus.app.tasks.values():
            self.taskbus._adopt(task)
        self.tasks = {name.removeprefix("shop."): task for name, task in self.taskbus.tasks.items()}
        self._closing = ExitStack()
        self._closing.callback(self.taskbus.close)
        self._closing.callback(results_celery.close, self.celery)

    def sig(self, task: str, *args: Any, queue: str = OURS, immutable: bool = False, **kwargs: Any) -> Any:
        """A signature of Celery's for a task on a queue."""
        return self.celery.signature(f"shop.{task}", args, kwargs, immutable=immutable).set(queue=queue)

    def lines(self, key: str) -> list[dict[str, Any]]:
        """What was noted under a key, once there is something."""
        self.wait(lambda: self._noted(key), f"{key} is noted")
        return self._noted(key)

    def _noted(self, key: str) -> list[dict[str, Any]]:
        found = self.ledger.read_text().splitlines() if self.ledger.exists() else []
        return [entry for entry in map(json.loads, found) if entry["key"] == key]

    def wait(self, is_true: Any, what: str) -> None:
        """Return once it is so; fail with the ends of all logs."""
        try:
            until(is_true, what, PATIENCE)
        except TimeoutError as error:
            raise AssertionError(f"{error}\n{self.logs()}") from None

    def logs(self) -> str:
        return "\n".join(f"--- {log.name}\n{log.read_text()[-3000:]}" for log in self.folder.glob("*.log"))

    def taskbus_worker(self, **environment: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "taskbus", "worker", "-A", "tests.interop.results_taskbus:app",
                   "--processes", "1", "-Q", f"{OURS},{BOTH},ours-alone"]  # fmt: skip
        return self._start(command, f"taskbus-{time.monotonic_ns()}.log", environment)

    def celery_worker(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "celery", "-A", "tests.interop.results_celery", "worker", "-Q",
                   f"{THEIRS},{BOTH}", "--pool", "solo", "--without-gossip", "--without-mingle",
                   "--without-heartbeat", "-l", "WARNING"]  # fmt: skip
        return self._start(command, "celery.log", {})

    def start(self) -> "Fleet":
        """Start a worker of each kind."""
        self.taskbus_worker()
        self.celery_worker()
        return self

    def _start(self, command: list[str], log: str, more: dict[str, str]) -> subprocess.Popen[bytes]:
        with (self.folder / log).open("wb") as out:
            worker = subprocess.Popen(
                command, env={**self.environment, **more}, cwd=ROOT, stdout=out, stderr=out, start_new_session=True
            )
        self._closing.callback(_end, worker)
        return worker

    def close(self) -> None:
        self._closing.close()


def _end(worker: subprocess.Popen[bytes]) -> None:
    if worker.poll() is None:
        worker.kill()
    worker.wait()


def unique(name: str) -> str:
    """A key of the ledger that no other test uses."""
    return f"{name}-{time.monotonic_ns()}"
