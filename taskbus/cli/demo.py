"""``taskbus demo``: a real worker on a real queue, with the standard library of this Python as its work."""

import os
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import rich_click as click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from taskbus.app import TaskBus
from taskbus.cli.options import shared_options
from taskbus.cli.phrase import count, shortened, size
from taskbus.cli.tables import console, draw, draw_fields, say
from taskbus.cli.worker_process import WorkerProcess
from taskbus.errors import ResultError
from taskbus.store.base import Filter
from taskbus.store.results import AsyncResult, as_completed

APP = "taskbus.cli.demo_app"
STANDARD_LIBRARY = Path(sysconfig.get_path("stdlib"))
TIMEOUT = 60.0


@click.command("demo")
@click.option("--files", type=click.IntRange(min=1), metavar="N", help="How many files at most; all if not given.")
@click.option(
    "--folder", type=click.Path(file_okay=False, path_type=Path), help="Keep the database here, to look at afterwards."
)
@shared_options("quiet", "verbose")
def command(files: int | None, folder: Path | None) -> None:
    """Measure the files of Python's standard library with a worker of two processes; shows what it did.

    Everything is in one SQLite file, in a temporary folder that is removed at the end, unless --folder is given.
    """
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        _run(folder.absolute(), files)
        say(f"\nLook around: cd {folder} && taskbus status; taskbus dlq groups; taskbus doctor")
        return
    with tempfile.TemporaryDirectory(prefix="taskbus-demo-") as temporary:
        _run(Path(temporary), files)


def _run(folder: Path, limit: int | None) -> None:
    paths = sorted(_standard_library())[:limit]
    os.environ["TASKBUS_BROKER"] = f"sqlite:///{folder}/taskbus.db"
    demo_app: Any = import_module(APP)
    app: TaskBus = demo_app.app
    with app:
        app.broker.ping()  # creates the database
        started = time.perf_counter()
        with app.batch():
            results = [demo_app.measure.delay(path) for path in paths]
        sent_in = time.perf_counter() - started
        with WorkerProcess(["-A", f"{APP}:app", "--processes", "2"], {}) as worker:
            started = time.perf_counter()
            measured = _watch(results, worker)
            took = time.perf_counter() - started
        _summarise(app, measured, len(paths), sent_in, took)


def _watch(results: Sequence[AsyncResult[Any]], worker: WorkerProcess) -> list[dict[str, Any]]:
    """Collect what comes back; what raised is among the dead letters."""
    measured = []
    columns = (TextColumn("measuring"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console(err=True), disable=not console(err=True).is_terminal) as progress:
        bar = progress.add_task("", total=len(results))
        for result in as_completed(results, timeout=TIMEOUT):
            try:
                measured.append(result.get(timeout=0))
            except (ResultError, SyntaxError, UnicodeError, OSError):
                pass
            progress.advance(bar)
    worker.check()
    return measured


def _summarise(app: TaskBus, measured: list[dict[str, Any]], total: int, sent_in: float, took: float) -> None:
    lines = sum(each["lines"] for each in measured)
    octets = sum(each["octets"] for each in measured)
    different = len({each["digest"] for each in measured})
    draw_fields(
        [
            ("files", f"{total:,} of Python's standard library, {different:,} different ones"),
            ("content", f"{lines:,} lines, {size(octets)}"),
            ("sent", f"{total / sent_in:,.0f} tasks/s"),
            ("done", f"in {took:.1f} s, {total / took:,.0f} tasks/s, the start of the worker included"),
        ]
    )
    groups = app.store.dead_letter_groups(Filter())
    dead = sum(group.count for group in groups)
    if dead:
        click.echo(f"\n{count(dead, 'file')} could not be read; each is a dead letter now, none is lost:")
    draw(
        ("dead letters", "error", "for example"),
        [
            (str(group.count), group.error, shortened(group.message.replace(f"{STANDARD_LIBRARY}/", ""), 70))
            for group in groups
        ],
        right=("dead letters",),
        empty="(none: every file could be read)",
    )


def _standard_library() -> list[Path]:
    return [path for path in STANDARD_LIBRARY.rglob("*.py") if "site-packages" not in path.parts]
