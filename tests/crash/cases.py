"""The named cases: faults that the grid does not generate, each with the number it has in the fault matrix.

A case plays its fault in a ``Cell`` and returns the verdict; what it promises beyond the checker it asserts itself.
"""

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from . import chaos
from .checker import Verdict
from .harness import Cell
from .history import Rules
from .ledger import now
from .place import Place
from .registry import Cases
from .victim import Worker

GATE = "open"
RULES = Rules()


case = Cases()


def runners(worker: Worker) -> list[int]:
    """The pids of a worker's runners."""
    return chaos.victims("runner", worker.pid)


def is_complete(worker: Worker, size: int = 2) -> Callable[[], bool]:
    """Whether a worker has all its runners."""
    return lambda: len(runners(worker)) >= size


def running(cell: Cell, count: int, *ids: str) -> None:
    """Wait until so many tasks are in the middle of their body."""
    cell.until(lambda: len(cell.open_runs(*ids)) >= count, f"{count} tasks to be running")


@case("1", "a runner is killed in the middle of a body", quick=True)
def killed_runner(place: Place) -> Verdict:
    with Cell(place) as cell:
        ids = cell.send("suicide", count=3)
        cell.send("quick", count=10)
        worker = cell.worker()
        cell.until(lambda: len(cell.faults()) == 3, "three runners to die")
        cell.until(is_complete(worker), "the pool to be back to its size", 2.0)
        verdict = cell.finish()
        assert verdict.reruns == 3, verdict
        assert not [event for event in cell.of("res_seen", *ids) if event["state"] == "FAILURE"]
        return verdict


@case("2", "the supervisor is killed, its runners are orphaned", quick=True)
def killed_supervisor(place: Place) -> Verdict:
    with Cell(place) as cell:
        cell.send("hold", GATE, count=2)
        cell.send("ahold", GATE, count=3)
        worker = cell.worker()
        running(cell, 5)
        cell.strike(worker, "kill9", "supervisor")
        cell.until(lambda: worker.is_buried, "its processes to be gone", 2.5)
        cell.worker()
        cell.open(GATE)
        return cell.finish()


@case("3", "the whole worker is killed in the middle of bodies")
def killed_group(place: Place) -> Verdict:
    with Cell(place) as cell:
        cell.send("hold", GATE, count=2)
        cell.send("ahold", GATE, count=20)
        worker = cell.worker()
        running(cell, 12)
        cell.strike(worker, "kill9")
        cell.worker()
        cell.open(GATE)
        return cell.finish()


@case("3b", "the runners' server is killed")
def killed_server(place: Place) -> Verdict:
    with Cell(place) as cell:
        cell.send("hold", GATE, count=2)
        cell.send("quick", count=6)
        worker = cell.worker()
        running(cell, 2)
        cell.strike(worker, "kill9", "server")
        cell.open(GATE)
        cell.until(is_complete(worker), "a new server and its runners", 10.0)
        verdict = cell.finish()
        assert worker.process.returncode == 0
        return verdict


@case("4", "results in another database: killed between result and acknowledgement")
def separate_databases(place: Place) -> Verdict:
    with Cell(place.results_apart()) as cell:
        cell.send("quick", count=6)
        cell.send("flaky", count=3)
        cell.send("rejected", "never", count=2, expect="dead")
        worker = cell.worker(faults="settle.inside:kill9.group@1")
        cell.until(lambda: not worker.is_alive, "the strike")
        cell.worker()
        return cell.finish()


@case("5", "a producer is killed among a thousand sends")
def killed_producer(place: Place) -> Verdict:
    with Cell(place) as cell:
        process = cell.produce([("quick", cell.new_id(), {}) for _ in range(1000)])
        cell.until(lambda: len(cell.of("pub_ok")) > 150, "some sends to be accepted")
        cell.ledger.log("nem", fault="kill", on=True, action="kill9", victim="producer", worker=0, pids=[process.pid])
        process.kill()
        process.wait()
        cell.worker()
        verdict = cell.finish()
        assert verdict.acked < 1000
        return verdict


