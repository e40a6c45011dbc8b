"""The named cases about workers in trouble of other kinds: other pools, lost pipes, no descriptors, replacement."""

import os
import random
import resource
import sqlite3
from contextlib import closing
from dataclasses import replace

from . import chaos
from .cases import GATE, RULES, is_complete, running
from .cases_of_mutants import clock_jumps_ahead
from .cases_of_storage import database_of
from .checker import Verdict
from .harness import Cell
from .ledger import now
from .place import Place
from .registry import Cases

case = Cases()


@case("2b", "a worker of thread slots is killed in the middle of bodies")
def killed_threads(place: Place) -> Verdict:
    return _killed_pool(place, "threads", "hold", 6)


@case("2c", "a worker of coroutine slots is killed in the middle of bodies")
def killed_coroutines(place: Place) -> Verdict:
    return _killed_pool(place, "asyncio", "ahold", 20)


@case("2d", "a worker whose runners are started by spawn is killed in the middle of bodies")
def killed_spawned(place: Place) -> Verdict:
    return _killed_pool(place, "prefork", "hold", 2, start_method="spawn")


def _killed_pool(place: Place, pool: str, task: str, count: int, **overrides: str) -> Verdict:
    with Cell(place) as cell:
        cell.send(task, GATE, count=count)
        cell.send("quick", count=5)
        worker = cell.worker(pool=pool, concurrency=count, processes=None, overrides=overrides)
        running(cell, count)
        cell.strike(worker, "kill9", "supervisor")
        cell.until(lambda: worker.is_buried, "its processes to be gone", 2.5)
        cell.worker(pool=pool, concurrency=count, processes=None, overrides=overrides)
        cell.open(GATE)
        return cell.finish()


@case("2e", "a supervisor is killed as soon as its runners' server exists, which is about to import a slow app")
def killed_while_starting(place: Place) -> Verdict:
    with Cell(place) as cell:
        cell.send("quick", count=3)
        worker = cell.worker(module="slow_app")
        cell.until(lambda: chaos.children(worker.pid), "the server")
        cell.strike(worker, "kill9", "supervisor")
        cell.until(lambda: worker.is_buried, "its processes to be gone", 2.5)
        cell.worker()
        return cell.finish()


@case(
    "12b",
    "SIGTERM while the file is locked: the worker leaves all the same, its tasks come back by the lease",
    on=("sqlite",),
)
def stop_while_locked(place: Place) -> Verdict:
    with Cell(place, replace(RULES, sigterm_interrupts=True, slack=30.0)) as cell:
        cell.send("hold", GATE, count=2)
        worker = cell.worker(grace=0.5)
        running(cell, 2)
        with closing(sqlite3.connect(database_of(place), isolation_level=None, timeout=10.0)) as foreign:
            foreign.execute("BEGIN EXCLUSIVE")
            cell.strike(worker, "term", "supervisor")
            begin = now()
            cell.until(lambda: not worker.is_alive, "the worker to leave", 40.0)
            assert worker.process.returncode == 1, worker.process.returncode
            assert now() - begin < 30.0, now() - begin
            foreign.execute("ROLLBACK")
        cell.worker()
        cell.open(GATE)
        return cell.finish()


@case("13b", "SIGTERM at any time while a worker starts: nothing is lost, nobody left")
def stop_while_starting(place: Place) -> Verdict:
    with Cell(place, replace(RULES, sigterm_interrupts=True)) as cell:
        cell.send("brief", 0.2, count=12)
        for tenths in range(1, 10):
            worker = cell.worker(grace=0.1)
            begin = now()
            cell.until(lambda begin=begin, tenths=tenths: now() - begin > tenths / 10, f"{tenths} tenths of a second")
            cell.strike(worker, "term", "supervisor")
            cell.until(lambda worker=worker: not worker.is_alive, "the worker to leave", 5.0)
            assert worker.process.returncode in (0, -15), worker.process.returncode
        cell.worker()
        return cell.finish()


