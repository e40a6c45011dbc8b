"""``taskbus dev`` as it is used: in a folder with an application, with its processes watched from outside."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cli_runs import taskbus
from worker_process import is_alive, wait_until

pytest.importorskip("watchfiles")
pytest.importorskip("starlette")
pytestmark = pytest.mark.timeout(300)

SHOP = """
from taskbus import TaskBus, every
app = TaskBus("shop")
@app.task(schedule=every(1))
def answer() -> int:
    print("the answer is {answer}", flush=True)
    return {answer}
"""
LONG = 90.0
"""Seconds to wait for what needs several processes to start, on a machine that has other things to do."""


class Dev:
    """One ``taskbus dev``, what it says, and its processes."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.log = folder / "dev.log"
        command = [sys.executable, "-m", "taskbus", "dev", "-A", "shop:app", "-c", "1", *options]
        variables = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=variables)

    @property
    def said(self) -> str:
        return self.log.read_text()

    def wait_for(self, text: str, times: int = 1) -> None:
        wait_until(lambda: self.said.count(text) >= times or self.process.poll() is not None, LONG, f"{text!r}")
        assert self.said.count(text) >= times, self.said

    def wait_until_ready(self) -> str:
        """The page's URL, "" without one."""
        self.wait_for("Stop: Ctrl-C")
        found = re.search(r"^page +(\S+)", self.said, re.MULTILINE)
        return found[1] if found else ""

    def family(self) -> list[int]:
        """Every process below it."""
        return descendants(self.process.pid)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(LONG)


def descendants(pid: int) -> list[int]:
    """Every process below one, nearest first."""
    found, left = [], [pid]
    while left:
        for task in Path(f"/proc/{left.pop(0)}/task").glob("*/children"):
            children = [int(child) for child in task.read_text().split()]
            found += children
            left += children
    return found


@contextmanager
def developing(folder: Path, *options: str, answer: object = 1) -> Iterator[Dev]:
    (folder / "shop.py").write_text(SHOP.format(answer=answer))
    dev = Dev(folder, *options)
    try:
        yield dev
    finally:
        family = dev.family()
        dev.process.kill()
        dev.process.wait()
        wait_until(lambda: not any(map(is_alive, family)), what="the end of all it started")
        print(dev.said)


def ask(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)


def call() -> object:
    return taskbus("call", "shop.answer", "-A", "shop:app", "--wait", "60", "-o", "json").json["value"]


def test_worker_beat_and_page_run_the_new_code_and_stop_when_told(tmp_path: Path) -> None:
    with developing(tmp_path) as dev:
        url = dev.wait_until_ready()
        assert url.startswith("http://127.0.0.1:")
        assert call() == 1
        dev.wait_for("worker | the answer is 1", times=2)  # the call, and what the beat sent
        wait_until(lambda: any(each["kind"] == "worker" for each in ask(f"{url}api/v1/nodes")["items"]), LONG)

        (tmp_path / "shop.py").write_text("def broken(:\n")
        dev.wait_for("SyntaxError")
        dev.wait_for("the worker could not start; it will when a .py file changes")
        assert "web    |" not in dev.said, "the page of before stays, rather than failing too"
        assert ask(f"{url}api/v1/me")["app"]

        (tmp_path / "shop.py").write_text(SHOP.format(answer=22))
        dev.wait_for("the worker is ready, tasks 1: shop.answer")
        assert call() == 22

        family = dev.family()
        assert len(family) >= 4  # worker, runners' server, a runner, the page
        assert dev.stop() == 0
        assert not any(map(is_alive, family))
        assert "Traceback" not in dev.said.split("could not start")[1]


def test_killed_it_leaves_no_process_behind(tmp_path: Path) -> None:
    with developing(tmp_path) as dev:
        dev.wait_until_ready()
        family = dev.family()
        assert len(family) >= 4
        dev.process.kill()
        dev.process.wait()
        wait_until(lambda: not any(map(is_alive, family)), what="the end of all it started")


def test_a_reloading_worker_that_is_killed_leaves_no_process_behind(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHOP.format(answer=1))
    log = tmp_path / "reload.log"
    with log.open("wb") as file:
        command = [sys.executable, "-m", "taskbus", "worker", "-A", "shop:app", "--processes", "1", "--reload"]
        process = subprocess.Popen(command, stdout=file, stderr=file)
    try:
        wait_until(lambda: "Ready in" in log.read_text(), LONG, "a worker")
        family = descendants(process.pid)
        assert len(family) >= 3
    finally:
        process.kill()
        process.wait()
    wait_until(lambda: not any(map(is_alive, family)), what="the end of all it started")


def test_a_child_that_dies_is_started_again_and_said(tmp_path: Path) -> None:
    with developing(tmp_path, "--no-web", "--no-reload", "--no-beat") as dev:
        assert dev.wait_until_ready() == ""
        worker = dev.family()[0]
        os.kill(worker, signal.SIGKILL)
        dev.wait_for("the worker was killed by signal 9: starting it again in 1 s")
        dev.wait_for("the worker is ready")
        assert call() == 1
        assert dev.stop() == 0


def test_a_second_ctrl_c_stops_at_once_what_runs(tmp_path: Path) -> None:
    with developing(tmp_path, "--no-web", "--no-reload", "--no-beat", answer="__import__('time').sleep(600)") as dev:
        dev.wait_until_ready()
        assert taskbus("call", "shop.answer", "-A", "shop:app").status == 0
        dev.wait_for("worker | the answer is")
        family = dev.family()
        dev.process.send_signal(signal.SIGINT)
        dev.wait_for("running tasks have 5 s (Ctrl-C again: at once)")
        assert dev.stop() == 0
        assert not any(map(is_alive, family))


def test_a_port_that_is_taken_is_passed_over_and_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with developing(tmp_path, "--port", str(port), "--no-reload", "--no-beat") as dev:
            url = dev.wait_until_ready()
            dev.wait_for(f"Port {port} is taken, so the page is on port ")
            assert f":{port}/" not in url
            assert ask(f"{url}api/v1/me")["auth"] == "none"
            assert dev.stop() == 0


@pytest.mark.parametrize(
    ("options", "missing", "says"),
    [
        ((), "watchfiles", 'taskbus dev needs watchfiles: pip install "taskbus[reload]" (or go without: --no-reload)'),
        ((), "uvicorn", 'taskbus dev needs uvicorn: pip install "taskbus[web]" (or go without: --no-web)'),
    ],
)
def test_without_its_extras_it_names_what_to_install(options: tuple[str, ...], missing: str, says: str) -> None:
    program = (
        "import importlib.util as u, sys; find = u.find_spec\n"
        f"u.find_spec = lambda name, *rest: None if name == {missing!r} else find(name, *rest)\n"
        f"from taskbus.cli.main import main; main(['dev', '-A', 'shop:app', *{options!r}])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert says in " ".join(done.stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "give -A module:app, or set TASKBUS_APP"),
        (("-A", "nowhere:app"), "there is no module 'nowhere'"),
        (("-A", "shop:app", "-b", "memory://a"), "memory://a lives inside one process"),
        (("-A", "shop:app", "--host", "0.0.0.0"), "would let everybody in: no way to sign in is set; set one"),
    ],
)
def test_what_cannot_be_ends_it_with_the_reason(arguments: tuple[str, ...], says: str, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHOP.format(answer=1))
    done = taskbus("dev", *arguments)
    assert done.status == 2, done.err
    assert says in done.err
