"""The named cases that only Redis has: what it keeps, what an operator may do to it, what it refuses."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from taskbus.database.remark import Weight

from .cases import GATE, RULES, is_complete, running
from .cases_of_networks import BACK_WITHIN, back_at_work, lasts
from .checker import Verdict
from .harness import Cell
from .ledger import now
from .place import Place
from .registry import Cases
from .town import KINDS, REDIS

case = Cases(("redis",))


@case("21a", "Redis is killed among sends and started again; AOF, every write on disk")
def killed_always(place: Place) -> Verdict:
    return _killed(place, "always")


@case("21b", "Redis is killed among sends and started again; AOF, a write to disk every second")
def killed_everysec(place: Place) -> Verdict:
    return _killed(place, "everysec")


def _killed(place: Place, fsync: str) -> Verdict:
    """A killed process loses nothing that it had handed to the kernel: neither setting may lose anything here."""
    rules = replace(RULES, slack=BACK_WITHIN)
    with place.alone(options=(*REDIS, fsync)) as (place, server), Cell(place, rules) as cell:
        worker = cell.worker()
        cell.until(is_complete(worker), "the worker")
        process = cell.produce([("quick", cell.new_id(), {}) for _ in range(500)])
        cell.until(lambda: len(cell.of("pub_ok")) > 100, "some sends to be accepted")
        with cell.outage("kill"):
            server.kill()
            server.start()
        cell.until(lambda: process.poll() is not None, "the producer to end", 60.0)
        back_at_work(cell, worker)
        return cell.finish()


@case("21c", "Redis keeps nothing on disk and is killed: the loss is the one that doctor has told of")
def killed_volatile(place: Place) -> Verdict:
    volatile = ("--databases", "64", "--save", "", "--appendonly", "no")
    with place.alone(options=volatile) as (place, server), Cell(place, replace(RULES, slack=BACK_WITHIN)) as cell:
        remarks = cell.eye.broker.examine()
        assert ("durability", Weight.RISK) in {(each.subject, each.weight) for each in remarks}, remarks
        worker = cell.worker()
        cell.until(is_complete(worker), "the worker")
        lost = cell.send("quick", countdown=60.0, count=5)
        with cell.outage("kill"):
            server.kill()
            server.start()
        back_at_work(cell, worker)
        verdict = cell.finish(2.0)
        assert set(verdict.violations) <= {"gone", "vanish"} and set(verdict.gone) <= set(lost), verdict.violations
        assert set(verdict.gone) == set(lost)
        return replace(verdict, valid=True)


@contextmanager
def again_and_again(act: Any, every: float = 0.2) -> Iterator[None]:
    """Do something in a thread, every so many seconds, as long as the block runs."""
    is_over = threading.Event()

    def do() -> None:
        while not is_over.wait(every):
            act()

    thread = threading.Thread(target=do)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


@case("23b", "CLIENT KILL of every client, five times a second, while tasks are sent and run")
def client_kill(place: Place) -> Verdict:
    with place.alone() as (place, server), Cell(place) as cell:
        worker = cell.worker()
        cell.until(is_complete(worker), "the worker")
        with again_and_again(lambda: server.cli("CLIENT", "KILL", "TYPE", "normal")):
            begin = now()
            while now() - begin < 5.0:
                cell.send("quick")
                cell.send("flaky")
                lasts(cell, 0.1)
        verdict = cell.finish()
        assert worker.process.returncode == 0
        return verdict


@case("30", "no memory left in Redis: sends are refused, what runs is settled all the same")
def out_of_memory(place: Place) -> Verdict:
    with place.alone() as (place, server), Cell(place) as cell:
        worker = cell.worker()
        cell.send("hold", GATE, count=2)
        ids = cell.send("ahold", GATE, count=3)
        running(cell, 5)
        server.cli("CONFIG", "SET", "maxmemory", "1")
        (refused,) = cell.send("quick")
        assert cell.of("pub_rej", refused), cell.events[-2:]
        cell.open(GATE)
        cell.until(
            lambda: {event["id"] for event in cell.of("res_seen", *ids)} == set(ids), "results while it is full", 10.0
        )
        lasts(cell, 2 * cell.rules.lease)
        server.cli("CONFIG", "SET", "maxmemory", "0")
        back_at_work(cell, worker)
        verdict = cell.finish()
        assert verdict.reruns == 0, verdict
        return verdict


@case("31", "an eviction policy that may delete tasks: the worker refuses to start, and says why")
def evicting(place: Place) -> Verdict:
    with place.alone() as (place, server), Cell(place) as cell:
        server.cli("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        worker = cell.worker()
        worker.is_stopping = True
        cell.until(lambda: not worker.is_alive, "the worker to refuse", 15.0)
        assert worker.process.returncode not in (0, None), worker.process.returncode
        assert "allkeys-lru" in worker.log.read_text(), worker.log.read_text()
        server.cli("CONFIG", "SET", "maxmemory-policy", "noeviction")
        cell.send("quick", count=2)
        cell.worker()
        return cell.finish()


@case("32", "a failover: the old primary becomes a replica and answers READONLY")
def failover(place: Place) -> Verdict:
    rules = replace(RULES, slack=BACK_WITHIN)
    with place.alone() as (place, old), place.wired(by_all=True) as (place, proxy):
        new = KINDS["redis"].start(place.folder / "replica")
        try:
            new.cli("REPLICAOF", "127.0.0.1", str(old.port))  # type: ignore[attr-defined]
            with Cell(place, rules) as cell:
                worker = cell.worker()
                cell.send("quick", count=10)
                cell.send("quick", countdown=2.0, count=5)
                cell.until(lambda: len(cell.of("end")) >= 10, "the first tasks to end")
                cell.until(lambda: _has_caught_up(old, new), "the replica to have it all")
                with cell.outage("failover"):
                    new.cli("REPLICAOF", "NO", "ONE")  # type: ignore[attr-defined]
                    old.cli("REPLICAOF", "127.0.0.1", str(new.port))
                    proxy.retarget(new.port)
                back_at_work(cell, worker)
                return cell.finish()
        finally:
            new.kill()


def _has_caught_up(old: Any, new: Any) -> bool:
    texts = [server.cli("INFO", "replication").decode() for server in (old, new)]
    offsets = [
        next(line.partition(":")[2] for line in text.splitlines() if line.startswith("master_repl_offset:"))
        for text in texts
    ]
    return "master_link_status:up" in texts[1] and len(set(offsets)) == 1


@case("33", "SCRIPT FLUSH under load")
def script_flush(place: Place) -> Verdict:
    with place.alone() as (place, server), Cell(place) as cell:
        cell.worker()
        with again_and_again(lambda: server.cli("SCRIPT", "FLUSH"), 0.02):
            for _ in range(30):
                cell.send("quick", count=2)
                cell.send("flaky")
                lasts(cell, 0.05)
            cell.until(cell.is_drained, "everything to end")
        verdict = cell.finish()
        assert verdict.reruns == 0 and verdict.rejected == verdict.unknown == 0, verdict
        return verdict


@case("34", "FLUSHALL by an operator: what was there is gone, the worker goes on with what comes")
def flush_all(place: Place) -> Verdict:
    with place.alone() as (place, server), Cell(place, replace(RULES, slack=BACK_WITHIN)) as cell:
        worker = cell.worker()
        done = cell.send("quick", count=5)
        cell.until(cell.is_drained, "the first tasks to end")
        lost = cell.send("quick", countdown=60.0, count=5)
        with cell.outage("flush"):
            server.cli("FLUSHALL")
            lasts(cell, 1.0)
        assert all(cell.eye.result(event["lib"]).state == "PENDING" for event in cell.of("pub_try", *done))
        back_at_work(cell, worker)
        assert worker.log.read_text().count("\n") < 40, "the worker talks without end"
        verdict = cell.finish(2.0)
        assert set(verdict.violations) <= {"gone", "vanish", "unrecorded"}, verdict.violations
        assert set(verdict.gone) == set(lost) and set(verdict.vanish) <= set(done), verdict
        return replace(verdict, valid=True)
