"""``taskbus dlq`` on real dead letters: looked at, replayed, purged."""

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cli_runs import taskbus
from worker_process import wait_until

from taskbus import TaskBus, codec
from taskbus.message import Message
from taskbus.outcome import Failure, Reason, State
from taskbus.store.base import Bury, DeadLetter, FailedAttempt, SaveAttempt, SaveResult, StoredResult
from taskbus.wire import compact


def bury(
    app: TaskBus, task_id: str, *, task: str = "shop.mail", error: str = "ValueError", dead_at: float = 100.0
) -> None:
    """A dead letter as a worker leaves it: with its attempt and its task's failed result."""
    failure = Failure(f"builtins.{error}", f"cannot send {task_id}", "Traceback\n  in the shop\n")
    wire = compact.encode(Message(task_id, task, codec.encode(([task_id], {"retry": True})), attempt=2, sent_at=90.0))
    letter = DeadLetter(
        task_id, task, "mails", Reason.RETRIES_EXHAUSTED, failure, wire, compact.CONTENT_TYPE, 3, 2, 90.0, dead_at
    )
    app.store.apply(
        [
            SaveAttempt(FailedAttempt(task_id, 1, 91.0, 92.0, "host:1", failure)),
            SaveAttempt(FailedAttempt(task_id, 2, 98.0, 100.0, "host:2", failure)),
            SaveResult(StoredResult(task_id, task, State.FAILURE, failure=failure, finished_at=dead_at), ttl=1e9),
            Bury(letter),
        ]
    )


@pytest.fixture(autouse=True)
def dead(tmp_path: Path) -> None:
    """Three dead letters of two kinds in the default database."""
    with TaskBus("tests", broker=f"sqlite:///{tmp_path}/taskbus.db") as app:
        bury(app, "a-1", dead_at=100.0)
        bury(app, "b-2", dead_at=200.0)
        bury(app, "c-3", task="shop.bill", error="KeyError", dead_at=300.0)


def ids(*arguments: str) -> list[str]:
    return [item["task_id"] for item in taskbus("dlq", "list", "-o", "json", *arguments).json["items"]]


def ready() -> int:
    return sum(item["ready"] for item in taskbus("queues", "-o", "json").json["items"])


def test_letters_are_listed_newest_first_as_on_the_page_and_by_filter() -> None:
    assert ids() == ["c-3", "b-2", "a-1"]
    assert ids("--where", "task:shop.b* error:KeyError") == ["c-3"]
    assert ids("--id", "b-2", "--id", "a-1") == ["b-2", "a-1"]
    assert ids("--limit", "1") == ["c-3"]
    assert ids("--where", "age<1h") == []
    shown = taskbus("dlq", "list", "--limit", "2")
    assert "1 more dead letter" in shown.err
    assert "KeyError: cannot send c-3" in shown.out and "cannot send a-1" not in shown.out
    assert ids("--where", "time<1970-01-01T00:03:20Z") == ["a-1"], "b-2 died in that very second"


def test_a_filter_that_cannot_be_read_is_a_usage_error() -> None:
    done = taskbus("dlq", "list", "--where", "tsk:mail")
    assert done.status == 2
    assert "did you mean 'task'?" in done.err


def test_groups_count_what_is_alike_with_an_example() -> None:
    groups = taskbus("dlq", "groups", "-o", "jsonl").lines
    assert [(group["task"], group["count"], group["example"]) for group in groups] == [
        ("shop.mail", 2, "b-2"),
        ("shop.bill", 1, "c-3"),
    ]
    shown = taskbus("dlq", "groups").out
    assert "shop.bill" in shown and "latest error" in shown


