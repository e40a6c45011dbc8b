"""A census of the Python standard library: `python examples/stdlib_census`, or `make demo`.

Sends one task per file of this machine's standard library, starts a worker with two runners, collects the results as
they come and prints a summary. Some files do not parse (the library keeps bad ones to test its parser with): they are
retried, then they become dead letters.
"""

import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from report import Report, show_progress
from tasks import DATABASE, Count, app, census

from taskbus import AsyncResult, ResultTimeout, State, as_completed

HERE = Path(__file__).parent
LOG = HERE / "worker.log"
BROKEN = HERE / "broken"


def main() -> int:
    for file in HERE.glob("census.db*"):
        file.unlink()  # each census starts from nothing
    report = Report(DATABASE, LOG)
    library, fixtures = python_files()
    report.opening(len(library), len(fixtures))

    started = time.perf_counter()
    with app.batch():  # one round trip for many
        sent = [census.delay(path) for path in library + fixtures]
    report.sent(len(sent), time.perf_counter() - started)

    with worker() as process:
        for result in show_progress(finished(sent, process), len(sent)):
            if result.state is State.SUCCESS:
                report.count(result.get())
            else:
                report.failed(result.id)
    app.close()
    report.closing()
    return process.returncode


def python_files() -> tuple[list[Path], list[Path]]:
    """Every .py file of the standard library, tests included; what was installed on top of it is left out.

    Then the broken fixtures of our own that stand in where a system ships the library without its tests.
    """
    library = Path(sysconfig.get_path("stdlib"))
    others = {"site-packages", "dist-packages"}
    found = [path for path in sorted(library.rglob("*.py")) if others.isdisjoint(path.parts) and path.is_file()]
    has_broken = any("bad" in path.name for path in found)
    return found, [] if has_broken else sorted(BROKEN.iterdir())


@contextmanager
def worker() -> Iterator[subprocess.Popen[bytes]]:
    """A worker with two runners; SIGTERM lets it finish what it runs and leave."""
    command = [sys.executable, "-m", "taskbus", "worker", "-A", "tasks:app", "-c", "2"]
    with LOG.open("wb") as log:
        process = subprocess.Popen(command, cwd=HERE, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=60)


def finished(sent: Sequence[AsyncResult[Count]], worker: subprocess.Popen[bytes]) -> Iterator[AsyncResult[Count]]:
    """The results as they come; gives up when the worker has died, as nobody else would do its work."""
    waiting = {result.id: result for result in sent}
    while waiting:
        try:
            for result in as_completed(list(waiting.values()), timeout=5):
                del waiting[result.id]
                yield result
        except ResultTimeout:
            if worker.poll() is not None:
                sys.exit(f"The worker ended with status {worker.returncode}; its last words are in {LOG}")


if __name__ == "__main__":
    sys.exit(main())
