"""The commands that send and look: call, result, queues, status, config. Each on a SQLite file in an empty folder."""

import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_runs import taskbus
from worker_process import Worker, wait_until

from taskbus import TaskBus

APP = ("-A", "sample:app")


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    """A worker on the default database of the working folder."""
    with Worker(f"sqlite:///{tmp_path}/taskbus.db", tmp_path, "--processes", "1", "-Q", "default") as process:
        yield process


def test_a_call_puts_a_task_on_the_queue_and_prints_its_id() -> None:
    done = taskbus("call", "sample.add", "1", "b=2", *APP)
    assert done.status == 0
    peeked = taskbus("queues", "peek", "default", "-o", "json").json["items"]
    assert [(item["id"], item["task"], item["args"], item["kwargs"]) for item in peeked] == [
        (done.out.strip(), "sample.add", [1], {"b": 2})
    ]


def test_call_options_travel_with_the_message() -> None:
    given = ("--queue", "other", "--priority", "7", "--countdown", "100", "--expires", "200", "--id", "my-id")
    done = taskbus("call", "any.task", "--json", '{"a": [1]}', *given, "-o", "json")
    assert (done.json["task_id"], done.json["kind"]) == ("my-id", "call")
    (item,) = taskbus("queues", "peek", "other", "-o", "json").json["items"]
    assert (item["id"], item["priority"], item["kwargs"]) == ("my-id", 7, {"a": [1]})
    assert 90 < item["due_at"] - item["sent_at"] <= 100
    assert 190 < item["expires_at"] - item["sent_at"] <= 200


def test_an_eta_without_a_zone_is_local_time() -> None:
    taskbus("call", "any.task", "--eta", "2030-01-31T18:00")
    (item,) = taskbus("queues", "peek", "default", "-o", "json").json["items"]
    assert item["due_at"] == time.mktime((2030, 1, 31, 18, 0, 0, 0, 0, -1))


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (("sample.add", "1", *APP), 1, "sample.add(a: int, b: int): missing a required argument: 'b'"),
        (("sample.ad", *APP), 3, "did you mean 'sample.add'?"),
        (("any.task", "--eta", "tomorrow"), 2, "'tomorrow' is not an ISO 8601 time"),
        (("any.task", "--json", "{"), 2, "is not JSON"),
        (("any.task", "--priority", "10"), 2, "10 is not in the range 0<=x<=9"),
        (("any.task", "--countdown", "1", "--eta", "2030-01-01"), 2, "give countdown or eta, not both"),
        (("any.task", "-A", "nowhere:app"), 2, "there is no module 'nowhere'"),
        (("any.task", "-A", "sample:ap"), 2, "did you mean -A sample:app?"),
        (("any.task", "-b", "redish://localhost"), 2, "'redish://localhost' is no broker"),
        (("any.task", "-b", "sqlite:////nowhere/at/all.db"), 1, "/nowhere/at"),
    ],
)
def test_a_call_that_cannot_be_sent_says_why_and_sends_nothing(
    arguments: tuple[str, ...], status: int, says: str
) -> None:
    done = taskbus("call", *arguments)
    assert (done.status, done.out) == (status, "")
    assert says in done.err
    queues = taskbus("queues", "-o", "json")
    assert queues.status == 3 or queues.json["items"] == []


def test_an_app_that_cannot_be_imported_shows_its_own_traceback(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import sys\n1 / 0\n")
    done = taskbus("call", "any.task", "-A", "broken:app", "-v")
    assert done.status == 2
    assert "1 / 0" in done.err and "importing it raised ZeroDivisionError" in done.err
    assert "Please report it" not in done.err


def test_a_call_that_waits_shows_the_result(worker: Worker) -> None:
    done = taskbus("call", "sample.add", "20", "22", *APP, "--wait", "20", "-o", "json")
    assert (done.status, done.json["state"], done.json["value"]) == (0, "SUCCESS", 42)
    again = taskbus("result", done.json["task_id"])
    assert again.status == 0
    assert {line.split()[0]: line.split()[1] for line in again.out.splitlines()}["value"] == "42"


def test_the_result_of_a_failed_task_is_a_failure_with_its_traceback(worker: Worker) -> None:
    done = taskbus("call", "sample.rejects", *APP, "--wait", "20", "-o", "json")
    assert (done.status, done.json["state"]) == (1, "FAILURE")
    assert done.json["failure"]["message"] == "no good"
    shown = taskbus("result", done.json["task_id"], "--traceback")
    assert shown.status == 1
    assert 'raise Reject("no good")' in shown.out


def test_the_result_of_an_unknown_task_is_pending() -> None:
    taskbus("call", "any.task")
    done = taskbus("result", "no-such-id", "--wait", "0.01", "-o", "json")
    assert (done.status, done.json["state"]) == (3, "PENDING")
    assert "Nothing is recorded" in done.err


def test_ctrl_c_ends_a_waiting_command_without_a_traceback(tmp_path: Path) -> None:
    taskbus("call", "any.task")
    assert not (tmp_path / "taskbus.db-wal").exists()
    process = subprocess.Popen(
        [sys.executable, "-m", "taskbus", "result", "no-such-id", "--wait", "60"], stderr=subprocess.PIPE, text=True
    )
    # Not before: an interrupt that comes while Python runs a finaliser is lost, as sys.unraisablehook's docs say.
    wait_until(lambda: len(list(Path(f"/proc/{process.pid}/task").iterdir())) > 1, what="the thread that waits")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err.strip()) == (130, "Interrupted.")


