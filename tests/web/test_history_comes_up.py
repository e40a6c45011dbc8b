"""A history that cannot be opened when the server starts is tried again, and is there once it can be."""

import logging
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette

from taskbus import TaskBus
from taskbus.monitor.report import NodeState, pack_state
from taskbus.store.reports import Report
from taskbus.web.server import web_app
from taskbus.web.shapes.basis import Role
from tests.contract.history_rig import totals
from tests.web.conftest import asking, running, whoever_says_so
from tests.web.work.waiting import wait_until


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The history's, in a folder that is not there yet."""
    return tmp_path / "later" / "history.db"


@pytest.fixture
def web(tmp_path: Path, file: Path) -> Iterator[Starlette]:
    with TaskBus("tests", broker=f"sqlite:///{tmp_path}/app.db", history=f"sqlite:///{file}") as app:
        yield from running(web_app(app, identify=whoever_says_so))


def ask(web: Starlette, path: str) -> Any:
    answer = asking(web, Role.ADMIN).get(f"/api/v1/{path}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def work(web: Starlette) -> None:
    """Something that a worker reports."""
    now = time.time()
    state = pack_state(NodeState("worker", "ann@home", queues=("default",)))
    minutes = {int(now // 60): totals(succeeded=7)}
    web.state.server.engine.house().reports.post(Report("a", 1, now, state, minutes=minutes), 0)


def test_a_history_whose_folder_is_made_later_comes_up_live(
    web: Starlette, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "taskbus.web")
    work(web)
    told = ask(web, "system")["history"]
    assert str(file.parent) in told["error"] and "tried again" in told["error"]
    assert any("tried again" in each["text"] for each in ask(web, "overview")["problems"] if each["kind"] == "store")
    assert ask(web, "overview")["counts"]["succeeded"] == 0
    assert "tried again" in ask(web, "audit")["note"]
    late = web.state.server.engine.house().late
    wait_until(lambda: late.tries > 2, what="more tries")
    file.parent.mkdir()
    wait_until(lambda: ask(web, "overview")["counts"]["succeeded"] == 7, what="the history")
    assert ask(web, "system")["history"]["error"] == ""
    assert [each["kind"] for each in ask(web, "overview")["problems"]].count("store") == 0
    assert ask(web, "overview")["nodes"]["workers"] == 1
    said = [each for each in caplog.records if each.levelno >= logging.WARNING and "history" in each.getMessage()]
    assert len(said) == 1 and "tried again" in said[0].getMessage()
    assert any("can be opened now" in each.getMessage() for each in caplog.records)


def test_changes_and_jobs_are_kept_once_it_is_there(web: Starlette, file: Path) -> None:
    client = asking(web, Role.ADMIN)
    assert client.post("/api/v1/queues/default/pause", json={}).status_code == 200
    file.parent.mkdir()
    wait_until(lambda: ask(web, "system")["history"]["error"] == "", what="the history")
    assert client.post("/api/v1/queues/default/resume", json={}).status_code == 200
    assert [each["action"] for each in ask(web, "audit")["items"]] == ["queues.resume"]
    job = client.post("/api/v1/dlq/purge", json={"where": "task:nobody"}).json()
    history = web.state.server.engine.house().history
    wait_until(lambda: (kept := history.job(job["id"])) and kept.state == "done", what="the job in the history")


def test_a_locked_file_is_waited_for(web: Starlette, file: Path) -> None:
    file.parent.mkdir()
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        other.execute("CREATE TABLE theirs (n)")
        work(web)
        assert "locked" in ask(web, "system")["history"]["error"]
        other.execute("COMMIT")
    wait_until(lambda: ask(web, "overview")["counts"]["succeeded"] == 7, what="the history", timeout=40)


def test_a_server_that_stops_while_it_waits_leaves_nothing_behind(web: Starlette, file: Path) -> None:
    ask(web, "me")
    web.state.server.engine.stop()
    file.parent.mkdir()
    names = {thread.name for thread in threading.enumerate()}
    assert not any(name.startswith("taskbus-history") for name in names)
    assert not file.exists()
