"""The named cases about the way to the broker, and about its being away: the same for every broker with a network."""

import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

from tests.servers.proxy import Proxy
from tests.servers.proxy_parts import Way

from . import producer
from .cases import GATE, RULES, is_complete, running
from .checker import Verdict
from .environment import SPOOL
from .harness import Cell
from .ledger import now
from .place import Place
from .registry import NETWORK, Cases
from .victim import Worker

case = Cases(NETWORK)
BACK_WITHIN = 15.0
"""Seconds within which a worker runs tasks again once its broker can be reached."""
SEND_WITHIN = 5.0 + 1.5
"""Seconds that a send may take by its deadline, and what a busy machine adds."""
WRITTEN_DOWN_WITHIN = 1.5
"""Seconds until RabbitMQ has written down that a queue exists: one newer than that is dead after ``kill -9``."""
REQUEST = {
    "redis": b"EVALSHA",
    "postgresql": b"COMMIT",
    "mysql": b"COMMIT",
    "rabbitmq": b"\x00\x3c\x00\x50",  # Basic.Ack: what is lost is what comes next
}
"""What the requests hold whose replies are lost."""


def excused(cell: Cell, what: str) -> AbstractContextManager[None]:
    """A fault that takes deliveries from their workers where a connection is the lease; elsewhere no excuse."""
    return cell.outage(what) if cell.place.kind == "rabbitmq" else nullcontext()


def lasts(cell: Cell, seconds: float, begin: float | None = None) -> None:
    """Let time pass, looking on."""
    since = now() if begin is None else begin
    cell.until(lambda: now() - since > seconds, f"{seconds:g} s to pass", seconds + 10.0)


def back_at_work(cell: Cell, worker: Worker) -> None:
    """See a task sent now come to its end in time, by a worker that still lives."""
    (id,) = cell.send("quick")
    since = now()
    while id not in {event["id"] for event in cell.of("pub_ok")} and now() - since < BACK_WITHIN:
        (id,) = cell.send("quick")
    cell.until(lambda: cell.of("end", id), f"a task sent after the fault to end; {id}", BACK_WITHIN)
    assert worker.is_alive


@case("22", "ten restarts of the broker in a row: consuming again within 15 s each time, the same process")
def restarts(place: Place) -> Verdict:
    with place.alone() as (place, server), Cell(place, replace(RULES, slack=BACK_WITHIN)) as cell:
        worker = cell.worker()
        cell.until(is_complete(worker), "the worker")
        for turn in range(10):
            cell.send("brief", 0.1, count=3)
            cell.send("quick", countdown=0.5, count=2)
            with cell.outage("restart"):
                server.stop()
                if turn % 2:
                    cell.send("quick")
                    lasts(cell, 1.0)
                server.start()
            back_at_work(cell, worker)
        verdict = cell.finish()
        assert len(cell.workers) == 1
        return verdict


@case("22b", "the broker is killed and started again while tasks run, one of them for longer than that takes")
def killed_broker(place: Place) -> Verdict:
    options = {"options": DURABLE_REDIS} if place.kind == "redis" else {}
    with place.alone(**options) as (place, server), Cell(place, replace(RULES, slack=BACK_WITHIN)) as cell:
        worker = cell.worker()
        cell.send("hold", GATE)
        running(cell, 1)
        for _ in range(3):
            if place.kind == "rabbitmq":
                lasts(cell, WRITTEN_DOWN_WITHIN)
            cell.send("brief", 0.1, count=6)
            cell.send("flaky", count=2)
            with cell.outage("kill"):
                server.kill()
                lasts(cell, 0.5)
                server.start()
            back_at_work(cell, worker)
        cell.open(GATE)
        return cell.finish()


DURABLE_REDIS = ("--databases", "64", "--save", "", "--appendonly", "yes", "--appendfsync", "always")


@case("23", "all connections are cut again and again while tasks are sent and run")
def cut_connections(place: Place) -> Verdict:
    return _cut_all(place, 5.0)


def _cut_all(place: Place, seconds: float) -> Verdict:
    with place.wired() as (place, proxy), Cell(place) as cell:
        worker = cell.worker()
        cell.until(is_complete(worker), "the worker")
        cell.send("brief", count=20)
        cell.send("flaky", count=5)
        begin, count = now(), 0
        with excused(cell, "cut"):
            while now() - begin < seconds:
                proxy.cut(reset=count % 2 == 0)
                cell.send("quick")
                cell.send("quick", countdown=0.3)
                count += 1
                lasts(cell, 0.2)
        verdict = cell.finish()
        assert count > 10
        assert worker.process.returncode == 0
        return verdict


