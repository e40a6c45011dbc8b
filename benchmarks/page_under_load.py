"""What the page costs a worker at full speed, and whether it counts right: ``python benchmarks/page_under_load.py``.

A queue on Redis is filled, then one worker empties it: without the web server and with it, its page open in Chromium,
in turns. In the middle of each round with the page the web server is killed and started again; at the end its history
must tell exactly what the tasks themselves counted. Prints a line a round and medians; fails if a count is wrong.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from threading import Event
from typing import NamedTuple
from urllib.request import urlopen

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from playwright.sync_api import Browser, sync_playwright

from taskbus import TaskBus
from taskbus.cli.counting import Counter
from tests.servers.redis_server import RedisServer
from tests.servers.server import find, until

APP = "taskbus.cli.bench_app:app"
PORT = 5599
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")
TICK = os.sysconf("SC_CLK_TCK")
STALLED = 120.0


class Round(NamedTuple):
    """One emptying of the queue. ``cpu`` in seconds and ``rss`` in bytes, of the web server, at most; 0 without it."""

    has_page: bool
    rate: float
    cpu: float
    rss: int
    counted: int
    told: int


class Bench:
    """The places of one round: a Redis that is empty, a folder, a counter that tasks count in."""

    def __init__(self, server: RedisServer, folder: Path) -> None:
        server.cli("FLUSHALL")
        self.folder = folder
        self.counter = Counter.create(str(folder / "counter"))
        self.environment = {
            **os.environ, "TASKBUS_BROKER": server.url, "_TASKBUS_BENCH_COUNTER": str(folder / "counter"),
            "TASKBUS_HISTORY": f"sqlite:///{folder}/history.db",
        }  # fmt: skip
        self.url = server.url

    def fill(self, tasks: int) -> None:
        with TaskBus("bench", broker=self.url) as app, app.batch(max_size=1000):
            for number in range(tasks):
                app.send("bench.noop", [number], queue="bench")

    def start(self, *command: str) -> "subprocess.Popen[bytes]":
        with (self.folder / f"{command[0]}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "taskbus", *command, "-A", APP],
                env=self.environment, cwd=self.folder, stdout=log, stderr=log,
            )  # fmt: skip

    def start_web(self) -> "subprocess.Popen[bytes]":
        web = self.start("web", "--port", str(PORT))
        until(lambda: _answers() or web.poll() is not None, "the web server")
        return web


def _answers() -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{PORT}/healthz/ready", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def told() -> int:
    """How many successes the history tells."""
    with urlopen(f"http://127.0.0.1:{PORT}/api/v1/overview?range=1h", timeout=20) as answer:
        return int(json.load(answer)["counts"]["succeeded"])


def usage(pid: int) -> tuple[float, int]:
    """Seconds of CPU and bytes of memory of a process so far. Source: proc(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK, int(fields[21]) * os.sysconf("SC_PAGE_SIZE")


def empty(bench: Bench, tasks: int, browser: Browser | None) -> Round:
    """Let a worker empty the queue, with the page open or not."""
    bench.fill(tasks)
    web = bench.start_web() if browser else None
    page = browser.new_page() if browser else None
    if page:
        page.goto(f"http://127.0.0.1:{PORT}/")
    worker = bench.start("worker", "-Q", "bench", "-P", "prefork", "-c", "2", "--log-level", "WARNING")
    cpu, rss, is_killed, pause = 0.0, 0, False, Event()
    try:
        until(lambda: bench.counter.total() > 0, "the first task", STALLED)
        began, first = time.monotonic(), bench.counter.total()
        while (count := bench.counter.total()) < tasks:
            if web and count > tasks // 2 and not is_killed:
                cpu += usage(web.pid)[0]
                web.kill()
                web.wait()
                web, is_killed = bench.start_web(), True
            rss = max(rss, usage(web.pid)[1]) if web else 0
            if time.monotonic() - began > STALLED + tasks / 100:
                raise TimeoutError(f"the worker ran {count} of {tasks} tasks")
            pause.wait(0.05)
        rate = (tasks - first) / (time.monotonic() - began)
        said = 0
        if web:
            until(lambda: told() >= tasks, "the history to have all", STALLED)
            said, cpu = told(), cpu + usage(web.pid)[0]
        return Round(browser is not None, rate, cpu, rss, bench.counter.total(), said)
    finally:
        if page:
            page.close()
        for process in filter(None, (worker, web)):
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=100_000, help="a round (default 100,000)")
    parser.add_argument("--rounds", type=int, default=3, help="of each kind (default 3)")
    given = parser.parse_args()
    rounds: list[Round] = []
    with tempfile.TemporaryDirectory(prefix="taskbus-load-") as name:
        server = RedisServer(Path(name))
        server.start()
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=find("chromium"), args=FLAGS)
                for number in range(2 * given.rounds):
                    folder = Path(name, str(number))
                    folder.mkdir()
                    rounds.append(empty(Bench(server, folder), given.tasks, browser if number % 2 else None))
                    print(rounds[-1], flush=True)
                browser.close()
        finally:
            server.kill()
    bare = statistics.median(each.rate for each in rounds if not each.has_page)
    watched = statistics.median(each.rate for each in rounds if each.has_page)
    print(f"without {bare:,.0f}/s, with the page {watched:,.0f}/s: {watched / bare - 1:+.1%}")
    wrong = [each for each in rounds if each.has_page and not each.counted == each.told == given.tasks]
    for each in wrong:
        print(f"WRONG: {each.counted} ran, the history tells {each.told}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
