"""``taskbus web`` as a process: what it counts of a real worker's work, how it restarts and stops, what it refuses."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from taskbus import TaskBus

HERE = Path(__file__).parent
SAMPLE = HERE.parent / "system"


def variables(**environment: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(SAMPLE), str(HERE.parents[1])]), **environment}


class Process:
    """A command of TaskBus's, with its log kept."""

    def __init__(self, folder: Path, *arguments: str, **environment: str) -> None:
        self.log = folder / f"{arguments[0]}-{time.monotonic_ns()}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "taskbus", *arguments],
                env=variables(**environment), cwd=folder, stdout=log, stderr=log,
            )  # fmt: skip

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def get(port: int, path: str) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/{path}", timeout=30) as answer:
        return json.load(answer)


def wait_for(condition: Any, what: str, seconds: float = 60.0) -> Any:
    """What ``condition`` returns once that is true."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if found := condition():
                return found
        except (urllib.error.URLError, ConnectionError):
            pass
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Any]:
    """Starts commands, which are killed at the end, whatever happens."""
    running: list[Process] = []

    def start(*arguments: str, **environment: str) -> Process:
        running.append(Process(tmp_path, *arguments, **environment))
        return running[-1]

    yield start
    for each in running:
        if each.process.poll() is None:
            each.kill()


def test_the_work_of_a_worker_is_counted_exactly_also_over_a_restart_of_the_page(started: Any, tmp_path: Path) -> None:
    broker = f"sqlite:///{tmp_path}/app.db"
    port = free_port()
    web = started("web", "-b", broker, "--port", str(port))
    worker = started("worker", "-A", "sample:app", "-b", broker)
    with TaskBus("producer", broker=broker) as app:
        for n in range(40):
            app.send("sample.add", [n, 1])
        counts = wait_for(lambda: done(port, 40), "40 tasks are counted")
        assert counts["failed"] == 0 and counts["received"] == 40
        overview = get(port, "overview")
        assert overview["nodes"]["workers"] == 1
        assert {node["kind"] for node in get(port, "nodes")["items"]} == {"worker", "web"}
        web.kill()
        for n in range(20):
            app.send("sample.add", [n, 1])
        again = started("web", "-b", broker, "--port", str(port))
        wait_for(lambda: done(port, 60), "the 20 that were done meanwhile are counted too, and none twice")
        assert get(port, "overview")["counts"]["succeeded"] == 60
        assert get(port, "scaling")["workers"] == 1
    assert worker.stop() == 0
    assert again.stop() == 0, again.log.read_text()
    assert "Traceback" not in again.log.read_text()


def done(port: int, number: int) -> Any:
    counts = get(port, "overview")["counts"]
    assert counts["succeeded"] <= number
    return counts if counts["succeeded"] == number else None


def test_without_a_worker_the_page_says_what_is_wrong(started: Any, tmp_path: Path) -> None:
    broker, port = f"sqlite:///{tmp_path}/app.db", free_port()
    started("web", "-b", broker, "--port", str(port))
    with TaskBus("producer", broker=broker) as app:
        app.send("sample.add", [1, 1])
        found = wait_for(
            lambda: [
                p for p in get(port, "overview")["problems"] if p["kind"] == "no_workers" and "1 message" in p["text"]
            ],
            "a problem is told",
        )
    assert found[0]["severity"] == "error" and "taskbus worker" in found[0]["advice"]
    scaling = get(port, "scaling?queues=default&slots=4")
    assert (scaling["queued"], scaling["desired"], scaling["workers"]) == (1, 1, 0)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", ""])
def test_beyond_this_machine_it_does_not_start_without_auth(tmp_path: Path, host: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "taskbus", "web", "-b", f"sqlite:///{tmp_path}/app.db", "--host", host, "--port", "0"],
        env=variables(), cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert "--auth token" in done.stderr and "Traceback" not in done.stderr


def test_a_token_that_the_command_made_lets_in(started: Any, tmp_path: Path) -> None:
    made = subprocess.run(
        [sys.executable, "-m", "taskbus", "web", "token", "bot", "--role", "operator", "-o", "json"],
        env=variables(), capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    told = json.loads(made.stdout)
    assert told["token"] not in told["entry"]
    port = free_port()
    process = started(
        "web",
        "-b",
        f"sqlite:///{tmp_path}/a.db",
        "--port",
        str(port),
        "--auth",
        "token",
        TASKBUS_WEB_TOKENS=told["entry"],
    )
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/v1/me", headers={"Authorization": f"Bearer {told['token']}"}
    )
    found = wait_for(lambda: json.load(urllib.request.urlopen(request, timeout=30)), "the token lets in")
    assert (found["user"], found["role"]) == ("bot", "operator")
    with pytest.raises(urllib.error.HTTPError, match="401"):
        get(port, "me")
    assert told["token"] not in process.log.read_text()


def test_without_the_extra_it_names_the_line_for_pip(tmp_path: Path) -> None:
    hide = "import sys; sys.modules['starlette'] = None; from taskbus.cli.main import main; main(['web'])"
    done = subprocess.run(
        [sys.executable, "-c", hide], env=variables(), cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "pip install 'taskbus[web]'" in done.stderr
