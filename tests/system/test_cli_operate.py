"""The commands that run and examine things: worker, doctor, demo, bench."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cli_runs import Run, taskbus
from worker_process import Worker, is_alive, wait_until

from taskbus import TaskBus

APP = ("-A", "sample:app")


def levels(run: Run) -> dict[str, list[str]]:
    """Doctor's findings, by level."""
    found: dict[str, list[str]] = {"ok": [], "warning": [], "error": []}
    for item in run.json["items"]:
        found[item["level"]].append(f"{item['subject']}: {item['text']}")
    return found


# --- worker ----------------------------------------------------------------------------------------------------------


def test_a_worker_says_what_runs_when_it_is_ready(tmp_path: Path) -> None:
    options = ("--processes", "1", "-Q", "default,images", "--name", "mine")
    with Worker(f"sqlite:///{tmp_path}/queue.db", tmp_path, *options) as worker:
        wait_until(lambda: "Ready in" in worker.log.read_text(), what="a banner")
        banner = worker.log.read_text()
        for text in (
            "worker mine",
            f"pid {worker.pid}",
            "app       sample",
            f"sqlite:///{tmp_path}/queue.db",
            "default, images",
        ):
            assert text in banner
        assert "\x1b" not in banner
        assert worker.stop() == 0


def test_a_worker_warns_of_what_will_surprise(tmp_path: Path) -> None:
    options = ("--processes", "1", "-Q", "images", "--results", f"sqlite:///{tmp_path}/results.db")
    with Worker(f"sqlite:///{tmp_path}/queue.db", tmp_path, *options) as worker:
        wait_until(lambda: "Ready in" in worker.log.read_text(), what="a banner")
        banner = worker.log.read_text()
        assert "! results are in another database than the broker" in banner
        assert "does not consume: default" in banner
        assert "at_most_once: a crash loses a running sample.once" in banner


def test_a_worker_with_json_logs_announces_itself_as_one_line(tmp_path: Path) -> None:
    options = ("--processes", "1", "--log-format", "json", "--set", "lease=7.5", "--set", "queues=a,b")
    with Worker(f"sqlite:///{tmp_path}/queue.db", tmp_path, *options) as worker:
        wait_until(lambda: '"ready"' in worker.log.read_text(), what="a banner")
        worker.stop()
        lines = [json.loads(line) for line in worker.log.read_text().splitlines()]
        assert (lines[0]["event"], lines[0]["pid"], lines[0]["processes"]) == ("ready", worker.pid, 1)
        assert (lines[0]["lease"], lines[0]["queues"]) == (7.5, ["a", "b"])
        assert "stopping" in lines[1]["message"]


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        ((), 2, "give -A module:app, or set TASKBUS_APP"),
        (("-A", "nowhere:app"), 2, "there is no module 'nowhere'"),
        ((*APP, "--max-memory-per-runner", "lots"), 2, "write it like 500000, 300M or 2G"),
        ((*APP, "-c", "0"), 2, "0 is not in the range x>=1"),
        ((*APP, "--lease", "0.01"), 2, "lease=0.01 is too small"),
        ((*APP, "--processes", "-1"), 2, "processes=-1 is too small"),
        ((*APP, "--set", "swep=1"), 2, "unknown setting 'swep' (--set); did you mean 'sweep'?"),
        ((*APP, "--set", "sweep=often"), 2, "setting sweep (--set) cannot be 'often'; it must be a number"),
        ((*APP, "--set", "sweep"), 2, "write it as NAME=VALUE"),
        ((*APP, "-b", "memory://a"), 2, "memory://a lives inside one process"),
        ((*APP, "-b", "sqlite:///:memory:"), 2, "memory://name for tests"),
        ((*APP, "-b", "SQLITE:///x.db"), 2, "did you mean sqlite://?"),
        (("-A", "./scr:app"), 2, "did you mean -A scr:app?"),
        (("-A", "shop/tasks.py"), 2, "did you mean -A shop.tasks?"),
        ((*APP, "-b", "sqlite:////nowhere/x.db"), 1, "/nowhere"),
    ],
)
def test_a_worker_that_cannot_start_says_why(arguments: tuple[str, ...], status: int, says: str) -> None:
    done = taskbus("worker", *arguments)
    assert done.status == status
    assert says in done.err


