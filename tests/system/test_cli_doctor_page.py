"""What the doctor says of the page, of the history that it keeps, and of workers that report."""

import time
from contextlib import closing
from pathlib import Path

import pytest
from cli_runs import Run, taskbus
from worker_process import Worker, wait_until

from taskbus import TaskBus
from taskbus.history.opening import open_history
from taskbus.store.report_opening import open_reports
from taskbus.store.reports import Records
from tests.contract.history_rig import packed, record
from tests.servers.server import free_port

SECRET = "s3cret-passw0rd"


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A place where something was sent once."""
    url = f"sqlite:///{tmp_path}/queue.db"
    with TaskBus("tests", broker=url) as app:
        app.send("any.task")
    return url


def said(run: Run, subject: str) -> list[tuple[str, str, str]]:
    """Level, text and hint of what the doctor found of a subject."""
    return [(item["level"], item["text"], item["hint"]) for item in run.json["items"] if item["subject"] == subject]


def test_the_doctor_says_whether_the_page_is_built_and_how_to_build_it(url: str) -> None:
    ((level, text, hint),) = said(taskbus("doctor", "-b", url, "-o", "json"), "page")
    assert level == "ok"
    assert ("taskbus web serves it" in text and hint == "") or ("not built" in text and "TASKBUS_UI=require" in hint)


def test_where_nothing_is_remembered_yet_the_doctor_says_where_it_will_be_and_makes_nothing(
    url: str, tmp_path: Path
) -> None:
    ((level, text, _),) = said(taskbus("doctor", "-b", url, "-o", "json"), "history")
    assert (level, text) == (
        "ok",
        f"none is kept yet; taskbus web will keep it in sqlite:///{tmp_path}/queue-history.db",
    )
    assert not (tmp_path / "queue-history.db").exists()


def test_the_doctor_says_how_much_the_history_holds_and_since_when(url: str, tmp_path: Path) -> None:
    with closing(open_history(f"sqlite:///{tmp_path}/queue-history.db")) as history:
        now = time.time()
        kept = packed(record("a", now - 7200), record("b", now - 60, "FAILURE"))
        history.merge([], [Records("w-1", 1, kept)], {})
    ((level, text, _),) = said(taskbus("doctor", "-b", url, "-o", "json"), "history")
    assert level == "ok"
    assert text.startswith("2 records, the oldest from 2 h") and "iB in sqlite:///" in text


def test_a_history_that_cannot_be_opened_is_an_error_without_its_password(url: str) -> None:
    away = f"postgresql://me:{SECRET}@127.0.0.1:{free_port()}/shop"
    done = taskbus("doctor", "-b", url, "-o", "json", TASKBUS_HISTORY=away)
    assert done.status == 1
    ((level, text, hint),) = said(done, "history")
    assert level == "error" and "me:***@127.0.0.1" in text and "setting history" in hint
    assert SECRET not in done.out + done.err


def test_a_history_in_what_is_no_sql_database_is_an_error(url: str) -> None:
    done = taskbus("doctor", "-b", url, "-o", "json", TASKBUS_HISTORY="redis://127.0.0.1/0")
    assert done.status == 1
    ((level, text, _),) = said(done, "history")
    assert level == "error" and "name a SQL database" in text


def test_reports_that_are_switched_off_are_a_warning_that_says_what_is_missing(url: str) -> None:
    done = taskbus("doctor", "-b", url, "-o", "json", TASKBUS_REPORTS="false")
    ((level, text, hint),) = said(done, "reports")
    assert (done.status, level) == (75, "warning")
    assert "switched off (setting reports)" in text and "leave the setting reports on" in hint


def test_the_doctor_counts_the_workers_that_report_and_none_that_do_not(url: str, tmp_path: Path) -> None:
    ((level, text, hint),) = said(taskbus("doctor", "-b", url, "-o", "json"), "reports")
    assert (level, text) == ("ok", "no worker reports") and "reports switched off" in hint
    with Worker(url, tmp_path, "-c", "1", TASKBUS_REPORTS="false") as silent:
        wait_until(lambda: "Ready in" in silent.log.read_text(), 60, "a worker that is silent")
        with Worker(url, tmp_path, "-c", "1"), closing(open_reports(url)) as reports:
            wait_until(lambda: len(reports.nodes()) == 1, 60, "a report")
            done = taskbus("doctor", "-b", url, "-o", "json")
            assert said(done, "reports") == [("ok", "1 worker reporting", "")]
            assert any("2 workers alive" in text for _, text, _ in said(done, "workers"))
