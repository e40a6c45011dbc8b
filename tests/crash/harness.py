"""One cell of the suite: a queue in a folder, real worker processes, a nemesis, and a verdict at the end.

Everything waits for a condition with a deadline. Only processes this harness has started are ever killed, by pid.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from taskbus import TaskBus
from taskbus.codec import decode
from taskbus.errors import BrokerError, CodecError, StoreError
from taskbus.store.base import Filter
from taskbus.wire import formats

from . import chaos, flow_sending, producer
from .checker import Verdict, check
from .environment import BROKER, CLOCK, FAILPOINTS, LEDGER, MUTANT, RESULTS
from .history import Rules, join
from .ledger import Event, Ledger, View, now, open_sink
from .place import Place, declare
from .victim import Worker, send_signal

TESTS = Path(__file__).resolve().parent.parent
POLL = 0.02
DYING = 2.0
"""Seconds that the processes of a dead supervisor may outlive it."""


class TimedOut(AssertionError):
    """A condition did not come true in time; the message says which, and what the cell looks like."""


class Cell:
    """One run of one scenario in ``place``. A context manager: leaving it ends every process it started.

    ``app`` sends, by the wires that a cell may break; ``eye`` looks, past them. ``shared``: Celery's queues.
    """

    def __init__(self, place: Place, rules: Rules | None = None, *, shared: tuple[str, ...] = ()) -> None:
        self.place = place
        self.folder = folder = place.folder
        self.rules = rules or Rules()
        (folder / "ledger").mkdir(parents=True)
        self.ledger = Ledger(folder / "ledger")
        open_sink(folder / "ledger")
        self.view = View(folder / "ledger")
        self.shared = shared
        self.app = TaskBus("crash", broker=place.broker_url, results=place.results_url or None, celery_queues=shared)
        self.eye = self.app
        if place.has_wires:
            results = place.results.url() if place.results else None
            self.eye = TaskBus("eye", broker=place.broker.url(), results=results, celery_queues=shared)
        self.rules = replace(self.rules, forks=not self.eye.broker.features.atomic_settle)
        if not self.eye.broker.features.lists:
            for queue in shared or ("default",):
                declare(self.eye.broker, queue)  # only what it has named will it see
        self.eye.broker.queues()  # the tables are made now: later on a stopped process may hold the lock
        self.eye.store.results(["none"])
        self.workers: list[Worker] = []
        self.raw: dict[bytes, str] = {}
        self._seen: dict[str, tuple[str, Any]] = {}
        self._letters: set[tuple[str, float]] = set()
        self._count = 0
        self._outages = 0
        self._healing: list[tuple[float, list[int]]] = []

    def __enter__(self) -> "Cell":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for worker in self.workers:
            worker.look()
            for pid in worker.family:
                if chaos.is_alive(pid):
                    send_signal(pid, signal.SIGKILL)
            worker.process.wait()
        self.app.close()
        self.eye.close()

    # --- sending -------------------------------------------------------------------------------------------------

    def send(self, task: str, *args: Any, count: int = 1, **options: Any) -> list[str]:
        """Send ``count`` tasks from this process; returns the harness's ids. For the options see ``producer.send``."""
        ids = [self.new_id() for _ in range(count)]
        for id in ids:
            producer.send(self.app, self.ledger, task, id, *args, **options)
        return ids

    def send_flow(self, build: flow_sending.Build) -> Any:
        """Send a workflow from this process; see ``flow_sending.send_flow``."""
        return flow_sending.send_flow(self.app, self.ledger, iter(self.new_id, ""), build)

    def send_batch(self, build: Callable[[flow_sending.Parts], flow_sending.Filling]) -> None:
        """Fill a batch from this process; see ``flow_sending.send_batch``."""
        flow_sending.send_batch(self.app, self.ledger, iter(self.new_id, ""), build)

    def new_id(self) -> str:
        self._count += 1
        return f"t{self._count:04}"

    def produce(
        self,
        sends: Sequence[tuple[str, str, dict[str, Any]]] = (),
        *,
        batch: int = 0,
        flows: Mapping[str, Any] | None = None,
        faults: str = "",
        mutant: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Send from a process of its own, which ``faults`` may kill; ``flows`` as ``producer.send_flows`` takes it."""
        asked = json.dumps({"sends": sends, "batch": batch, "flows": flows})
        with (self.folder / "producer.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "crash.producer", asked],
                env={**self.environment(faults, mutant), **(environment or {})},
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    # --- workers -------------------------------------------------------------------------------------------------

    def worker(
        self,
        *,
        faults: str = "",
        mutant: str = "",
        module: str = "app",
        output: int = -1,
        is_direct: bool = False,
        environment: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Worker:
        """Start a worker; ``faults`` as ``CRASH_FAILPOINTS``, ``options`` as ``WorkerOptions``.

        ``is_direct``: past the wire that the cell may break.
        """
        settings = {"processes": 2, "lease": self.rules.lease, "grace": 5.0, **options}
        settings["overrides"] = {"sweep": self.rules.sweep, **settings.get("overrides", {})}
        log = self.folder / f"worker-{len(self.workers)}.log"
        with log.open("ab") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "crash.worker_main", module, json.dumps(settings)],
                env={**self.environment(faults, mutant, is_direct=is_direct), **(environment or {})},
                cwd=self.folder,
                stdout=file if output < 0 else output,
                stderr=file,
                start_new_session=True,
            )
        worker = Worker(process, log, settings["grace"])
        self.workers.append(worker)
        return worker

    def environment(self, faults: str = "", mutant: str = "", *, is_direct: bool = False) -> dict[str, str]:
        own = {
            LEDGER: str(self.ledger.folder),
            BROKER: self.place.broker.url() if is_direct else self.place.broker_url,
            RESULTS: self.place.results_url,
            FAILPOINTS: faults,
            CLOCK: str(self.folder / "clock"),
            MUTANT: mutant,
            "TASKBUS_CELERY_QUEUES": ",".join(self.shared),
            "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}",
        }
        inherited = {
            key: value for key, value in os.environ.items() if not key.startswith(("TASKBUS_", "CRASH_", "PYTHONUNB"))
        }
        return inherited | own

    def strike(self, worker: Worker, action: str, victim: str = "group") -> None:
        """Do to the worker what a failpoint would, from outside."""
        worker.look()
        worker.is_stopping |= action == "term" and victim != "runner"
        chaos.strike(self.ledger, action, victim, worker.pid)

    def stop(self, worker: Worker, *, status: int = 0, within: float | None = None) -> None:
        """SIGTERM, and note in the ledger if it does not leave in time, with ``status`` and without a trace."""
        ready = time.monotonic() + 10.0
        while worker.is_alive and not chaos.victims("runner", worker.pid) and time.monotonic() < ready:
            time.sleep(POLL)  # before it has runners, SIGTERM ends it as it ends any process
        worker.look()
        if not worker.is_stopping:
            worker.is_stopping = True
            send_signal(worker.pid, signal.SIGTERM)
        deadline = worker.grace + 5.0 if within is None else within
        try:
            left = worker.process.wait(timeout=deadline)
            why = "" if left == status else f"worker {worker.pid} left with status {left}, not {status}"
        except subprocess.TimeoutExpired:
            why = f"worker {worker.pid} did not leave within {deadline:g} s of SIGTERM"
        self.ledger.log("exit", why=why)

    # --- waiting -------------------------------------------------------------------------------------------------

    @property
    def events(self) -> list[Event]:
        return self.view.refresh()

    def of(self, kind: str, *ids: str) -> list[Event]:
        """The events of one kind, of all tasks or of some."""
        return [event for event in self.events if event["ev"] == kind and (not ids or event["id"] in ids)]

    def open_runs(self, *ids: str) -> list[Event]:
        """Starts that have neither ended nor failed yet."""
        over = {event["run"] for event in self.events if event["ev"] in ("end", "err")}
        return [event for event in self.of("start", *ids) if event["run"] not in over]

    def faults(self) -> list[Event]:
        """What the nemesis did so far."""
        return [event for event in self.of("nem") if event["on"]]

    def until(self, condition: Callable[[], Any], what: str, timeout: float = 20.0) -> Any:
        """Wait until ``condition`` is true, observing and healing meanwhile; returns its value."""
        deadline = time.monotonic() + timeout
        while not (value := condition()):
            if time.monotonic() > deadline:
                raise TimedOut(f"waited {timeout:g} s for: {what}\n{self.describe()}")
            self.tick()
            time.sleep(POLL)
        return value

    def tick(self) -> None:
        """What goes on all the time: look at the processes, read the results, wake up what was stopped long enough."""
        for worker in self.workers:
            if not worker.is_buried:
                self._look(worker)
        for at, pids in [entry for entry in self._healing if entry[0] <= now()]:
            self._healing.remove((at, pids))
            self.wake(pids)
        with self.undeterred():
            self.observe()

    def wake(self, pids: list[int]) -> None:
        """SIGCONT, noted in the ledger."""
        self.ledger.log("nem", fault="awake", on=False, action="stop", victim="", worker=0, pids=pids)
        for pid in pids:
            send_signal(pid, signal.SIGCONT)

    def wake_after(self, seconds: float) -> None:
        """Plan SIGCONT for every process that is stopped, so many seconds after it was."""
        for event in self.faults():
            if event["action"] == "stop":
                self._healing.append((event["t"] + seconds, event["pids"]))

    def move_clock(self, seconds: float) -> None:
        """Put the wall clock of all supervisors off by so much, in one step."""
        (self.folder / "clock.new").write_text(str(seconds))
        (self.folder / "clock.new").rename(self.folder / "clock")
        self.ledger.log("clock", by=seconds)

    @property
    def is_healing(self) -> bool:
        """Whether something is stopped that is still to be woken."""
        return bool(self._healing)

    def open(self, gate: str) -> None:
        """Let the tasks go on that wait for this gate."""
        (self.ledger.folder / f"gate-{gate}").touch()

    def _look(self, worker: Worker) -> None:
        """Note which of its processes are gone, and when a dead supervisor leaves some behind."""
        if worker.is_alive:
            worker.look()
        elif not worker.died_at:
            worker.died_at = now()
            struck = any(worker.pid in event["pids"] and event["action"] != "stop" for event in self.faults())
            if not struck and not worker.is_stopping:
                self.ledger.log("exit", why=f"worker {worker.pid} died by itself: {worker.process.returncode}")
        for pid in worker.family - worker.gone:
            if not chaos.is_alive(pid):
                worker.gone.add(pid)
                self.ledger.log("gone", of=pid)
        if worker.died_at:
            worker.is_buried = worker.gone == worker.family
            if not worker.is_buried and now() - worker.died_at > DYING:
                left = sorted(worker.family - worker.gone)
                self.ledger.log("exit", why=f"{left} outlived their supervisor {worker.pid} by {DYING:g} s")
                worker.is_buried = True

    # --- observing -----------------------------------------------------------------------------------------------

    def observe(self) -> None:
        """Log what the results and the dead letters say, where that is new. Reads through the public interface."""
        names = {event["lib"]: event["id"] for event in self.of("pub_try")}
        found = self.eye.store.results(list(names))
        for lib, id in names.items():
            result = found.get(lib)
            if result is None:
                state, token = "PENDING", None
            else:
                state, token = str(result.state), _token(result.value, result.content_type)
            if (state, token) != self._seen.get(id, ("PENDING", None)):
                self._seen[id] = (state, token)
                self.ledger.log("res_seen", id, state=state, token=token)
        for letter in self.eye.store.dead_letters(Filter(), limit=10_000):
            if (letter.task_id, letter.dead_at) not in self._letters:
                self._letters.add((letter.task_id, letter.dead_at))
                id = names.get(letter.task_id) or self.raw.get(letter.wire, letter.task_id)
                self.ledger.log("dlq_seen", id, reason=str(letter.reason))

    def residue(self) -> tuple[int, list[str]]:
        """How many messages the broker still has, and the harness's ids of those that can be read."""
        sizes = self.eye.broker.queues()
        ids = []
        for size in sizes:
            for delivery in self.eye.broker.peek(size.name, 1000):
                message = formats.decode(delivery.wire, delivery.queue, delivery.priority, 1 << 20)
                ids.append(str(decode(message.body, message.content_type)[0][0]))
        return sum(size.ready + size.delayed + size.running for size in sizes), ids

    def is_drained(self) -> bool:
        """Whether everything accepted has come to an end, on record, and nothing is left on a queue."""
        joined = join(self.events)
        with self.undeterred():
            return (
                all(joined.finished(id) for id in joined.acked)
                and all(
                    self._seen.get(id, ("",))[0] in ("SUCCESS", "FAILURE", "REVOKED")
                    for id in joined.acked
                    if joined.tried[id]["results"]
                )
                and sum(size.ready + size.delayed + size.running for size in self.eye.broker.queues()) == 0
            )
        return False

    @contextmanager
    def undeterred(self) -> Iterator[None]:
        """A look at broker or results that may fail where a server is in trouble; never at a file."""
        try:
            yield
        except (BrokerError, StoreError):
            if self.place.kind == "sqlite":
                raise

    @contextmanager
    def outage(self, what: str) -> Iterator[None]:
        """The time for which broker or wire do not do what they should, in the ledger: runs may end in vain."""
        number = self._count_outage()
        noted = {"fault": what, "action": "outage", "victim": "broker", "worker": 0, "pids": [number]}
        self.ledger.log("nem", on=True, **noted)
        try:
            yield
        finally:
            self.ledger.log("nem", on=False, **noted)

    def _count_outage(self) -> int:
        """A number below any pid's, by which the end of an outage finds its begin."""
        self._outages -= 1
        return self._outages

    def finish(self, timeout: float = 0.0) -> Verdict:
        """Drain, stop the workers, and check. Never raises for what the checker can say better."""
        self.ledger.log("drain_begin")
        try:
            self.until(self.is_drained, "everything accepted to come to an end", timeout or self.rules.drain)
        except TimedOut as error:
            (self.folder / "timed_out.txt").write_text(str(error))
        self.wake([pid for worker in self.workers for pid in worker.family if chaos.is_stopped(pid)])
        for worker in self.workers:
            if worker.is_alive:
                self.stop(worker)
        deadline = time.monotonic() + DYING + 1.0
        while not all(worker.is_buried for worker in self.workers) and time.monotonic() < deadline:
            self.tick()
            time.sleep(POLL)
        self.observe()
        for problem in self.place.problems():
            self.ledger.log("exit", why=problem)
        left, ids = self.residue()
        self.ledger.log("quiesced", left=left, ids=ids)
        return check(self.events, self.rules)

    def describe(self) -> str:
        """The cell in a few lines, for a failure's message."""
        tail = [f"  {event['t']:.3f} {event['ev']} {event['id']} {event}"[:240] for event in self.events[-25:]]
        logs = [
            f"--- {path.name}\n{path.read_text(errors='replace')[-2000:]}" for path in sorted(self.folder.glob("*.log"))
        ]
        return "\n".join(["last events:", *tail, *logs])


def _token(value: bytes | None, content_type: str) -> Any:
    try:
        return None if value is None else decode(value, content_type)
    except CodecError:
        return "unreadable"