@case("8", "a worker is stopped for 1.5 leases and goes on", quick=True)
def stopped_worker(place: Place) -> Verdict:
    with Cell(place) as cell:
        ids = cell.send("hold", GATE, count=2)
        first = cell.worker()
        running(cell, 2)
        cell.strike(first, "stop")
        second = cell.worker()
        cell.until(lambda: len(cell.of("start", *ids)) == 4, "the other worker to run them too", 10.0)
        cell.open(GATE)
        cell.until(lambda: len(cell.of("end", *ids)) == 2, "the other worker to end them")
        cell.wake(chaos.victims("group", first.pid))
        verdict = cell.finish()
        assert verdict.reruns == 2, verdict
        assert {event["worker"] for event in cell.of("start", *ids)} == {first.pid, second.pid}
        assert {event["token"] for event in cell.of("res_seen", *ids)} == {
            event["token"] for event in cell.of("start", *ids) if event["worker"] == second.pid
        }
        return verdict


@case("8b", "a stopped supervisor goes on right before it settles, while another worker runs the same again")
def stopped_supervisor(place: Place) -> Verdict:
    return stale_settle(place, "")


def stale_settle(place: Place, mutant: str) -> Verdict:
    """A worker stopped right before it settles; when it goes on, another one is in the middle of the same tasks."""
    with Cell(place) as cell:
        ids = cell.send("hold", GATE, count=2)
        first = cell.worker(faults="settle.before:stop.supervisor", mutant=mutant)
        running(cell, 2)
        cell.open(f"{GATE}-{first.pid}")
        cell.until(cell.faults, "the first worker to be stopped before it settles", 5.0)
        cell.until(lambda: len(cell.of("end", *ids)) == 2, "its runners to end", 5.0)
        cell.worker(mutant=mutant)
        cell.until(lambda: len(cell.of("start", *ids)) == 4, "the other worker to run them too", 10.0)
        cell.wake([first.pid])
        cell.until(lambda: _has_noticed(first) or cell.of("res_seen", *ids), "it to see what happened", 5.0)
        cell.open(GATE)
        return cell.finish()


def _has_noticed(worker: Worker) -> bool:
    return any(words in worker.log.read_text() for words in ("taken for dead", "another worker has it"))


@case("8c", "a worker stopped between fetching and starting does not start it after its lease was lost", quick=True)
def stopped_before_dispatch(place: Place) -> Verdict:
    with Cell(place) as cell:
        ids = cell.send("brief", count=4)
        first = cell.worker(faults="fetch.after:stop.supervisor")
        cell.until(cell.faults, "it to be stopped with four deliveries in hand")
        second = cell.worker()
        cell.until(lambda: len(cell.of("end", *ids)) == 4, "the other worker to run them", 10.0)
        cell.wake([first.pid])
        cell.until(lambda: _has_noticed(first), "it to see what happened", 5.0)
        verdict = cell.finish()
        assert {event["worker"] for event in cell.of("start", *ids)} == {second.pid}, cell.of("start", *ids)
        return verdict


@case("9", "a runner alone is stopped for longer than the lease")
def stopped_runner(place: Place) -> Verdict:
    with Cell(place) as cell:
        cell.send("hold", GATE, count=2)
        worker = cell.worker()
        cell.worker()
        running(cell, 2)
        cell.strike(worker, "stop", "runner")
        cell.wake_after(1.5 * cell.rules.lease)
        cell.open(GATE)
        cell.until(lambda: not cell.is_healing, "the runners to go on")
        verdict = cell.finish()
        assert verdict.reruns == 0, verdict
        return verdict


