"""Beats as they are run: in a worker, as a process of their own, asleep until something comes."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import sample_schedules as sample
from worker_process import HERE, Worker, wait_until

from taskbus import TaskBus, every
from taskbus.beat.beat import Beat
from taskbus.beat.running import beating
from taskbus.monitor.report import NodeState, unpack_state
from taskbus.store.report_opening import open_reports

LONG = 60.0


@pytest.fixture
def app(tmp_path: Path) -> Iterator[TaskBus]:
    """The tasks of the sample on the database of this test."""
    with TaskBus("sample_schedules", broker=f"sqlite:///{tmp_path}/taskbus.db") as app:
        for task in sample.app.tasks.values():
            app._adopt(task)
        app.schedule("yearly", sample.report.s("north"), sample.cron("0 0 1 1 *", tz="Europe/Paris"))
        yield app


def test_a_worker_runs_a_beat_that_runs_no_code_of_its_users(app: TaskBus, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    options = ("-B", "--processes", "1")
    with Worker(app.broker_url, tmp_path, *options, app="sample_schedules:app", SAMPLE_NOTES=str(notes)) as worker:
        wait_until(lambda: notes.exists() and len(notes.read_text().splitlines()) >= 3, LONG, "three runs")
        ran_in = app.result(app.schedules.get("sample_schedules.often").last_task_id).get(timeout=LONG)
        assert ran_in in worker.runners()
        assert worker.stop(timeout=LONG) == 0
    lines = notes.read_text().splitlines()
    assert len(lines) == len(set(lines)) and lines[0].startswith("often sample_schedules.often ")
    assert app.schedules.places().schedules.leader() == ""
    assert [info.origin for info in app.schedules.list()] == ["code", "code"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_beat_is_a_process_that_ends_when_it_is_told_and_resigns(
    app: TaskBus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    monkeypatch.setenv("TASKBUS_BROKER", app.broker_url)
    command = [sys.executable, "-m", "taskbus", "beat", "-A", "sample_schedules:app", "--name", "one"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: app.schedules.places().schedules.leader() == "one", LONG, "the beat to lead")
        wait_until(lambda: app.schedules.get("sample_schedules.often").sent, LONG, "a run")
        process.send_signal(number)
        _, said = process.communicate(timeout=LONG)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0 and "2 schedules in the code" in said, said
    assert app.schedules.places().schedules.leader() == ""


def test_a_beat_that_sleeps_wakes_when_an_earlier_schedule_is_added(
    app: TaskBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would sleep for an hour by itself: neither its lease nor its looking for what nobody told of wakes it."""
    monkeypatch.setattr("taskbus.beat.beat.NET", 3600.0)
    turns: list[float] = []

    class Watched(Beat):
        def turn(self) -> float:
            pause = super().turn()
            turns.append(pause)
            return pause

    places = app.schedules.places()
    config = replace(app.config, beat_lease=3 * 3600.0)
    beat = Watched(places._replace(config=config), [app.schedules.declared["yearly"]], app.name)
    with beating(beat):
        wait_until(lambda: turns and turns[-1] > 1000, LONG, "the beat to have nothing to do")
        with TaskBus("other", broker=app.broker_url) as other:
            other.task(name="sample_schedules.report")(lambda region: None)
            before = time.time()
            call = other.tasks["sample_schedules.report"].s("x")
            other.schedules.add("soon", call, every(0.2))
        wait_until(lambda: app.schedules.get("soon").sent >= 1, LONG, "its first run")
        first = app.schedules.ticks("soon")[-1]
        assert first.nominal >= before - 1
        app.schedules.remove("soon")
        count = len(turns)
        assert not threading.Event().wait(1.5)
        assert len(turns) - count < 20, "an idle beat turns all the time"


def states(app: TaskBus) -> list[NodeState]:
    with closing(open_reports(app.results_url)) as reports:
        return [unpack_state(node.state) for node in reports.nodes()]


def test_beats_report_who_leads_and_how_much_was_sent_beside_a_worker_and_alone(
    app: TaskBus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Worker(app.broker_url, tmp_path, "-B", "--processes", "1", app="sample_schedules:app") as worker:
        wait_until(lambda: {state.kind for state in states(app)} == {"worker", "beat"}, LONG, "both to report")
        wait_until(lambda: any(state.is_leader and state.sent for state in states(app)), LONG, "a run")
        monkeypatch.setenv("PYTHONPATH", str(HERE))
        monkeypatch.setenv("TASKBUS_BROKER", app.broker_url)
        command = [sys.executable, "-m", "taskbus", "-q", "beat", "-A", "sample_schedules:app"]
        process = subprocess.Popen(command)
        try:
            wait_until(lambda: any(state.pid == process.pid for state in states(app)), LONG, "the other one to report")
            assert [state.pid for state in states(app) if state.is_leader] == [worker.pid]
        finally:
            process.terminate()
            assert process.wait(LONG) == 0
        assert worker.stop(timeout=LONG) == 0
    assert states(app) == []
