"""``taskbus inspect`` and ``taskbus control``: on Celery's brokers, and between TaskBus's own on a database."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from taskbus.cli.exits import FAILED, NO_REPLY, OK, USAGE
from taskbus.monitor.commands import CONTROL, INSPECT
from taskbus.worker import monitoring
from tests.interop.stage import NODE, Place, Stage, open_place

TASKS = "tests.interop.work_app"


@pytest.fixture(scope="module", params=["redis", "sqlite"])
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A worker on a broker that Celery knows, and on one that only ours do."""
    folder = tmp_path_factory.mktemp("stage")
    if request.param == "redis":
        with open_place("redis") as place:
            stage = Stage(folder, place)
            try:
                stage.start_worker()
                yield stage
            finally:
                stage.close()
        return
    stage = Stage(folder, Place(f"sqlite:///{folder}/bus.db"))
    try:
        stage.start_worker("--set", "remote_control=full", ping=lambda: run(stage, "inspect", "ping").returncode == OK)
        yield stage
    finally:
        stage.close()


def run(stage: Stage, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "taskbus", *words, "-b", stage.url],
        capture_output=True, text=True, timeout=60, cwd=stage.folder,
    )  # fmt: skip


def ask(stage: Stage, *words: str) -> Any:
    """What the node answered, as data."""
    done = run(stage, *words, "-d", NODE, "--timeout", "20", "-o", "jsonl")
    said = json.loads(done.stdout)
    assert said["node"] == NODE, done.stderr
    return said["reply"]


def test_a_worker_is_asked_and_told(stage: Stage) -> None:
    assert ask(stage, "inspect", "ping") == {"ok": "pong"}
    assert ask(stage, "inspect", "active") == []
    assert ask(stage, "control", "add_consumer", "other") == {"ok": "add consumer other"}
    assert stage.bus.tasks[f"{TASKS}.add"].options(queue="other").delay(20, 22).get(timeout=30) == 42
    assert ask(stage, "control", "rate_limit", f"{TASKS}.add", "100/s") == {"ok": "new rate limit set successfully"}
    assert ask(stage, "inspect", "stats")["total"] == {f"{TASKS}.add": 1}
    assert ask(stage, "control", "revoke", "one", "two")["ok"].endswith("flagged as revoked")
    assert sorted(ask(stage, "inspect", "revoked")) == ["one", "two"]


def test_answers_are_shown_to_people_too(stage: Stage) -> None:
    done = run(stage, "inspect", "stats", "-d", NODE, "--timeout", "20")
    assert done.returncode == OK and NODE in done.stdout and "max-concurrency: 2" in done.stdout


def test_exit_codes_tell_who_answered_and_how(stage: Stage) -> None:
    refused = run(stage, "control", "rate_limit", "nobody", "1/s", "-d", NODE, "--timeout", "20")
    assert refused.returncode == FAILED and "unknown task" in refused.stdout
    silent = run(stage, "inspect", "ping", "-d", "nobody@nowhere", "--timeout", "0.2")
    assert silent.returncode == NO_REPLY and "no worker answered" in silent.stderr
    assert run(stage, "inspect", "nonsense").returncode == USAGE


def test_shutdown_stops_the_worker(stage: Stage) -> None:
    assert run(stage, "control", "shutdown").returncode == OK
    assert stage.worker.process.wait(30) == 0


def test_every_command_of_the_command_line_is_one_of_a_workers() -> None:
    answered = monitoring.AT_ONCE | monitoring.ASKING | monitoring.TELLING | monitoring.CHANGING
    for command in (*INSPECT, *CONTROL):
        assert command.name in answered or command.name in ("clock", "heartbeat"), command.name
        assert command.changes == (command.name in monitoring.CHANGING), command.name
