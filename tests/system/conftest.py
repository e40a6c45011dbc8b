"""A real worker on a SQLite file, shared by the tests of one module where they cannot disturb each other."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import sample
from worker_process import StartWorker, Worker

from taskbus import TaskBus


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[TaskBus]:
    """The sample application, sending to a database of this test's own."""
    with TaskBus("sample", broker=f"sqlite:///{tmp_path}/bus.db", unknown_task_grace=0, sweep=0.5) as made:
        for task in sample.app.tasks.values():
            made._adopt(task)
        yield made


@pytest.fixture
def start_worker(bus: TaskBus, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[StartWorker]:
    """Start workers on that database; whatever is left of them is killed, and their logs shown if the test fails."""
    with ExitStack() as stack:
        started: list[Worker] = []

        def start(*options: str, **environment: str) -> Worker:
            worker = stack.enter_context(Worker(bus.broker_url, tmp_path, *options, **environment))
            started.append(worker)
            return worker

        yield start
        for worker in started:
            print(f"--- {worker.log}:\n{worker.log.read_text()}")