@case("24", "the reply to a publish is lost: it runs once, sent again under its id where the broker knows that")
def lost_reply_to_publish(place: Place) -> Verdict:
    with place.wired() as (place, proxy), Cell(place) as cell:
        worker = cell.worker(is_direct=True)
        cell.send("quick")
        for _ in range(6):
            id = cell.new_id()
            lost = proxy.lose_reply(b"COMMIT" if place.kind == "mysql" else id.encode())  # it sends bytes in hex
            lib = producer.send(cell.app, cell.ledger, "quick", id)
            lost.wait(1.0)
            assert not cell.of("pub_rej", id), cell.of("pub_rej", id)
            if cell.app.broker.features.dedup:
                cell.app.send("quick", [id], task_id=lib)
                cell.ledger.log("pub_ok", id)
        verdict = cell.finish()
        assert verdict.reruns == 0, verdict
        assert worker.is_alive or worker.process.returncode == 0
        return verdict


@case("24b", "replies to a worker are lost, whatever they answer: fetch, settle, renew")
def lost_replies(place: Place) -> Verdict:
    return lose_replies(place, "")


def lose_replies(place: Place, mutant: str, strikes: int = 25) -> Verdict:
    """Lose one reply after the other to a busy worker; nothing may run twice, where leases are not connections."""
    with place.wired() as (place, proxy), Cell(place) as cell:
        send = _direct(cell)
        worker = cell.worker(mutant=mutant)
        cell.until(is_complete(worker), "the worker")
        with excused(cell, "lost replies"):
            for turn in range(strikes):
                lost = proxy.lose_reply(REQUEST[place.kind], 1 + turn % 3, reset=turn % 2 == 0)
                for task in ("quick", "flaky", "brief", "aquick") * 5:
                    send(task)
                    begin = now()
                    cell.until(lambda lost=lost, begin=begin: lost.is_over or now() - begin > 0.2, "a lost reply", 10.0)
                    if lost.is_over:
                        break
                assert lost.is_over, f"no reply to be lost in turn {turn}"
        proxy.heal()
        return cell.finish()


def _direct(cell: Cell) -> Callable[[str], None]:
    """Sends tasks past the wire."""
    return lambda task: void(producer.send(cell.eye, cell.ledger, task, cell.new_id()))


def void(_: object) -> None: ...


@case("25", "requests are lost: a send ends within its deadline, and says that it does not know")
def lost_requests(place: Place) -> Verdict:
    with place.wired() as (place, proxy), Cell(place, replace(RULES, slack=BACK_WITHIN)) as cell:
        worker = cell.worker()
        cell.send("quick", count=4)
        cell.until(cell.is_drained, "the first tasks to end")
        with cell.outage("requests lost"):
            proxy.blackhole(Way.TO_SERVER)
            begin = now()
            (id,) = cell.send("quick")
            assert now() - begin < SEND_WITHIN, now() - begin
            assert cell.of("pub_unk", id) or cell.of("pub_rej", id), cell.events[-3:]
            proxy.cut()
            proxy.heal()
        back_at_work(cell, worker)
        return cell.finish()


@case("26", "nothing passes, either way, for three leases: others take over, and the late worker changes nothing")
def blackhole(place: Place) -> Verdict:
    return partition(place, "")


@case("27", "nothing passes from a worker to the broker for three leases, but from the broker to it")
def unheard(place: Place) -> Verdict:
    return partition(place, "", Way.TO_SERVER)


@case("27b", "nothing passes from the broker to a worker for three leases, but from it to the broker")
def unanswered(place: Place) -> Verdict:
    return partition(place, "", Way.TO_CLIENT)


def partition(place: Place, mutant: str, *ways: Way) -> Verdict:
    """Cut one worker off while it runs tasks, until another one runs them; then let it end them, and be heard.

    ``ways``: those that nothing passes, by default both.
    """
    with place.wired() as (place, proxy), Cell(place, replace(RULES, slack=BACK_WITHIN)) as cell:
        ids = [cell.new_id(), cell.new_id()]
        for id in ids:
            producer.send(cell.eye, cell.ledger, "hold", id, GATE)
        first = cell.worker(mutant=mutant)
        running(cell, 2)
        with cell.outage("blackhole"):
            proxy.blackhole(*ways)
            begin = now()
            second = cell.worker(is_direct=True, mutant=mutant)
            cell.until(lambda: len(cell.of("start", *ids)) == 4, "the other worker to run them too", 15.0)
            cell.open(f"{GATE}-{first.pid}")
            cell.until(
                lambda: len(cell.of("end", *ids)) == 2 or "taken for dead" in first.log.read_text(),
                "the late runs to end, or to be given up",
            )
            (id,) = cell.send("quick")
            lasts(cell, 3 * cell.rules.lease, begin)
            proxy.heal()
        _see_it_work(cell, proxy, first)
        cell.open(GATE)
        verdict = cell.finish()
        winners = {event["token"] for event in cell.of("start", *ids) if event["worker"] == second.pid}
        final = {event["token"] for event in cell.of("res_seen", *ids) if event["state"] == "SUCCESS"}
        assert mutant or final <= winners, (final, winners)
        return verdict