@case("20b", "a message with which the whole worker dies each time buries no innocent with it")
def poison_among_innocents(place: Place) -> Verdict:
    with Cell(place) as cell:
        cell.send("quick", count=3)
        (id,) = cell.send("doomsday", expect="dead", results=False)
        cell.send("quick", count=3)
        for _ in range(3):
            fault = "intake.doomsday:kill9.group@1"
            worker = cell.worker(mutant="doomsday", faults=fault, overrides={"max_losses": 3})
            cell.until(lambda worker=worker: not worker.is_alive, "the worker to die")
            (cell.ledger.folder / "struck-intake.doomsday").unlink()
        cell.worker(overrides={"max_losses": 3})
        verdict = cell.finish(10.0)
        assert [event["reason"] for event in cell.of("dlq_seen", id)] == ["poison"]
        return verdict


@case("81", "an idle worker starts what is sent at once, whatever happened before")
def idle_worker_wakes(place: Place) -> Verdict:
    with Cell(place) as cell:
        worker = cell.worker()
        cell.until(is_complete(worker), "the runners")
        for turn in range(4):
            (id,) = cell.send("quick")
            cell.until(lambda id=id: cell.of("end", id), f"turn {turn}: it to end", 1.0)
            (id,) = cell.send("quick", countdown=0.5)
            cell.until(lambda id=id: cell.of("end", id), f"turn {turn}: the delayed one to end", 1.5)
            process = cell.produce([("quick", cell.new_id(), {})])
            cell.until(lambda process=process: process.poll() is not None, "a producer to end")
            cell.until(lambda: len(cell.of("end")) == len(cell.of("pub_ok")), f"turn {turn}: its task to end", 1.0)
            if turn % 2:
                cell.strike(worker, "kill9", "runner")
                cell.until(is_complete(worker), "new runners", 2.0)
        return cell.finish()


@case("18", "runners are replaced after every three tasks: nothing is run twice")
def replaced_runners(place: Place) -> Verdict:
    with Cell(place) as cell:
        cell.send("quick", count=60)
        cell.send("aquick", count=30)
        cell.send("flaky", count=10)
        cell.worker(max_tasks_per_runner=3)
        verdict = cell.finish()
        assert verdict.reruns == 0, verdict
        assert len({event["pid"] for event in cell.of("start")}) > 10
        return verdict


@case("19b", "a task that segfaults in a worker without runners (solo), restarted each time, among healthy ones")
def segfault_in_solo(place: Place) -> Verdict:
    with Cell(place, replace(RULES, runner_death=10.0)) as cell:
        cell.send("quick", count=6)
        (id,) = cell.send("segfault", expect="dead")
        cell.send("quick", count=6)
        overrides = {"max_losses": 3}
        worker = cell.worker(pool="solo", overrides=overrides)
        for _ in range(4):
            cell.until(lambda worker=worker: not worker.is_alive or cell.is_drained(), "it to die or to be done", 15.0)
            if worker.is_alive:
                break
            worker = cell.worker(pool="solo", overrides=overrides)
        verdict = cell.finish(20.0)
        assert [event["reason"] for event in cell.of("dlq_seen", id)] == ["poison"]
        return verdict


@case("49a", "the wall clock jumps an hour ahead while tasks run")
def clock_ahead(place: Place) -> Verdict:
    return clock_jumps_ahead(place, "")


@case("49b", "the wall clock falls back an hour while tasks run")
def clock_back(place: Place) -> Verdict:
    with Cell(place) as cell:
        cell.move_clock(3600.0)
        cell.send("hold", GATE, count=2)
        workers = [cell.worker(), cell.worker()]
        cell.until(lambda: all(is_complete(worker)() for worker in workers), "both workers")
        running(cell, 2)
        cell.move_clock(0.0)
        begin = now()
        cell.until(lambda: now() - begin > 2 * cell.rules.lease, "two leases to pass")
        cell.open(GATE)
        cell.send("quick", count=5)
        cell.send("flaky", count=2)
        return cell.finish()


@case("65", "the worker's output goes into a pipe that nobody reads any more")
def closed_pipe(place: Place) -> Verdict:
    with Cell(place) as cell:
        cell.send("suicide", count=2)
        cell.send("quick", count=10)
        read, write = os.pipe()
        os.close(read)
        cell.worker(output=write, module="talking_app")
        os.close(write)
        return cell.finish(20.0)