@case("9b", "the time limit of a stopped runner's task is kept")
def stopped_runner_over_time(place: Place) -> Verdict:
    with Cell(place) as cell:
        (id,) = cell.send("limited", GATE, expect="dead")
        cell.send("quick", count=3)
        worker = cell.worker(processes=1)
        running(cell, 1)
        (stopped,) = runners(worker)
        cell.strike(worker, "stop", "runner")
        cell.until(lambda: not chaos.is_alive(stopped), "the limit of 3 s to kill the runner", 5.5)
        verdict = cell.finish()
        assert [event["reason"] for event in cell.of("dlq_seen", id)] == ["time_limit"], cell.of("dlq_seen")
        return verdict


@case("10", "a runner holds the GIL in C for longer than the lease", quick=True)
def gil_held(place: Place) -> Verdict:
    with Cell(place) as cell:
        cell.send("gil", 4, count=2)
        cell.send("quick", count=4)
        cell.worker()
        cell.worker()
        verdict = cell.finish()
        assert verdict.reruns == 0, verdict
        return verdict


@case("11", "SIGTERM while tasks run that are shorter than the grace period", quick=True)
def warm_stop(place: Place) -> Verdict:
    with Cell(place) as cell:
        cell.send("brief", 0.2, count=12)
        worker = cell.worker(grace=8.0)
        cell.until(lambda: len(cell.of("end")) >= 2, "two tasks to end")
        cell.strike(worker, "term", "supervisor")
        cell.until(lambda: not worker.is_alive, "the worker to leave")
        assert worker.process.returncode == 0
        assert sum(size.running for size in cell.app.broker.queues()) == 0
        assert not cell.open_runs()
        assert not cell.app.broker.workers()
        cell.worker()
        return cell.finish()


@case("12", "SIGTERM while tasks run that are longer than the grace period: given back at once, uncounted")
def cold_stop(place: Place) -> Verdict:
    with Cell(place, replace(RULES, sigterm_interrupts=True)) as cell:
        ids = cell.send("hold", GATE, count=2)
        worker = cell.worker(grace=0.5)
        for turn in range(1, 5):  # more often than a crash would be forgiven
            cell.until(lambda turn=turn: len(cell.of("start", *ids)) == 2 * turn, f"run {turn} of both", 10.0)
            heir = cell.worker(grace=0.5)
            cell.until(is_complete(heir), "the next worker")  # before, lest the time it takes to start be measured
            cell.strike(worker, "term", "supervisor")
            cell.until(lambda worker=worker: not worker.is_alive, "the worker to leave", 10.0)
            assert worker.process.returncode == 0
            worker = heir
        cell.open(GATE)
        verdict = cell.finish()
        assert verdict.recovered_after <= 0.5 + 2.0, verdict
        return verdict


@case("13", "SIGTERM twice, SIGQUIT, SIGINT: exit codes, nothing lost, nobody left")
def other_signals(place: Place) -> Verdict:
    with Cell(place, replace(RULES, sigterm_interrupts=True)) as cell:
        cell.send("hold", GATE, count=2)
        for numbers, status in (([signal.SIGTERM] * 2, 1), ([signal.SIGQUIT], 1), ([signal.SIGINT] * 2, 1)):
            worker = cell.worker(grace=30.0)
            cell.until(lambda worker=worker: _runs_of(cell, worker) == 2, "both to be running", 10.0)
            cell.ledger.log(
                "nem",
                fault="signals",
                on=True,
                action="term",
                victim="supervisor",
                worker=worker.pid,
                pids=[worker.pid],
            )
            for number in numbers:
                os.kill(worker.pid, number)  # a second one of the same kind would melt into a pending first
                cell.until(lambda worker=worker: _has_heard(worker), "the signal to be heard", 5.0)
            cell.until(lambda worker=worker: not worker.is_alive, f"the worker to leave at once after {numbers}", 5.0)
            assert worker.process.returncode == status, (numbers, worker.process.returncode)
        last = cell.worker(grace=30.0)
        cell.until(lambda: _runs_of(cell, last) == 2, "both to be running", 10.0)
        cell.ledger.log(
            "nem", fault="int", on=True, action="term", victim="supervisor", worker=last.pid, pids=[last.pid]
        )
        os.killpg(last.pid, signal.SIGINT)  # as Ctrl-C in a terminal does
        cell.open(GATE)
        cell.until(lambda: not last.is_alive, "the worker to finish and leave", 10.0)
        assert last.process.returncode == 0, last.process.returncode
        assert len(cell.of("end")) == 2
        return cell.finish()


