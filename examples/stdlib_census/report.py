"""What the census shows while it runs and when it is done; on a terminal a progress bar, elsewhere plain lines."""

import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from tasks import Count

T = TypeVar("T")
console = Console(highlight=False, soft_wrap=True)


class Report:
    """Adds up the counts and prints what a reader wants to know."""

    def __init__(self, database: Path, log: Path) -> None:
        self.database = relative(database)
        self.log = relative(log)
        self.counts: list[Count] = []
        self.dead: list[str] = []
        self.first_at = self.last_at = 0.0
        self.own = 0

    def opening(self, files: int, own: int) -> None:
        version = ".".join(map(str, sys.version_info[:3]))
        fixtures = f", and {own} broken fixtures of ours, as this Python comes without its tests" if own else ""
        self.own = own
        console.print(f"Census of the standard library of Python {version}: {files:,} files, one task each{fixtures}.")
        console.print(f"Queue, results and dead letters: {self.database}   Worker's log: {self.log}")

    def sent(self, tasks: int, seconds: float) -> None:
        console.print(f"Sent {tasks:,} tasks in {seconds:.2f} s. Now a worker with two runners does the work.")

    def count(self, count: Count) -> None:
        self._tick()
        self.counts.append(count)

    def failed(self, task_id: str) -> None:
        self._tick()
        self.dead.append(task_id)

    def closing(self) -> None:
        """The census, the speed, the dead letters and what can be done about them."""
        console.print(self._census())
        seconds = max(self.last_at - self.first_at, 0.001)
        done = len(self.counts) + len(self.dead)
        console.print(
            f"{done:,} tasks in {seconds:.1f} s, {done / seconds:,.0f} tasks/s: two runners, parsing "
            f"{sum(count.lines for count in self.counts) / seconds:,.0f} lines a second."
        )
        if not self.dead:
            return
        which = "The fixtures" if len(self.dead) == self.own else f"{len(self.dead):,} files"
        console.print(f"\n{which} did not parse, in four attempts each. They are kept as dead letters:")
        self._taskbus("dlq", "groups", "--broker", self._url())
        console.print("Look at one, with the traceback of every attempt, then send it again:")
        console.print(f"  .venv/bin/taskbus dlq show {self.dead[0]} --broker {self._url()}", style="bold")
        console.print(f"  .venv/bin/taskbus dlq replay --id {self.dead[0]} --broker {self._url()}", style="bold")
        console.print("A replayed task waits for the next worker:")
        console.print("  cd examples/stdlib_census && ../../.venv/bin/taskbus worker -A tasks", style="bold")

    def _census(self) -> Table:
        table = Table(title="The standard library", title_justify="left")
        table.add_column("what")
        table.add_column("how many", justify="right")
        table.add_column("where")
        for name in ("lines", "functions", "classes", "branches"):
            total = sum(getattr(count, name) for count in self.counts)
            most = max(self.counts, key=lambda count: getattr(count, name))
            table.add_row(name, f"{total:,}", f"most in {short(most.path)}: {getattr(most, name):,}")
        longest = max(self.counts, key=lambda count: count.longest_lines)
        table.add_row("longest function", f"{longest.longest_lines:,}", f"{longest.longest}() in {short(longest.path)}")
        theirs = max(0, len(self.dead) - self.own)  # the fixtures are no files of the library
        table.add_row("files", f"{len(self.counts) + theirs:,}", f"{theirs} of them do not parse")
        return table

    def _tick(self) -> None:
        self.last_at = time.perf_counter()
        self.first_at = self.first_at or self.last_at

    def _url(self) -> str:
        return f"sqlite:///{self.database}"

    def _taskbus(self, *arguments: str) -> None:
        """The real command, as a user would type it."""
        subprocess.run([sys.executable, "-m", "taskbus", *arguments], check=True)


def show_progress(items: Iterable[T], total: int) -> Iterator[T]:
    """Pass the items on and show how far they are."""
    if console.is_terminal:
        columns = (TextColumn("counting"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console) as progress:
            yield from progress.track(items, total=total)
        return
    for number, item in enumerate(items, start=1):
        yield item
        if number == total or number % max(1, total // 10) == 0:
            print(f"  {number:,} of {total:,}", flush=True)


def relative(path: Path) -> Path:
    """The path as seen from here, where it is below."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def short(path: Path) -> str:
    """The path below the library's folder."""
    parts = path.parts
    start = next((n + 1 for n, part in reversed(list(enumerate(parts))) if part.startswith("python3")), 0)
    return "/".join(parts[start:])