def _see_it_work(cell: Cell, proxy: Proxy, worker: Worker) -> None:
    """A worker is back when it has run something, or said that it was taken for dead and started its runners anew."""
    since = now()
    cell.until(
        lambda: (
            any(event["worker"] == worker.pid and event["t"] > since for event in cell.of("start"))
            or any(words in worker.log.read_text() for words in ("taken for dead", "another worker has it"))
        ),
        "the worker to be back",
        BACK_WITHIN,
    )


@case("26b", "nothing passes for a while, shorter than the lease: nobody runs anything twice")
def short_blackhole(place: Place) -> Verdict:
    with place.wired() as (place, proxy), Cell(place, replace(RULES, lease=6.0)) as cell:
        cell.send("hold", GATE, count=2)
        worker = cell.worker()
        cell.worker(is_direct=True)
        running(cell, 2)
        proxy.blackhole()
        lasts(cell, 2.0)
        proxy.heal()
        lasts(cell, 1.0)
        cell.open(GATE)
        cell.send("quick", count=5)
        verdict = cell.finish()
        assert verdict.reruns == 0, verdict
        assert worker.process.returncode == 0
        return verdict


@case("72", "the broker is down: a producer with a spool is killed among its sends, two relays bring them, in order")
def spooled(place: Place) -> Verdict:
    with place.alone() as (place, server), Cell(place, replace(RULES, slack=BACK_WITHIN)) as cell:
        server.stop()
        settings = {SPOOL: str(cell.folder / "spool.db"), "TASKBUS_SPOOL": str(cell.folder / "spool.db")}
        process = cell.produce([("quick", cell.new_id(), {}) for _ in range(300)], environment=settings)
        cell.until(lambda: len(cell.of("pub_ok")) > 100, "some sends to be spooled", 30.0)
        cell.ledger.log("nem", fault="kill", on=True, action="kill9", victim="producer", worker=0, pids=[process.pid])
        process.kill()
        process.wait()
        server.start()
        relays = [_relay(cell, settings) for _ in range(2)]
        cell.until(lambda: all(relay.poll() is not None for relay in relays), "the relays to end", 30.0)
        cell.worker(processes=1, coroutines=1)
        verdict = cell.finish()
        assert verdict.reruns == 0, verdict
        starts = [event["id"] for event in cell.of("start")]
        assert starts == sorted(starts), starts
        return verdict


def _relay(cell: Cell, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """What an operator runs once the broker is back."""
    with (cell.folder / "relay.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "taskbus", "spool", "relay", "-b", cell.place.broker_url],
            env={**cell.environment(), **environment}, cwd=cell.folder, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip


@case("28", "a slow line: half a second each round trip, 20 kB a second")
def slow_line(place: Place) -> Verdict:
    with place.wired() as (place, proxy), Cell(place, replace(RULES, lease=5.0, wedge=30.0)) as cell:
        workers = [cell.worker(), cell.worker()]
        for worker in workers:
            cell.until(is_complete(worker), "the runners")
        proxy.delay(0.25)
        proxy.throttle(20_000)
        cell.send("brief", 1.0, count=4)
        cell.send("flaky", count=2)
        cell.send("quick", count=6)
        verdict = cell.finish(90.0)
        assert verdict.reruns == 0, verdict
        assert len(cell.of("pub_ok")) > 6, "connecting and sending does not fit into a send's deadline"
        return verdict


@case("29", "a connection is cut at every byte of a publish")
def cut_publish(place: Place) -> Verdict:
    return cut_at_bytes(place, 1)


@case("29b", "a connection is cut at every eleventh byte of a publish")
def cut_publish_sample(place: Place) -> Verdict:
    return cut_at_bytes(place, 11)


def cut_at_bytes(place: Place, every: int) -> Verdict:
    """Cut at byte 0, ``every``, ... of one publish each, until the publish is over before its cut."""
    with place.wired() as (place, proxy), Cell(place) as cell:
        cell.worker(is_direct=True)
        at = 0
        while at < 4000:
            cell.send("quick")
            cut = proxy.cut_after(at, Way.TO_SERVER, reset=at % 2 == 0)
            begin = now()
            cell.send("quick")
            assert now() - begin < SEND_WITHIN
            struck = cut.is_over
            proxy.heal()
            if not struck:
                break
            at += every
        assert 40 < at < 4000, at
        return cell.finish()
