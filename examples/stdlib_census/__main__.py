"""A census of the Python standard library: `python examples/stdlib_census`, or `make demo`.

Sends one task per file of this machine's standard library, starts a worker with two runners, collects the results as they
come and prints a summary. Some files do not parse (the library keeps bad ones to test its parser with): they are retried,
then they become dead letters.
"""

import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from report import Report, show_progress
from tasks import DATABASE, app, census

from taskbus import AsyncResult, State, as_completed

HERE = Path(__file__).parent
LOG = HERE / "worker.log"


def main() -> int:
    for file in HERE.glob("census.db*"):
        file.unlink()  # each census starts from nothing
    report = Report(DATABASE, LOG)
    paths = list(python_files())
    report.opening(len(paths))

    started = time.perf_counter()
    with app.batch():  # one round trip for many
        sent = [census.delay(path) for path in paths]
    report.sent(len(sent), time.perf_counter() - started)

    started = time.perf_counter()
    with worker() as process:
        results = while_alive(process, as_completed(sent, timeout=300))
        for result in show_progress(results, len(sent)):
            if result.state is State.SUCCESS:
                report.count(result.get())
            else:
                report.failed(result.id)
        took = time.perf_counter() - started
    report.closing(took, process.returncode)
    app.close()
    return process.returncode


def python_files() -> Iterator[Path]:
    """Every .py file of the standard library, tests included; what was installed on top of it is left out."""
    library = Path(sysconfig.get_path("stdlib"))
    found = [
        path
        for path in sorted(library.rglob("*.py"))
        if not {"site-packages", "dist-packages"}.intersection(path.parts) and path.is_file()
    ]
    yield from found
    if not any("bad" in path.name for path in found):  # some systems ship the library without its tests
        yield from sorted((HERE / "broken").iterdir())


@contextmanager
def worker() -> Iterator[subprocess.Popen[bytes]]:
    """A worker with two runners; SIGTERM at the end lets it finish and leave."""
    command = [sys.executable, "-m", "taskbus", "worker", "-A", "tasks:app", "-c", "2"]
    with LOG.open("wb") as log:
        process = subprocess.Popen(command, cwd=HERE, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=60)


def while_alive(process: subprocess.Popen[bytes], results: Iterable[AsyncResult]) -> Iterator[AsyncResult]:
    """The results, unless the worker has died: nobody else would do its work."""
    for result in results:
        if process.poll() is not None:
            raise SystemExit(f"The worker ended with status {process.returncode}; its last words are in {LOG}")
        yield result


if __name__ == "__main__":
    sys.exit(main())