def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path) -> None:
    command = f"{sys.executable} -m taskbus config show | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
    assert (done.stdout.split(), done.stderr) == (["setting", "value"], "")


def test_an_error_shows_its_traceback_only_when_asked_for() -> None:
    quiet = taskbus("call", "any.task", "-b", "sqlite:////nowhere/x.db")
    loud = taskbus("call", "any.task", "-b", "sqlite:////nowhere/x.db", "-v")
    assert quiet.status == loud.status == 1
    assert len(quiet.err.splitlines()) == 1
    assert "Traceback" in loud.err and loud.err.splitlines()[-1] == quiet.err.strip()


def test_queues_are_listed_with_what_waits_in_them(tmp_path: Path) -> None:
    for number in range(3):
        taskbus("call", "any.task", number)
    taskbus("call", "any.task", "--countdown", "100", "-Q", "later")
    items = {item["name"]: item for item in taskbus("queues", "list", "-o", "jsonl").lines}
    assert (items["default"]["ready"], items["later"]["delayed"]) == (3, 1)
    shown = taskbus("queues")
    assert shown.out.splitlines()[0].split() == ["queue", "ready", "delayed", "running", "oldest"]
    assert shown.err == f"sqlite:///{tmp_path}/taskbus.db\n"


LOOKS = [
    ("queues",),
    ("queues", "peek", "default"),
    ("queues", "purge", "default", "--yes"),
    ("dlq", "list"),
    ("dlq", "groups"),
    ("dlq", "show", "1"),
    ("dlq", "replay", "--yes"),
    ("dlq", "purge", "--yes"),
    ("status",),
    ("result", "1"),
]


@pytest.mark.parametrize("command", LOOKS, ids=" ".join)
def test_looking_where_nothing_was_ever_sent_says_so_and_creates_nothing(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    done = taskbus(*command, "-b", "sqlite:///missing.db")
    assert (done.status, done.out) == (3, "")
    assert f"no database at {tmp_path}/missing.db; nothing was ever sent there" in done.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [("queues",), ("dlq", "list"), ("status",), ("doctor",)], ids=" ".join)
def test_looking_at_the_database_of_another_program_leaves_it_as_it_is(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    theirs = tmp_path / "shop.db"
    with sqlite3.connect(theirs) as connection:
        connection.execute("CREATE TABLE customers (name)")
    connection.close()
    before = theirs.read_bytes()
    done = taskbus(*command, "-b", "sqlite:///shop.db")
    assert done.status == (75 if command == ("doctor",) else 3)
    assert "customers" in done.out + done.err
    assert theirs.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["shop.db"]


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("queues", "-b", "memory://a"), "memory://a lives inside one process"),
        (("call", "any.task", "-b", "memory://a"), "memory://a lives inside one process"),
        (("dlq", "list", "-b", "SQLITE:///x.db"), "did you mean sqlite://?"),
        (("queues", "-b", "sqlite:///:memory:"), "memory://name for tests"),
    ],
)
def test_a_place_that_cannot_be_looked_into_is_a_usage_error(
    command: tuple[str, ...], says: str, tmp_path: Path
) -> None:
    done = taskbus(*command)
    assert (done.status, done.out) == (2, "")
    assert says in done.err
    assert list(tmp_path.iterdir()) == []


def test_a_purge_asks_and_where_nobody_answers_it_does_nothing() -> None:
    taskbus("call", "any.task")
    refused = taskbus("queues", "purge", "default")
    assert refused.status == 2
    assert "Delete 1 message from queue 'default'" in refused.err and "--yes" in refused.err
    assert taskbus("queues", "purge", "default", "--dry-run", "-o", "json").json["items"][0]["deleted"] == 0
    assert taskbus("queues", "peek", "default", "-o", "json").json["items"]
    assert taskbus("queues", "purge", "default", "--yes", "-o", "json").json["items"][0]["deleted"] == 1
    assert taskbus("queues", "-o", "json").json["items"] == []