def test_a_reloading_worker_runs_the_new_code_and_stops_when_told(tmp_path: Path) -> None:
    pytest.importorskip("watchfiles")
    module = tmp_path / "shop.py"
    module.write_text(SHOP.format(answer=1))
    with reloading(tmp_path) as log:
        assert taskbus("call", "shop.answer", "-A", "shop:app", "--wait", "20", "-o", "json").json["value"] == 1
        module.write_text(SHOP.format(answer=2) + "# changed\n")
        wait_until(lambda: log.read_text().count("Ready in") == 2, what="a second start")
        assert "1 file changed (shop.py): starting again" in log.read_text()
        assert taskbus("call", "shop.answer", "-A", "shop:app", "--wait", "20", "-o", "json").json["value"] == 2
        module.write_text("this is no Python\n")
        wait_until(lambda: "SyntaxError" in log.read_text(), what="an error")
        module.write_text(SHOP.format(answer=3))
        wait_until(lambda: log.read_text().count("Ready in") == 3, what="a third start")


def test_reloading_without_its_extra_names_what_to_install() -> None:
    program = (
        "import sys; sys.modules['watchfiles'] = None\n"
        "from taskbus.cli.main import main; main(['worker', '-A', 'sample:app', '--reload'])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert 'pip install "taskbus[reload]"' in done.stderr


SHOP = """
from taskbus import TaskBus
app = TaskBus("shop")
@app.task
def answer() -> int:
    return {answer}
"""


@contextmanager
def reloading(folder: Path) -> Iterator[Path]:
    """``taskbus worker --reload`` on ``shop:app``; checks that it stops in good order, its worker with it."""
    log = folder / "reload.log"
    command = [sys.executable, "-m", "taskbus", "worker", "-A", "shop:app", "--processes", "1", "--reload"]
    variables = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=folder, stdout=file, stderr=file, env=variables)
    try:
        wait_until(lambda: "Ready in" in log.read_text() and "Watching" in log.read_text(), what="a first start")
        yield log
        workers = [entry["pid"] for entry in taskbus("status", "-o", "json").json["workers"]]
        assert len(workers) == 1
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert not is_alive(workers[0])
    finally:
        process.kill()
        process.wait()


# --- doctor ----------------------------------------------------------------------------------------------------------


def test_a_doctor_in_an_empty_folder_finds_nothing_wrong_and_creates_nothing(tmp_path: Path) -> None:
    done = taskbus("doctor", "-o", "json")
    assert done.status == 0, done.out
    assert f"broker: {tmp_path}/taskbus.db is not there yet" in levels(done)["ok"][2]
    assert list(tmp_path.iterdir()) == []


def test_a_doctor_is_content_with_a_working_worker(tmp_path: Path) -> None:
    with Worker(f"sqlite:///{tmp_path}/taskbus.db", tmp_path, "--processes", "1"):
        assert taskbus("call", "sample.add", "1", "1", *APP, "--wait", "20").status == 0
        done = taskbus("doctor", *APP, "-o", "json")
        found = levels(done)
        assert done.status == 0, found
        text = "\n".join(found["ok"])
        for part in ("journal_mode=WAL, synchronous=NORMAL", "one transaction", "1 worker alive", "sample:app has"):
            assert part in text