def test_letters_come_with_the_name_of_their_database(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/taskbus.db"
    for act in ("list", "groups"):
        assert url in taskbus("dlq", act).err
        assert taskbus("dlq", act, "-o", "json").json["database"] == url


def test_a_letter_is_shown_with_its_attempts_arguments_and_bytes() -> None:
    shown = taskbus("dlq", "show", "a-1")
    assert shown.status == 0
    for text in (
        "('a-1', retry=True)",
        "retries_exhausted",
        "Attempt 1",
        "Attempt 2",
        "host:2",
        "in the shop",
        "000000  9a 01",
    ):
        assert text in shown.out
    letter = taskbus("dlq", "show", "a-1", "-o", "json").json
    assert (letter["args"], letter["kwargs"], len(letter["attempts"])) == (["a-1"], {"retry": True}, 2)
    assert compact.decode(bytes.fromhex(letter["wire"]), "mails", 3, 1 << 20).task == "shop.mail"


def test_a_letter_that_is_not_there_is_not_found() -> None:
    assert taskbus("dlq", "show", "x").status == 3
    assert taskbus("dlq", "replay", "--id", "x").status == 3
    assert taskbus("dlq", "purge", "--id", "x", "--yes").status == 3


def test_a_replayed_task_keeps_its_id_and_arguments_and_starts_anew() -> None:
    done = taskbus("dlq", "replay", "--where", "task:shop.mail")
    assert (done.status, done.out.split()) == (0, ["a-1", "b-2"])
    assert "Replayed 2 dead letters." in done.err
    assert ids() == ["c-3"]
    items = taskbus("queues", "peek", "mails", "-o", "json").json["items"]
    assert [(item["id"], item["attempt"], item["args"], item["priority"]) for item in items] == [
        ("a-1", 1, ["a-1"], 3),
        ("b-2", 1, ["b-2"], 3),
    ]
    assert taskbus("result", "a-1", "-o", "json").json["state"] == "PENDING"


def test_a_replay_of_everything_is_refused_where_nobody_can_be_asked() -> None:
    refused = taskbus("dlq", "replay")
    assert (refused.status, refused.out) == (2, "")
    assert "Send 3 tasks again" in refused.err and "--yes, --where or --id" in refused.err
    assert taskbus("dlq", "replay", "--limit", "1").status == 2
    assert (len(ids()), ready()) == (3, 0)
    assert taskbus("dlq", "replay", "--id", "a-1").status == 0
    assert taskbus("dlq", "replay", "--yes").out.split() == ["b-2", "c-3"]


def test_a_dry_run_replays_and_purges_nothing() -> None:
    assert taskbus("dlq", "replay", "--dry-run").out.split() == ["a-1", "b-2", "c-3"]
    assert taskbus("dlq", "purge", "--dry-run", "-o", "json").json["matching"] == 3
    assert len(ids()) == 3 and ready() == 0


def test_a_replay_may_be_limited() -> None:
    assert [item["task_id"] for item in taskbus("dlq", "replay", "--limit", "1", "--yes", "-o", "jsonl").lines] == [
        "a-1"
    ]
    assert (len(ids()), ready()) == (2, 1)


def test_a_replay_killed_between_two_letters_neither_loses_nor_repeats_any() -> None:
    killed = taskbus("dlq", "replay", "--yes", TASKBUS_FAILPOINTS="settle.inside:kill9@2")
    assert killed.status == -signal.SIGKILL
    assert (len(ids()), ready()) == (2, 1)
    assert taskbus("dlq", "replay", "--yes").status == 0
    assert (len(ids()), ready()) == (0, 3)


def test_a_letter_that_cannot_be_read_stays_and_is_told_of(tmp_path: Path) -> None:
    with TaskBus("tests", broker=f"sqlite:///{tmp_path}/taskbus.db") as app:
        failure = Failure("taskbus.errors.DecodeError", "no message", "")
        app.store.apply(
            [Bury(DeadLetter("z", "", "q", Reason.UNDECODABLE, failure, b"junk", "text/plain", 0, 1, 0.0, 400.0))]
        )
    done = taskbus("dlq", "replay", "--id", "z")
    assert done.status == 1
    assert "z stays:" in done.err
    assert "6a 75 6e 6b" in taskbus("dlq", "show", "z").out


def test_a_purge_deletes_what_it_said_and_only_when_told(tmp_path: Path) -> None:
    refused = taskbus("dlq", "purge", "--where", "task:shop.mail")
    assert refused.status == 2
    assert "Delete 2 dead letters for good" in refused.err
    assert len(ids()) == 3
    assert taskbus("dlq", "purge", "--where", "task:shop.mail", "--limit", "1", "--yes").status == 0
    assert ids() == ["c-3", "b-2"]
    assert taskbus("dlq", "purge", "--yes", "-o", "json").json["deleted"] == 2
    assert taskbus("dlq", "list").err == f"No dead letters in sqlite:///{tmp_path}/taskbus.db.\n"


@pytest.mark.parametrize("width", [60, 80, 120, 200])
@pytest.mark.parametrize("act", ["list", "groups"])
def test_ids_are_whole_on_a_terminal_of_any_width(act: str, width: int, tmp_path: Path) -> None:
    task_id = "01a1fe1d-69c4-78fe-906b-a2423d51fa66"
    with TaskBus("tests", broker=f"sqlite:///{tmp_path}/taskbus.db") as app:
        bury(app, task_id, task="shop.newsletter.send_mail")
    shown = on_terminal("dlq", act, "--id", task_id, width=width)
    assert task_id in shown
    assert "retries_exhausted" in shown
    assert max(map(len, shown.splitlines())) <= width


def on_terminal(*arguments: str, width: int) -> str:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "taskbus", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "COLUMNS": str(width), "LINES": "25", "NO_COLOR": "1", "TERM": "dumb"},
    )
    os.close(theirs)
    seen = bytearray()
    while part := drain(ours):
        seen += part
    os.close(ours)
    assert process.wait(20) == 0, seen
    return seen.decode()


@pytest.mark.parametrize(("answer", "left"), [(b"n\n", 3), (b"y\n", 0)])
def test_on_a_terminal_it_asks_first(answer: bytes, left: int) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "taskbus", "dlq", "replay"], stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    seen = bytearray()
    wait_until(lambda: b"[y/N]" in seen or seen.extend(os.read(ours, 4096)), what="a question")
    assert b"Send 3 tasks again" in seen
    os.write(ours, answer)
    wait_until(lambda: process.poll() is not None or not drain(ours))
    assert process.wait(10) == (0 if left == 0 else 1)
    os.close(ours)
    assert len(ids()) == left


def drain(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""