def test_a_queue_that_is_not_there_is_not_found() -> None:
    taskbus("call", "any.task")
    for act in ("peek", "purge"):
        done = taskbus("queues", act, "defualt")
        assert (done.status, done.out) == (3, "")
        assert "did you mean 'default'?" in done.err


def test_status_tells_whether_anybody_works(worker: Worker) -> None:
    done = taskbus("call", "sample.add", "1", "1", *APP, "--wait", "20")
    assert done.status == 0
    status = taskbus("status", "-o", "json")
    assert status.status == 0
    (entry,) = status.json["workers"]
    assert (entry["pid"], entry["queues"]) == (worker.pid, ["default"])
    assert status.json["dead_letters"] == 0
    assert status.json["database"] in taskbus("status").err
    worker.stop()
    nobody = taskbus("status")
    assert nobody.status == 69
    assert "No worker is alive" in nobody.err


def test_broker_commands_do_not_need_the_application(tmp_path: Path) -> None:
    with TaskBus("other", broker=f"sqlite:///{tmp_path}/other.db") as app:
        app.send("any.task")
    url = f"sqlite:///{tmp_path}/other.db"
    by_flag = taskbus("queues", "-b", url, "-o", "json")
    by_variable = taskbus("queues", "-o", "json", TASKBUS_BROKER=url)
    (tmp_path / "file.toml").write_text(f'broker = "{url}"\n')
    by_file = taskbus("queues", "--config", "file.toml", "-o", "json")
    assert by_flag.json == by_variable.json == by_file.json
    assert by_flag.json["items"][0]["ready"] == 1
    assert not (tmp_path / "taskbus.db").exists()


def test_a_flag_is_stronger_than_the_code_of_the_application(tmp_path: Path) -> None:
    (tmp_path / "fixed.py").write_text(
        'from taskbus import TaskBus\napp = TaskBus("fixed", broker="sqlite:///code.db")\n'
    )
    taskbus("call", "any.task", "-A", "fixed:app", "-b", "sqlite:///flag.db")
    assert (tmp_path / "flag.db").exists() and not (tmp_path / "code.db").exists()
    taskbus("call", "any.task", "-A", "fixed:app")
    assert taskbus("queues", "-A", "fixed:app", "-o", "json").json["items"][0]["ready"] == 1
    assert (tmp_path / "code.db").exists()


def test_settings_are_shown_with_where_they_come_from(tmp_path: Path) -> None:
    (tmp_path / "taskbus.toml").write_text("grace = 7\nsweep = 2\n")
    (tmp_path / "more.toml").write_text('grace = 8\nqueues = ["a", "b"]\nstore_results = false\n')
    done = taskbus(
        "config", "show", "--origin", "-o", "json", "--config", "more.toml", "-b", "sqlite:///x.db", TASKBUS_LEASE="12"
    )
    settings, origins = done.json["settings"], done.json["origins"]
    assert (settings["grace"], origins["grace"]) == (8, "more.toml")
    assert (settings["queues"], settings["store_results"]) == (["a", "b"], False)
    assert (settings["sweep"], origins["sweep"]) == (2, "taskbus.toml")
    assert (settings["lease"], origins["lease"]) == (12, "TASKBUS_LEASE")
    assert (settings["broker"], origins["broker"]) == (f"sqlite:///{tmp_path}/x.db", "command line")
    assert origins["coroutines"] == "default"


def test_settings_that_cannot_be_are_found(tmp_path: Path) -> None:
    (tmp_path / "good.toml").write_text("grace = 7\n")
    (tmp_path / "bad.toml").write_text("grce = 7\n")
    assert taskbus("config", "validate", "good.toml").status == 0
    assert taskbus("config", "validate").status == 0
    bad = taskbus("config", "validate", "bad.toml")
    assert bad.status == 1
    assert "unknown setting 'grce' (bad.toml); did you mean 'grace'?" in bad.err
    assert taskbus("queues", "--config", "bad.toml").status == 2
    assert taskbus("queues", TASKBUS_GRACE="soon").status == 2


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "taskbus.db").write_text("hello, I am a text" * 100)
    done = taskbus("queues")
    assert done.status == 1
    assert f"{tmp_path}/taskbus.db" in done.err


def test_a_table_for_a_program_is_plain_text(tmp_path: Path) -> None:
    taskbus("call", "any.task", "a\x1b[31mred")
    shown = taskbus("queues", "peek", "default")
    assert "\x1b" not in shown.out
    assert r"\x1b[31mred" in shown.out
    assert all(line == line.rstrip() for line in shown.out.splitlines())
    assert sqlite3.connect(tmp_path / "taskbus.db").execute("PRAGMA integrity_check").fetchone() == ("ok",)
