"""``--follow``: a task from its call to its end, as people and as programs see it."""

import fcntl
import itertools
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_runs import taskbus
from worker_process import Worker, wait_until

WORK = """
import time
from pathlib import Path
from taskbus import Context, RetryPolicy, TaskBus
from tenacity import stop_after_attempt, wait_fixed
app = TaskBus("work", lease=5)
def steps(ctx, folder):
    for step in (1, 2, 3):
        ctx.progress(step, 4, f"step {step}")
        while not Path(folder, f"go{step}").exists():
            time.sleep(0.01)
@app.task
def works(ctx: Context, folder: str) -> str:
    steps(ctx, folder)
    return "done"
@app.task(retry=RetryPolicy(stop=stop_after_attempt(2), wait=wait_fixed(8)))
def fails(folder: str) -> None:
    raise ValueError("no paint")
@app.task(store_results=False)
def silent() -> None:
    pass
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    made = tmp_path_factory.mktemp("work")
    (made / "work.py").write_text(WORK)
    url = f"sqlite:///{made}/taskbus.db"
    with Worker(url, made, "--processes", "1", app="work:app", PYTHONPATH=str(made)):
        yield made


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    for file in folder.glob("go*"):
        file.unlink()
    return folder


def test_programs_get_a_line_for_each_change_and_then_the_result(here: Path) -> None:
    (here / "go2").touch()
    command = [sys.executable, "-m", "taskbus", "call", "work.works", str(here), "--follow", "-o", "jsonl"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=here) as process:
        assert process.stdout is not None
        text = ""
        for line in process.stdout:
            text += line
            if '"step 1"' in line:
                (here / "go1").touch()
            if '"step 3"' in line and json.loads(line)["worker"]:
                (here / "go3").touch()
    lines = [json.loads(line) for line in text.splitlines()]
    assert process.returncode == 0
    *changes, result = lines
    assert (result["kind"], result["state"], result["value"]) == ("result", "SUCCESS", "done")
    assert {each["kind"] for each in changes} == {"change"}
    assert next(each["progress"]["note"] for each in changes if each["progress"]) == "step 1"
    assert {"done": 3.0, "total": 4.0, "note": "step 3"}.items() <= next(
        each["progress"].items() for each in changes if each["progress"] and each["progress"]["note"] == "step 3"
    )
    started = [each for each in changes if each["state"] == "STARTED"]
    assert started[-1]["attempt"] == 1 and started[-1]["worker"]
    assert changes[-1]["state"] == "SUCCESS"
    assert all(one != other for one, other in itertools.pairwise(changes))


def test_a_retry_and_a_failure_are_told_and_make_the_status(here: Path) -> None:
    sent = taskbus("call", "work.fails", here, "-o", "json").json["task_id"]
    done = taskbus("result", sent, "--follow")
    assert done.status == 1
    assert "RETRY attempt 1 (builtins.ValueError: no paint)" in done.err
    assert "FAILURE attempt 2 (builtins.ValueError: no paint)" in done.err
    assert "no paint" in done.out


def test_one_that_has_ended_is_shown_at_once_and_one_that_does_not_end_until_told(here: Path) -> None:
    (here / "go1").touch()
    (here / "go2").touch()
    (here / "go3").touch()
    sent = taskbus("call", "work.works", here, "--wait", "30", "-o", "json").json["task_id"]
    assert taskbus("result", sent, "--follow", "-o", "json").json["value"] == "done"
    unknown = taskbus("result", "nobody", "--follow", "--wait", "0.3")
    assert unknown.status == 3
    assert "PENDING" in unknown.err


def test_a_task_that_keeps_no_results_is_not_followed_for_ever(here: Path) -> None:
    done = taskbus("call", "work.silent", "-A", "work:app", "--follow", PYTHONPATH=str(here))
    assert done.status == 1
    assert "keeps no results" in done.err


def test_a_terminal_gets_a_bar(here: Path) -> None:
    control, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 120, 0, 0))
    os.set_blocking(control, False)
    command = [sys.executable, "-m", "taskbus", "call", "work.works", str(here), "--follow"]
    process = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, cwd=here)
    os.close(terminal)
    shown = bytearray()

    def has(text: bytes) -> bool:
        try:
            shown.extend(os.read(control, 65536))
        except OSError:  # nothing yet, or it has left
            pass
        return text in shown

    try:
        wait_until(lambda: has(b"step 1"), 60, "progress")
        assert b"25%" in shown
        for step in (1, 2, 3):
            (here / f"go{step}").touch()
        wait_until(lambda: has(b"'done'"), 60, "the value")
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        os.close(control)
