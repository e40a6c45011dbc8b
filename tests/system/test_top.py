"""``taskbus top`` over real workers: its figures, its screen by textual's pilot, and the plain table on a terminal."""

import asyncio
import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from cli_runs import taskbus
from worker_process import Worker, wait_until

from taskbus import TaskBus
from taskbus.cli.opening import opened_reports
from taskbus.cli.top_figures import Figures, Minutes, Picture
from taskbus.cli.top_tables import rows, summary
from taskbus.monitor.histogram import Histogram
from taskbus.monitor.report import Total, pack_totals
from taskbus.store.reports import Minute

WORK = """
import time
from taskbus import Context, RetryPolicy, TaskBus
from tenacity import stop_after_attempt
app = TaskBus("work", lease=5)
@app.task
def quick(n: int) -> int:
    return n
@app.task(retry=RetryPolicy(stop=stop_after_attempt(1)))
def fails() -> None:
    raise ValueError("no")
@app.task(queue="long")
def slow(ctx: Context, seconds: float) -> str:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        ctx.progress(1, 4, "a quarter")
        time.sleep(0.1)
    return "done"
"""


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[TaskBus]:
    (tmp_path / "work.py").write_text(WORK)
    with TaskBus("work", broker=f"sqlite:///{tmp_path}/taskbus.db") as made:
        yield made


@pytest.fixture
def worker(bus: TaskBus, tmp_path: Path) -> Iterator[Worker]:
    """One with two slots on both queues, that has done ten quick tasks and failed one, and runs one that is slow."""
    options = ("-Q", "default,long", "--processes", "2", "--set", "sweep=0.5")
    with Worker(bus.broker_url, tmp_path, *options, app="work:app", PYTHONPATH=str(tmp_path)) as started:
        results = [bus.send("work.quick", [n]) for n in range(10)] + [bus.send("work.fails")]
        slow = bus.send("work.slow", [300])
        for result in results:
            assert result.wait(60).is_final
        with opened_reports(bus) as reports:
            reports.watch(time.time() + 60)
        started.slow = slow  # type: ignore[attr-defined]
        yield started


def look_until(figures: Figures, condition: Any) -> Picture:
    pictures: list[Picture] = []

    def look() -> bool:
        pictures[:] = [figures.look()]
        return bool(condition(pictures[0]))

    wait_until(look, 40, "the figures")
    return pictures[0]


def test_it_tells_rates_durations_failures_and_progress(bus: TaskBus, worker: Worker) -> None:
    with opened_reports(bus) as reports:
        figures = Figures(bus, reports)
        picture = look_until(
            figures,
            lambda seen: (
                len(seen.tasks) >= 3 and seen.running and seen.running[0].done and any(q.dead for q in seen.queues)
            ),
        )
        by_task = {each.task: each for each in picture.tasks}
        quick = by_task["work.quick"]
        assert quick.m5 == pytest.approx(10 / 300, rel=0.2)
        assert quick.m1 <= 10 / 60 + 1e-9
        assert quick.run_p50 is not None and quick.run_p50 < 5 and quick.wait_p95 is not None
        assert (by_task["work.fails"].failed, quick.failed, by_task["work.slow"].running) == (1, 0, 1)
        assert (picture.all.failed, picture.all.running) == (1, 1)
        [running] = picture.running
        assert (running.task, running.done, running.total, running.note) == ("work.slow", 1, 4, "a quarter")
        [node] = [each for each in picture.workers if each.kind == "worker"]
        assert (node.slots, node.active, node.is_alive) == (2, 1, True)
        assert node.rss > 1 << 20
        assert {each.queue: each.dead for each in picture.queues} == {"default": 1, "long": 0}
        assert "1 failed in 5 m" in str(summary(picture))
        assert [row.key for row in rows(picture, "task", "QUICK")] == ["work.quick"]
        assert [row.key for row in rows(picture, "task", "*.s*")] == ["work.slow"]


def test_scripts_get_all_of_it_as_json(bus: TaskBus, worker: Worker) -> None:
    known = {"work.quick", "work.fails", "work.slow"}
    found: list[dict[str, Any]] = []

    def is_told() -> bool:
        found[:] = [taskbus("top", "-o", "json").json]
        return known <= {each["task"] for each in found[0]["tasks"]} and bool(found[0]["running"])

    wait_until(is_told, 40, "the worker's report")
    (told,) = found
    assert (told["version"], told["kind"]) == (1, "top")
    assert set(told) >= {"at", "all", "queues", "workers", "running", "error"}
    assert [each["task"] for each in told["running"]] == ["work.slow"]
    assert len(taskbus("top", "-o", "jsonl", "--once").lines) == 1
    plain = taskbus("top", "--by", "queue")  # no terminal: once
    assert plain.status == 0
    assert plain.out.splitlines()[0].split()[:3] == ["queue", "ready", "delayed"]


