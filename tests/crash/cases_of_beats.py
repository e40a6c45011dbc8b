"""The named cases of beats: several run, one of them is hurt again and again, and each tick runs once."""

import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import zip_longest
from pathlib import Path

from taskbus import TaskBus, every
from tests.servers.proxy import Proxy

from .beat_app import LEASE
from .checker import Verdict
from .place import Place
from .registry import Cases

case = Cases()
ROOT = Path(__file__).resolve().parent.parent.parent
WARM_UP = 3.0
START_UP = 120.0
PATIENCE = 60.0
SKEWS = (0.0, 2.0, -2.0, 0.0, 1.0)


class Beats:
    """Real beats on a place, by name, each with its own way to the servers; and what their ticks came to."""

    def __init__(
        self, place: Place, count: int, seconds: int, *, skews: Sequence[float] = (), die: Sequence[str] = ()
    ) -> None:
        self.place = place
        self.seconds = seconds
        self.evidence = place.folder / "evidence"
        self.evidence.touch()
        results = place.results.url() if place.results else None
        self.app = TaskBus("looker", broker=place.broker.url(), results=results, publish_timeout=PATIENCE)
        self.app.task(name="tick")(lambda: None)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.proxies: dict[str, list[Proxy]] = {}
        self.logs: dict[str, Path] = {}
        self.killed = 0
        self._skews = dict(zip(self._names(count), skews, strict=False))
        self._closing = ExitStack()
        self.app.broker.queues()
        self.app.schedules.list()  # whoever comes first makes the tables
        for name, step in zip_longest(self._names(count), die, fillvalue=""):
            self.launch(name, step)
        until(lambda: all(self._is_up(name) for name in self.processes), "all beats to be up", START_UP)
        self.leader()
        self.start = math.ceil(time.time() + WARM_UP)
        times = every(1, anchor=0, start=self.start, end=self.start + seconds)
        self.app.schedules.add("tick", self.app.tasks["tick"].s(), times, catch_up="all")

    def _is_up(self, name: str) -> bool:
        assert self.processes[name].poll() is None, f"{name} has left"
        return "lease" in self.logs[name].read_text()

    def _names(self, count: int) -> list[str]:
        return [f"beat-{n}" for n in range(count)]

    def launch(self, name: str, dies: str = "") -> None:
        """Start a beat, or another one in the place of one that was killed; ``dies``: at which step it kills itself."""
        if name not in self.proxies:
            homes = [home for home in self.place.homes if home.port]
            self.proxies[name] = [self._closing.enter_context(Proxy(home.port)) for home in homes]
        variables = self._variables(self.proxies[name]) | {"CRASH_BEAT_SKEW": str(self._skews.get(name, 0.0))}
        if dies:
            variables["TASKBUS_FAILPOINTS"] = dies
        unique = f"{name}.{time.monotonic_ns()}"
        command = [sys.executable, "-m", "taskbus", "beat", "-A", "tests.crash.beat_app:app", "--name", unique]
        self.logs[name] = self.place.folder / f"{unique}.log"
        with self.logs[name].open("wb") as log:
            self.processes[name] = subprocess.Popen(
                command, env=os.environ | variables, cwd=ROOT, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def _variables(self, proxies: Sequence[Proxy] = ()) -> dict[str, str]:
        ports = iter(proxies)
        urls = [home.url(next(ports).port if home.port and proxies else 0) for home in self.place.homes]
        return {
            "CRASH_BEAT_BROKER": urls[0],
            "CRASH_BEAT_RESULTS": urls[1] if len(urls) > 1 else "",
            "CRASH_BEAT_EVIDENCE": str(self.evidence),
        }

    # --- what happens to them ---

    def leader(self, but: str = "") -> str:
        """The name of the one that leads, when it is another than ``but``."""
        found: list[str] = []

        def leads() -> bool:
            name = self.app.schedules.places().schedules.leader().partition(".")[0]
            found[:] = [name] if name in self.processes and name != but else []
            return bool(found)

        until(leads, f"another beat than {but!r} to lead")
        return found[0]

    def kill(self) -> None:
        """SIGKILL the leader; when another one leads, start it again."""
        name = self.leader()
        self.processes[name].kill()
        self.processes[name].wait()
        self.killed += 1
        self.leader(but=name)
        self.launch(name)

    def bring_back(self) -> None:
        """Wait until all have killed themselves, one after the other, and start them again without that."""
        for name, process in self.processes.items():
            until(lambda process=process: process.poll() is not None, f"{name} to kill itself")
            self.killed += 1
        for name in list(self.processes):
            self.launch(name)

    def stop_for(self, seconds: float) -> None:
        """SIGSTOP the leader for so long, while another one leads; it goes on where it was."""
        name, begun = self.leader(), time.monotonic()
        self.processes[name].send_signal(signal.SIGSTOP)
        try:
            self.leader(but=name)
            until(lambda: time.monotonic() > begun + seconds, "time to pass")
        finally:
            self.processes[name].send_signal(signal.SIGCONT)

    def cut_off_for(self, seconds: float) -> None:
        """Let nothing through to the leader, or from it, for so long; a file's beat is stopped instead."""
        name, begun = self.leader(), time.monotonic()
        if not self.proxies[name]:
            self.stop_for(seconds)
            return
        for proxy in self.proxies[name]:
            proxy.blackhole()
        try:
            self.leader(but=name)
            until(lambda: time.monotonic() > begun + seconds, "time to pass")
        finally:
            for proxy in self.proxies[name]:
                proxy.heal()

    def at(self, second: float, act: Callable[[], None]) -> None:
        """Do something that many seconds after the first tick, or later."""
        until(lambda: time.time() >= self.start + second, "the second to come")
        act()

    # --- what it came to ---

    def finish(self) -> Verdict:
        """Wait until all was sent, end the beats, run the tasks, and look at what ran."""
        until(self._is_sent, "every tick to be sent", self.seconds + PATIENCE)
        left = [name for name, process in self.processes.items() if process.poll() is not None]
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        left += [name for name, process in self.processes.items() if process.wait(PATIENCE) != 0]
        with self._worker():
            until(lambda: len(self._ran()) >= self.seconds and self._is_drained(), "all tasks to run")
        wanted = {self.start + n for n in range(self.seconds)}
        counts = Counter(nominal for nominal, _ in self._ran())
        return Verdict(
            attempted=self.seconds,
            acked=self.seconds,
            finished=len(counts),
            gone=sorted(map(str, wanted - counts.keys())),
            unexpected=sorted(map(str, counts.keys() - wanted)),
            dup=sorted(str(nominal) for nominal, count in counts.items() if count > 1),
            orphans=left,
        )

    def _is_sent(self) -> bool:
        info = self.app.schedules.get("tick")
        assert info.missed == 0, info
        return info.sent == self.seconds and not self.app.schedules.places().schedules.pending(1)

    def _is_drained(self) -> bool:
        return all(size.ready + size.delayed + size.running == 0 for size in self.app.broker.queues())

    def _ran(self) -> list[tuple[float, str]]:
        lines = self.evidence.read_text().splitlines()
        return [(float(nominal), task_id) for nominal, task_id in map(str.split, lines)]

    @contextmanager
    def _worker(self) -> Iterator[None]:
        command = [sys.executable, "-m", "taskbus", "worker", "-A", "tests.crash.beat_app:app", "--processes", "1"]
        with (self.place.folder / "worker.log").open("wb") as log:
            process = subprocess.Popen(
                command, env=os.environ | self._variables(), cwd=ROOT, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        try:
            yield
        finally:
            process.terminate()
            process.wait(PATIENCE)

    def __enter__(self) -> "Beats":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait()
        self._closing.close()
        self.app.close()


def until(is_true: Callable[[], bool], what: str, timeout: float = PATIENCE) -> None:
    """Return when it is; fail after ``timeout`` seconds."""
    deadline, pause = time.monotonic() + timeout, threading.Event()
    while not is_true():
        assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
        pause.wait(0.02)


@case(
    "6", "five beats, sixty ticks, their leader killed, stopped for three leases and cut off, clocks wrong", apart=True
)
def five_beats(place: Place) -> Verdict:
    with Beats(place, 5, 60, skews=SKEWS) as beats:
        beats.at(5, beats.kill)
        beats.at(12, lambda: beats.stop_for(3 * LEASE))
        beats.at(24, lambda: beats.cut_off_for(3 * LEASE))
        beats.at(36, beats.kill)
        beats.at(44, lambda: beats.stop_for(3 * LEASE))
        beats.at(54, beats.kill)
        verdict = beats.finish()
        assert beats.killed == 3
        return verdict


@case("6b", "three beats, ten ticks, their leader killed", quick=True)
def three_beats(place: Place) -> Verdict:
    with Beats(place, 3, 10) as beats:
        beats.at(3, beats.kill)
        return beats.finish()


@case("6c", "each of three beats kills itself at another step of sending", apart=True)
def at_each_step(place: Place) -> Verdict:
    between = ("beat.recorded", "beat.published") if place.results else ("settle.inside", "beat.after")
    with Beats(place, 3, 20, die=[f"{step}:kill9@2" for step in ("beat.before", *between)]) as beats:
        beats.bring_back()
        verdict = beats.finish()
        assert beats.killed == 3
        return verdict


@case("7", "the leader of three beats is stopped for three leases, and goes on", apart=True)
def stopped_leader(place: Place) -> Verdict:
    with Beats(place, 3, 12) as beats:
        beats.at(3, lambda: beats.stop_for(3 * LEASE))
        return beats.finish()