def test_a_doctor_tells_which_durability_was_asked_for(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/full.db?synchronous=FULL"
    with TaskBus("tests", broker=url) as app:
        app.send("any.task")
    text = "\n".join(levels(taskbus("doctor", "-b", url, "-o", "json"))["ok"])
    assert "synchronous=FULL: an accepted task survives a crash and a power failure" in text


def test_a_doctor_finds_what_nobody_consumes_and_who_died(tmp_path: Path) -> None:
    taskbus("call", "any.task", "-Q", "forgotten")
    with Worker(
        f"sqlite:///{tmp_path}/taskbus.db", tmp_path, "--processes", "1", "-Q", "other", "--lease", "0.5"
    ) as worker:
        wait_until(lambda: "Ready in" in worker.log.read_text(), what="a banner")
        found = levels(taskbus("doctor", *APP, "-o", "json"))
        assert any(
            "1 message in queue 'forgotten', which no living worker consumes" in text for text in found["warning"]
        )
        assert any("goes to queue 'default', which no living worker consumes" in text for text in found["warning"])
        worker.process.kill()
        worker.process.wait()
    wait_until(lambda: "died" in "".join(levels(taskbus("doctor", "-o", "json"))["warning"]), what="a dead worker")
    done = taskbus("doctor")
    assert done.status == 75
    assert "! " in done.out and "→ taskbus worker -A module:app" in done.out


def test_a_doctor_says_when_results_are_not_with_the_broker() -> None:
    found = levels(taskbus("doctor", "--results", "sqlite:///results.db", "-o", "json"))
    assert any("not in the broker's database" in text for text in found["warning"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("-b", "sqlite:////nowhere/at/all.db"), "folder /nowhere/at does not exist"),
        (("-b", "nonsense://x"), "nonsense://x"),
        (("-A", "nowhere:app"), "there is no module 'nowhere'"),
        (("-A", "broken:app"), "importing it raised ZeroDivisionError"),
        (("--config", "bad.toml"), "unknown setting 'grce'"),
        (("-b", "sqlite:///text.db"), "text.db"),
    ],
)
def test_a_doctor_reports_what_does_not_work(arguments: tuple[str, ...], says: str, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("1 / 0\n")
    (tmp_path / "bad.toml").write_text("grce = 1\n")
    (tmp_path / "text.db").write_text("no database " * 1000)
    done = taskbus("doctor", *arguments, "-o", "json")
    assert done.status == 1
    assert any(says in text for text in levels(done)["error"]), levels(done)


# --- demo and bench --------------------------------------------------------------------------------------------------


def test_the_demo_measures_files_and_leaves_a_database_to_look_at(tmp_path: Path) -> None:
    done = taskbus("demo", "--files", "50", "--folder", "shown")
    assert done.status == 0, done.err
    assert "50 of Python's standard library" in done.out
    url = f"sqlite:///{tmp_path}/shown/taskbus.db"
    assert (
        sum(item["ready"] + item["running"] for item in taskbus("queues", "-b", url, "-o", "json").json["items"]) == 0
    )
    with sqlite3.connect(tmp_path / "shown" / "taskbus.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_the_bench_measures_every_figure_on_the_given_broker(tmp_path: Path) -> None:
    done = taskbus("bench", "--tasks", "200", "--processes", "1", "-b", "sqlite:///bench.db", "-o", "json")
    assert done.status == 0, done.err
    assert done.json["processes"] == 1
    assert (done.json["version"], done.json["broker"]) == (1, f"sqlite:///{tmp_path}/bench.db")
    assert {"cpu", "cores", "kernel", "python", "sqlite", "taskbus"} <= set(done.json["machine"])
    measures = {(measure["name"], measure["results"]): measure for measure in done.json["measures"]}
    for results in (False, True):
        for name in (
            "publish one by one",
            "publish in batches",
            "drain a filled queue",
            "end to end, sent in batches",
            "end to end, sent one by one",
        ):
            assert measures[name, results]["tasks_per_second"] > 0
            assert 0 < measures[name, results]["tasks"] <= 200
    latency = measures["latency, delay to get", True]
    assert 0 < latency["p50"] <= latency["p95"] <= latency["p99"]
    queues = taskbus("queues", "-b", "sqlite:///bench.db", "-o", "json").json["items"]
    assert sum(item["ready"] + item["delayed"] + item["running"] for item in queues) == 0


def test_the_bench_measures_workflows_and_what_they_write(tmp_path: Path) -> None:
    words = ("--mode", "workflow", "--members", "40", "--chains", "5", "--processes", "1")
    done = taskbus("bench", *words, "-b", "sqlite:///bench.db", "-o", "json")
    assert done.status == 0, done.err
    found = [(each["name"], each["results"], each["tasks"]) for each in done.json["measures"]]
    sizes = [("chord of 40", 41), ("5 chains of 5", 25)]
    assert found == [(name, results, tasks) for results in (False, True) for name, tasks in sizes]
    assert all(each["tasks_per_second"] > 0 for each in done.json["measures"])
    assert sum(each["bytes_per_task"] for each in done.json["measures"]) > 0
    assert done.json["bytes"] == ["bytes by which the SQLite file grows"]
    queues = taskbus("queues", "-b", "sqlite:///bench.db", "-o", "json").json["items"]
    assert not any(queue["name"].startswith("bench-") for queue in queues)


def test_the_bench_says_when_a_broker_cannot_be_shared() -> None:
    done = taskbus("bench", "--tasks", "100", "-b", "memory://bench")
    assert done.status == 2
    assert "one process alone" in done.err