def _has_heard(worker: Worker) -> bool:
    return "stopping: " in worker.log.read_text() or not worker.is_alive


def _runs_of(cell: Cell, worker: Worker) -> int:
    return len([event for event in cell.of("start") if event["worker"] == worker.pid])


@case("15", "a task that ignores SIGTERM is killed when the grace period ends")
def stubborn_task(place: Place) -> Verdict:
    with Cell(place, replace(RULES, sigterm_interrupts=True)) as cell:
        cell.send("stubborn", GATE, count=2)
        worker = cell.worker(grace=1.0)
        running(cell, 2)
        cell.strike(worker, "term", "group")
        begin = now()
        cell.until(lambda: not worker.is_alive, "the worker to leave", 6.0)
        assert now() - begin < 4.0
        assert worker.process.returncode == 0
        cell.open(GATE)
        cell.worker()
        return cell.finish()


MEMORY = Path("/sys/fs/cgroup/memory")


def _no_memory_control() -> str:
    if os.geteuid() != 0:
        return "limiting memory by a control group needs root"
    return "" if os.access(MEMORY / "memory.limit_in_bytes", os.W_OK) else "no memory control group (v1) here"


@case("16", "a task eats the memory: the kernel kills its runner", obstacle=_no_memory_control)
def out_of_memory(place: Place) -> Verdict:
    group = MEMORY / f"crash-suite-{os.getpid()}"
    group.mkdir()
    try:
        with Cell(place, replace(RULES, runner_death=5.0)) as cell:  # dying takes as long as filling the memory does
            (group / "memory.limit_in_bytes").write_text(str(384 << 20))
            worker = cell.worker()
            (group / "cgroup.procs").write_text(str(worker.pid))
            cell.until(is_complete(worker), "the runners")
            for pid in chaos.descendants(worker.pid):
                (group / "cgroup.procs").write_text(str(pid))
            cell.send("quick", count=20)
            (id,) = cell.send("hungry", 2000, expect="dead")
            cell.send("quick", count=20)
            verdict = cell.finish()
            assert len(cell.of("start", id)) == 3
            assert [event["reason"] for event in cell.of("dlq_seen")] == ["poison"]
            return verdict
    finally:
        group.rmdir()


@case("19", "a task that segfaults among 200 healthy ones", quick=True)
def segfault_among_healthy(place: Place) -> Verdict:
    with Cell(place) as cell:
        cell.send("quick", count=100)
        (id,) = cell.send("segfault", expect="dead")
        cell.send("quick", count=60)
        cell.send("aquick", count=40)
        worker = cell.worker()
        cell.until(lambda: cell.of("dlq_seen", id), "the dead letter", 30.0)
        assert worker.is_alive
        verdict = cell.finish()
        assert len(cell.of("start", id)) == 3
        assert [event["reason"] for event in cell.of("dlq_seen")] == ["poison"]
        assert worker.process.returncode == 0
        return verdict


@case("20", "a message with which the whole worker dies each time is buried at last")
def poison_for_supervisors(place: Place) -> Verdict:
    with Cell(place) as cell:
        (id,) = cell.send("quick", expect="dead")
        for _ in range(3):
            worker = cell.worker(faults="dispatch.before:kill9.group@1", overrides={"max_losses": 3})
            cell.until(lambda worker=worker: not worker.is_alive, "the worker to die")
            (cell.ledger.folder / "struck-dispatch.before").unlink()
        cell.worker(overrides={"max_losses": 3})
        verdict = cell.finish()
        assert [event["reason"] for event in cell.of("dlq_seen", id)] == ["poison"]
        return verdict
