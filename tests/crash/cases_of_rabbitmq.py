"""The named cases that only RabbitMQ has: alarms, deleted queues, nodes that die, its own limits."""

from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from kombu import Connection
from kombu import Exchange as KombuExchange

from taskbus.broker.transports.schemes import transport_of
from taskbus.errors import BrokerError, SendError
from tests.servers.rabbitmq_server import RabbitServer, cluster

from . import homes
from .cases import GATE, RULES, is_complete, running
from .cases_of_networks import BACK_WITHIN, SEND_WITHIN, back_at_work, lasts
from .checker import Verdict
from .harness import Cell
from .ledger import now
from .place import Place
from .registry import Cases

case = Cases(("rabbitmq",))
DELETED_WITHIN = 1.0
"""Seconds until a channel has heard that its queue is gone. RabbitMQ 3.10 has it consume from a queue of the same name
if there is one by then, without a word, and then forgets that: what that queue delivers is held by nobody."""
AWAY = replace(RULES, slack=BACK_WITHIN)


@case("35", "a memory alarm: a send ends within its deadline, what runs goes on")
def memory_alarm(place: Place) -> Verdict:
    return _alarm(place, RabbitServer.set_memory_alarm)


@case("35b", "a disk alarm: a send ends within its deadline, what runs goes on")
def disk_alarm(place: Place) -> Verdict:
    return _alarm(place, RabbitServer.set_disk_alarm)


def _alarm(place: Place, set_alarm: Any) -> Verdict:
    with place.alone() as (place, server), Cell(place, AWAY) as cell:
        worker = cell.worker()
        ids = cell.send("hold", GATE, count=2)
        running(cell, 2)
        set_alarm(server, True)
        for _ in range(2):
            begin = now()
            cell.send("quick")
            assert now() - begin < SEND_WITHIN, now() - begin
        assert not [event for event in cell.of("pub_ok") if event["id"] not in ids], "accepted in spite of the alarm"
        cell.open(GATE)
        cell.until(lambda: len(cell.of("res_seen", *ids)) >= 2, "what runs to be settled", 10.0)
        set_alarm(server, False)
        back_at_work(cell, worker)
        verdict = cell.finish()
        assert verdict.reruns == 0, verdict
        return verdict


@case("36", "queues are deleted while a worker consumes from them")
def deleted_queues(place: Place) -> Verdict:
    with place.alone() as (place, server), Cell(place, AWAY) as cell:
        worker = cell.worker()
        cell.send("quick", count=5)
        cell.until(cell.is_drained, "the first tasks to end")
        for _ in range(3):
            for name in server.control("list_queues", "name", "--silent").split():
                server.control("delete_queue", name)
            lasts(cell, DELETED_WITHIN)
            back_at_work(cell, worker)
        return cell.finish()


@case("37", "the leader of the queues is killed, in a cluster of three")
def killed_leader(place: Place) -> Verdict:
    with ExitStack() as stack:
        nodes = stack.enter_context(cluster(place.folder / "cluster"))
        home = homes.RabbitPrefix.make(nodes[1].url)
        with Cell(replace(place, broker=home), replace(AWAY, drain=90.0)) as cell:
            worker = cell.worker()
            cell.send("brief", 0.2, count=10)
            cell.until(lambda: len(cell.of("end")) >= 4, "some tasks to end")
            with cell.outage("leader"):
                _leader(nodes).kill()
                lasts(cell, 1.0)
            cell.send("quick", count=5)
            back_at_work(cell, worker)
            return cell.finish()


def _leader(nodes: list[RabbitServer]) -> RabbitServer:
    """Another node than the one clients are connected to, if it leads any queue; else the first."""
    leaders = nodes[1].control("list_queues", "leader", "--silent").split()
    return next((node for node in (nodes[2], nodes[0]) if node.node in leaders), nodes[2])


@case("38", "the broker's consumer_timeout is shorter than a task: the late result changes nothing")
def consumer_timeout(place: Place) -> Verdict:
    with place.alone() as (place, server), Cell(place, replace(AWAY, lease=4.0)) as cell:
        for name, value in (("consumer_timeout", 4000), ("channel_tick_interval", 1000)):
            server.evaluate(f"application:set_env(rabbit, {name}, {value}).")
        remarks = cell.eye.broker.examine()
        assert any("consumer_timeout" in f"{remark}" for remark in remarks), remarks
        (id,) = cell.send("hold", GATE)
        cell.worker()
        running(cell, 1)
        with cell.outage("consumer_timeout"):
            cell.until(lambda: len(cell.of("start", id)) >= 2, "the broker to take it away", 30.0)
            cell.open(GATE)
            cell.until(lambda: cell.of("end", id), "it to end")
        cell.send("quick", count=3)
        return cell.finish()


@case("39", "connections are lost more often than any delivery limit, with deliveries in hand: no innocent is dropped")
def many_losses(place: Place) -> Verdict:
    with place.wired() as (place, proxy), Cell(place, replace(AWAY, slack=20.0)) as cell:
        cell.send("hold", GATE, count=4)
        cell.send("quick", count=2)
        worker = cell.worker(processes=4)
        with cell.outage("losses"):
            for turn in range(1, 22):
                cell.until(lambda: len(cell.open_runs()) >= 2, f"deliveries in hand, turn {turn}", 10.0)
                proxy.cut()
                lasts(cell, 0.3)
        cell.open(GATE)
        verdict = cell.finish()
        assert worker.process.returncode == 0
        return verdict


@case("40", "five retries with a delay each: no message is taken for one that goes round in circles")
def delayed_retries(place: Place) -> Verdict:
    with Cell(place) as cell:
        cell.worker()
        cell.send("patient", 5, count=3)
        cell.send("patient", 5, countdown=1.2, count=2)
        return cell.finish()


@case("41", "a publish that leads nowhere is an error")
def unroutable(place: Place) -> Verdict:
    with Cell(place) as cell:
        url = place.broker_url
        refused = False
        with Connection(transport=transport_of(url), transport_options={"url": url}) as connection:
            producer = connection.Producer()
            try:
                producer.publish(b"lost", exchange=KombuExchange("no.such", passive=True), routing_key="x", declare=[])
            except (BrokerError, SendError):
                refused = True
        assert refused
        cell.send("quick", count=2)
        cell.worker()
        cell.until(is_complete(cell.workers[0]), "the worker")
        return cell.finish()