@case("66", "the supervisor has no file descriptors left when it has to replace its runners")
def no_descriptors(place: Place) -> Verdict:
    with Cell(place, replace(RULES, runner_death=10.0)) as cell:
        cell.send("quick", count=10)
        worker = cell.worker()
        cell.until(cell.is_drained, "the first tasks to end")
        limit = len(os.listdir(f"/proc/{worker.pid}/fd"))
        old = resource.prlimit(
            worker.pid, resource.RLIMIT_NOFILE, (limit - 2, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        )
        ids = cell.send("suicide", count=2)
        cell.send("quick", count=4)
        cell.until(lambda: len(cell.of("start", *ids)) >= 2 or not worker.is_alive, "both runners to die", 10.0)
        begin = now()
        cell.until(lambda: now() - begin > 1.0 or not worker.is_alive, "it to go without for a second")
        if worker.is_alive:
            resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, old)
        return cell.finish(20.0)


@case("80", "a task expires while no worker is alive: it never starts")
def expired(place: Place) -> Verdict:
    with Cell(place) as cell:
        ids = cell.send("quick", count=3, expect="dead", expires=1.0)
        sent = now()
        cell.send("quick", count=3)
        cell.until(lambda: now() - sent > 1.2, "three tasks to expire")
        cell.worker()
        verdict = cell.finish()
        assert not cell.of("start", *ids)
        assert {event["reason"] for event in cell.of("dlq_seen", *ids)} == {"expired"}
        return verdict


@case("79", "at most once: killed in the middle of the body, it never runs again")
def at_most_once(place: Place) -> Verdict:
    with Cell(place) as cell:
        ids = cell.send("once", GATE, count=2, expect="any")
        worker = cell.worker()
        running(cell, 2)
        cell.strike(worker, "kill9", "runner")
        cell.until(lambda: len(cell.of("dlq_seen", *ids)) == 2, "both to be buried, since they cannot run again", 5.0)
        lost = cell.send("once", GATE, count=2, expect="any")
        running(cell, 2, *lost)
        cell.strike(worker, "kill9")
        cell.send("quick", count=3)
        cell.worker()
        cell.open(GATE)
        verdict = cell.finish(6.0)
        assert len(cell.of("start", *ids, *lost)) == 4, cell.of("start", *ids, *lost)
        assert set(verdict.violations) <= {"gone"} and set(verdict.gone) <= set(lost), verdict.violations
        return replace(verdict, valid=True)


@case("3c", "the runners' server is stopped when a runner dies")
def stopped_server(place: Place) -> Verdict:
    with Cell(place, replace(RULES, runner_death=10.0)) as cell:
        cell.send("hold", GATE, count=2)
        worker = cell.worker()
        running(cell, 2)
        cell.strike(worker, "stop", "server")
        cell.strike(worker, "kill9", "runner")
        cell.wake_after(1.5 * cell.rules.lease)
        cell.open(GATE)
        cell.until(lambda: not cell.is_healing, "the server to go on")
        return cell.finish()


@case("78a", "twelve random deaths and pauses among 300 tasks")
def random_deaths_a(place: Place) -> Verdict:
    return _random_deaths(place, 1)


@case("78b", "twelve others")
def random_deaths_b(place: Place) -> Verdict:
    return _random_deaths(place, 2)


@case("78c", "twelve more")
def random_deaths_c(place: Place) -> Verdict:
    return _random_deaths(place, 3)


def _random_deaths(place: Place, seed: int) -> Verdict:
    choose = random.Random(seed)
    with Cell(place, replace(RULES, slack=4.0, runner_death=2.0)) as cell:
        cell.send("brief", 0.1, count=150)
        cell.send("flaky", count=40)
        cell.send("aquick", count=80)
        cell.send("quick", countdown=5.0, count=30)
        alive = [cell.worker(), cell.worker()]
        for _ in range(12):
            worker = choose.choice(alive)
            cell.until(lambda worker=worker: cell.open_runs() or cell.is_drained(), "something to run", 30.0)
            victim, action = choose.choice(
                [("runner", "kill9"), ("supervisor", "kill9"), ("group", "kill9"), ("group", "stop")]
            )
            cell.strike(worker, action, victim)
            cell.wake_after(1.5 * cell.rules.lease)
            if victim != "runner":
                alive.remove(worker)
                alive.append(cell.worker())
            ended = len(cell.of("end"))
            cell.until(lambda ended=ended: len(cell.of("end")) >= ended + 3 or cell.is_drained(), "some progress", 30.0)
        cell.until(lambda: not cell.is_healing, "what was stopped to go on")
        return cell.finish()