def test_where_nobody_ever_worked_it_says_so(tmp_path: Path) -> None:
    done = taskbus("top")
    assert done.status == 3
    assert "no database at" in done.err
    assert list(tmp_path.iterdir()) == []


def test_what_a_node_says_again_of_a_minute_counts_once() -> None:
    now = 60.0 * 1_000_000 + 30
    minutes = Minutes()

    def said(minute: int, number: int, count: int) -> Minute:
        total = Total("t", "q", {"succeeded": count, "started": count}, Histogram(), Histogram({5: count}), {})
        return Minute("node", minute, number, pack_totals([total]))

    minutes.take([said(1_000_000, 1, 10), said(999_999, 2, 60), said(999_000, 3, 999)], now)
    minutes.take([said(1_000_000, 4, 30), said(1_000_000, 1, 10)], now)
    assert minutes.rates(0, 1, now) == {"t": (30 + 60 * 0.5) / 60}
    assert minutes.rates(None, 5, now)[""] == pytest.approx(90 / 300)
    assert minutes.sums(1, 5, now)["q"].run_histogram().total == 90
    minutes.take([], now + 400)
    assert minutes.rates(0, 5, now + 400) == {}


# --- the screen ------------------------------------------------------------------------------------------------------


def test_its_keys_switch_filter_pause_revoke_and_stop(bus: TaskBus, worker: Worker) -> None:
    pytest.importorskip("textual")
    with opened_reports(bus) as reports:
        asyncio.run(_keys(bus, worker, reports))


async def _keys(bus: TaskBus, worker: Worker, reports: Any) -> None:
    from textual.widgets import DataTable, Static

    from taskbus.cli.top_screen import TopScreen

    screen = TopScreen(bus, reports, Figures(bus, reports), "task", 0.2)
    async with screen.run_test(size=(140, 40)) as pilot:
        main, running = screen.query_one("#main", DataTable), screen.query_one("#running", DataTable)

        async def until(condition: Any, what: str) -> None:
            deadline = time.monotonic() + 60
            while not condition():
                assert time.monotonic() < deadline, what
                await pilot.pause(0.05)

        def names() -> list[str]:
            return [str(main.get_row_at(at)[0]) for at in range(main.row_count)]

        await until(lambda: "work.quick" in names() and running.row_count == 1, "tasks")
        assert "slots busy" in str(screen.query_one("#summary", Static).render())

        await pilot.press("slash", *"slow")
        await until(lambda: names() == ["work.slow"], "the filter")
        await pilot.press("escape")
        await until(lambda: "work.quick" in names(), "no filter")

        await pilot.press("u")
        await until(lambda: names() == ["default", "long"], "queues")
        await pilot.press("down", "p")
        await until(lambda: bus.broker is not None and reports.paused() == {"long"}, "a pause")
        await until(lambda: "paused" in str(main.get_row_at(1)[-1]), "that it is shown")
        await pilot.press("p")
        await until(lambda: not reports.paused(), "its end")

        await pilot.press("k")
        await until(lambda: len(screen.screen_stack) == 2, "a question")
        await pilot.press("n")
        await pilot.press("k", "y")
        await until(lambda: bus.result(worker.slow.id).is_ready, "the end of the task")  # type: ignore[attr-defined]
        assert str(bus.result(worker.slow.id).state) == "REVOKED"  # type: ignore[attr-defined]

        await pilot.press("question_mark")
        await until(lambda: len(screen.screen_stack) == 2, "help")
        await pilot.press("escape")

        await pilot.press("w")
        await until(lambda: len(names()) == 1, "workers")
        await pilot.press("s", "y")
        await until(lambda: worker.process.poll() is not None, "the end of the worker")
        assert worker.process.returncode == 0
        await pilot.press("q")
    assert screen.return_code == 0


# --- the plain table -------------------------------------------------------------------------------------------------


def test_on_a_terminal_the_plain_table_refreshes_until_ctrl_c(bus: TaskBus, worker: Worker) -> None:
    control, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 120, 0, 0))
    command = [sys.executable, "-m", "taskbus", "top", "--plain", "--every", "0.3"]
    process = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True)
    os.close(terminal)
    shown = bytearray()
    os.set_blocking(control, False)

    def has(text: bytes, times: int = 1) -> bool:
        try:
            shown.extend(os.read(control, 65536))
        except BlockingIOError:
            pass
        return shown.count(text) >= times

    try:
        with closing(os.fdopen(control, "rb", closefd=True)):
            wait_until(lambda: has(b"a quarter", 3), 60, "it to refresh")
            assert shown.count(b"work.slow") >= 6  # among the tasks, and below them among what runs
            process.send_signal(signal.SIGINT)
            wait_until(lambda: has(b"\x1b[?1049l"), 30, "the terminal as it was")
            assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
