"""What the page costs a worker, and whether it counts right: ``python benchmarks/page_under_load.py``.

Tasks are sent through Redis at a steady rate, and one worker runs them: without the web server and with it, its page
open in Chromium, in turns. In the middle of each round with the page the web server is killed and started again; at the
end its history must tell exactly what the tasks themselves counted. With ``--rate 0`` a filled queue is emptied at full
speed instead: then the page, Chromium and the worker share the cores.

Prints a line a round and medians, and holds them against the limits: a worker that spends at most a twentieth more CPU
on a task (or, at full speed, runs that much less), a web server of at most 150 MB and a fifth of a core, its start left
out.
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
from threading import Event, Thread
from typing import NamedTuple
from urllib.request import urlopen

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from playwright.sync_api import Browser, sync_playwright

from taskbus import TaskBus
from taskbus.cli.counting import Counter
from tests.servers.redis_server import RedisServer
from tests.servers.server import family, find, until

APP = "taskbus.cli.bench_app:app"
PORT = 5599
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")
TICK = os.sysconf("SC_CLK_TCK")
STALLED = 120.0
EVERY = 0.02
"""Seconds between two batches that are sent."""
MOST_SLOWED, MOST_BYTES, MOST_OF_A_CORE = 0.05, 150_000_000, 0.20


class Round(NamedTuple):
    """One round. ``rate``: tasks a second; ``cost``: CPU microseconds of the worker's processes for a task.

    Of the web server: ``share`` of a core while it ran, and ``rss`` in bytes, at most; 0 without it.
    """

    has_page: bool
    rate: float
    cost: float
    share: float
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

    def send(self, tasks: int, rate: int) -> None:
        """Send them all, so many a second; 0: as fast as it goes."""
        pause, began = Event(), time.monotonic()
        with TaskBus("bench", broker=self.url) as app:
            sent = 0
            while sent < tasks:
                due = min(tasks, int((time.monotonic() - began) * rate)) if rate else tasks
                with app.batch(max_size=1000):
                    for number in range(sent, due):
                        app.send("bench.noop", [number], queue="bench")
                sent = max(sent, due)
                pause.wait(EVERY)

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


class Web:
    """The web server of a round, which is killed and started again, and what its lives cost once they had begun."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._cpu, self._lived, self.rss = 0.0, 0.0, 0
        self._begin()

    def _begin(self) -> None:
        self.process = self._bench.start_web()
        self._since, self._used = time.monotonic(), usage(self.process.pid)[0]

    def look(self) -> None:
        self.rss = max(self.rss, usage(self.process.pid)[1])

    def end(self) -> None:
        """Count what this life has cost."""
        self._cpu += usage(self.process.pid)[0] - self._used
        self._lived += time.monotonic() - self._since

    def restart(self) -> None:
        self.end()
        self.process.kill()
        self.process.wait()
        self._begin()

    @property
    def share(self) -> float:
        return self._cpu / self._lived


def run(bench: Bench, tasks: int, rate: int, browser: Browser | None) -> Round:
    """Let a worker run them all, with the page open or not."""
    if not rate:
        bench.send(tasks, rate)
    web = Web(bench) if browser else None
    page = browser.new_page() if browser else None
    if page:
        page.goto(f"http://127.0.0.1:{PORT}/")
    worker = bench.start("worker", "-Q", "bench", "-P", "prefork", "-c", "2", "--log-level", "WARNING")
    sender = Thread(target=bench.send, args=(tasks, rate), daemon=True)
    is_killed, pause = False, Event()
    try:
        if rate:
            sender.start()
        until(lambda: bench.counter.total() > 0, "the first task", STALLED)
        began, first = time.monotonic(), bench.counter.total()
        pids = family(worker.pid)
        used = sum(usage(pid)[0] for pid in pids)
        while (count := bench.counter.total()) < tasks:
            if web and count > tasks // 2 and not is_killed:
                web.restart()
                is_killed = True
            if web:
                web.look()
            if time.monotonic() - began > STALLED + tasks / (rate or 100):
                raise TimeoutError(f"the worker ran {count} of {tasks} tasks")
            pause.wait(0.05)
        took = time.monotonic() - began
        cost = (sum(usage(pid)[0] for pid in pids) - used) / (tasks - first) * 1e6
        said = 0
        if web:
            web.end()
            until(lambda: told() >= tasks, "the history to have all", STALLED)
            said = told()
        share, rss = (web.share, web.rss) if web else (0.0, 0)
        return Round(browser is not None, (tasks - first) / took, cost, share, rss, bench.counter.total(), said)
    finally:
        if page:
            page.close()
        for process in [worker, web.process] if web else [worker]:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def judge(rounds: list[Round], tasks: int, *, is_steady: bool) -> int:
    """Print the medians and what is beyond its limit; 1 if anything is."""
    bare, watched = ([each for each in rounds if each.has_page is has_page] for has_page in (False, True))
    median = statistics.median
    cost = [median(each.cost for each in kind) for kind in (bare, watched)]
    rate = [median(each.rate for each in kind) for kind in (bare, watched)]
    share, rss = median(each.share for each in watched), max(each.rss for each in watched)
    slowed = cost[1] / cost[0] - 1 if is_steady else 1 - rate[1] / rate[0]
    print(f"worker: {rate[0]:,.0f}/s and {cost[0]:.1f} us a task without the page", end=", ")
    print(f"{rate[1]:,.0f}/s and {cost[1]:.1f} us with it: slowed by {slowed:.1%} (at most {MOST_SLOWED:.0%})")
    print(f"web server: {share:.1%} of a core (at most {MOST_OF_A_CORE:.0%})", end=", ")
    print(f"{rss / 1e6:.0f} MB (at most {MOST_BYTES / 1e6:.0f})")
    wrong = [each for each in watched if not each.counted == each.told == tasks]
    for each in wrong:
        print(f"WRONG: {each.counted} ran, the history tells {each.told}")
    is_beyond = slowed > MOST_SLOWED or share > MOST_OF_A_CORE or rss > MOST_BYTES
    return 1 if wrong or is_beyond else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=300_000, help="a round (default 300,000)")
    parser.add_argument("--rate", type=int, default=10_000, help="tasks sent a second (default 10,000); 0: full speed")
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
                    shown = browser if number % 2 else None
                    rounds.append(run(Bench(server, folder), given.tasks, given.rate, shown))
                    print(rounds[-1], flush=True)
                browser.close()
        finally:
            server.kill()
    return judge(rounds, given.tasks, is_steady=given.rate > 0)


if __name__ == "__main__":
    sys.exit(main())
