"""The named cases that only RabbitMQ has: alarms, deleted queues, nodes that die, its own limits."""

from dataclasses import replace
from typing import Any

from kombu import Connection
from kombu import Exchange as KombuExchange

from taskbus.broker.broker import Broker
from taskbus.broker.transports.schemes import transport_of
from taskbus.errors import BrokerError, SendError
from tests.servers.rabbitmq_server import RabbitServer, cluster

from . import homes
from .cases import GATE, RULES, is_complete, running
from .cases_of_networks import BACK_WITHIN, SEND_WITHIN, back_at_work, lasts
from .checker import Verdict
from .harness import Cell
from .ledger import now
from .place import Place, declare
from .registry import Cases

case = Cases(("rabbitmq",))
DELETED_WITHIN = 1.0
"""Seconds until a channel has heard that its queue is gone. RabbitMQ 3.10 has it consume from a queue of the same name
if there is one by then, without a word, and then forgets that: what that queue delivers is held by nobody."""
AWAY = replace(RULES, slack=BACK_WITHIN)
SLOTS = 2
"""How many tasks the worker of a killed leader runs at once; none of them is so quick that more would be sent ahead."""


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


@case(
    "37", "the leader of the tasks' queue is killed, in a cluster of three: the node that all clients were connected to"
)
def killed_leader(place: Place) -> Verdict:
    verdict = _kill_leader(place, 1)
    assert 1 <= verdict.reruns <= 2 * SLOTS, verdict  # what ran, and what had ended there and was not settled
    return verdict


@case(
    "37b", "the leader of the tasks' queue is killed, in a cluster of three: not the node that clients are connected to"
)
def killed_leader_elsewhere(place: Place) -> Verdict:
    verdict = _kill_leader(place, 2)
    assert verdict.reruns == 0, verdict
    return verdict


def _kill_leader(place: Place, leads: int) -> Verdict:
    """Kill the node that leads while tasks are sent and run, see the others go on, and then it again with them.

    Clients know all three nodes, and are connected to the second. The first keeps the epmd of all.
    """
    with cluster(place.folder / "cluster") as nodes:
        leader, rest = nodes[leads], [node for node in nodes if node is not nodes[leads]]
        hosts = ",".join(f"127.0.0.1:{nodes[number].port}" for number in (1, 2, 0))
        home = homes.RabbitPrefix.make(f"amqp://guest:guest@{hosts}/")
        queue = f"{home.prefix}.default"
        _declare_at(leader, home)
        with Cell(replace(place, broker=home), replace(AWAY, drain=90.0)) as cell:
            worker = cell.worker(processes=SLOTS)
            (held,) = cell.send("hold", GATE)
            running(cell, 1)
            assert _leader_of(queue, rest[0]) == leader.node
            assert _local_connections(nodes[1]) > 0 == _local_connections(nodes[0]) + _local_connections(nodes[2])
            process = cell.produce([("brief", cell.new_id(), {}) for _ in range(100)])
            cell.until(lambda: len(cell.of("pub_ok")) > 40, "some sends to be accepted")
            with cell.outage("leader"):
                leader.kill()
                begin = now()
                cell.send("quick")
                assert now() - begin < SEND_WITHIN, now() - begin
                cell.until(lambda: _leader_of(queue, rest[0]) in {node.node for node in rest}, "another leader")
                cell.until(lambda: process.poll() is not None, "the producer to end", 30.0)
            assert process.returncode == 0
            back_at_work(cell, worker)
            if leader is nodes[1]:
                cell.until(lambda: len(cell.of("start", held)) == 2, "what was lost with the node to run", BACK_WITHIN)
            cell.open(GATE)
            leader.start()
            cell.send("quick", count=5)
            back_at_work(cell, worker)
            return cell.finish()


def _declare_at(node: RabbitServer, home: homes.RabbitPrefix) -> None:
    """Make the queue of the tasks by this node, which leads it then: RabbitMQ's default for who declares."""
    broker = Broker(replace(home, server=node.url).url())
    declare(broker, "default")
    broker.close()


def _leader_of(queue: str, node: RabbitServer) -> str:
    """The node that leads a queue, as another one knows; empty while there is none."""
    rows = [row.split("\t") for row in node.control("list_queues", "name", "leader", "--silent").splitlines()]
    return next((row[1] for row in rows if row[0] == queue and len(row) > 1), "")


def _local_connections(node: RabbitServer) -> int:
    return int(node.evaluate("length(rabbit_networking:connections_local())."))


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
