"""The part of the transport contract about processes: several at once, forked ones, and those that die half way.

A transport of one process skips these, and its ``Features`` say so.
"""

import os
import warnings
from collections import Counter
from collections.abc import Callable

import pytest

from taskbus.broker.broker import Broker
from taskbus.broker.consumer import Consumer
from taskbus.broker.delivery import Settlement
from taskbus.errors import BrokerError
from taskbus.testing.clock import MovableClock
from taskbus.testing.transport_basis import (
    LEASE,
    Basis,
    OpenBroker,
    Process,
    acks,
    fetch_all,
    fetch_when_there,
    ids,
    needs,
    quiet,
    readable,
    send,
    waiting,
)

FAILPOINTS = (
    "publish.before", "publish.inside", "publish.inside@3", "publish.after", "publish.after@4", "fetch.inside",
    "fetch.after", "promote.inside", "settle.before", "settle.inside", "settle.inside@2", "settle.inside@3",
    "settle.after", "settle.after@2", "reap.inside", "renew.before", "release.before",
)  # fmt: skip

VICTIM = """
*names, wait = arguments
for id in names:
    broker.publish(message(id))
    say("accepted", id)
broker.publish(message("delayed", due_at=clock() + float(wait)))
say("accepted", "delayed")
with broker.batch():
    send(broker, "batched")
say("accepted", "batched")
consumer = broker.consumer(["default"], name="victim", lease=30)
consumer.renew()
say("reaped", consumer.reap())
clock.advance(float(wait))
deliveries = consumer.fetch(100)
say("fetched", *ids(deliveries))
for n, delivery in enumerate(deliveries):
    id = ids([delivery])[0]
    act = [Act.ACK, Act.CRASH, Act.RELEASE][n % 3]
    follow_ups = [message(id + "+")] if act is Act.ACK else []
    assert consumer.settle([Settlement(delivery, act, follow_ups=follow_ups)], None, shared=False) == []
    say("settled", id)
consumer.close()
say("closed")
"""

WORKER = """
consumer = broker.consumer(["default", arguments[0]], name="worker", lease=1e6)
stop = False
while not stop:
    deliveries = fetch_when_there(consumer, 7)
    for id in ids(deliveries):
        say(id)
        stop = stop or id == arguments[0]
    assert consumer.settle([Settlement(delivery) for delivery in deliveries], None, shared=False) == []
consumer.close()
"""

PUBLISHER = """
for n in range(0, 150, 3):
    send(broker, arguments[0] + str(n))
    with broker.batch():
        send(broker, arguments[0] + str(n + 1), arguments[0] + str(n + 2))
"""


class ProcessesContract(Basis):
    """Durability, and doing it all at the same time."""

    @pytest.fixture
    def several_processes(self, broker: Broker) -> None:
        if not broker.features.processes:
            pytest.skip(f"Features of {broker.features.name}: one process only")

    @pytest.mark.usefixtures("several_processes")
    @pytest.mark.parametrize("failpoint", FAILPOINTS)
    def test_a_process_killed_at_any_step_loses_and_doubles_nothing(
        self, broker: Broker, open_broker: OpenBroker, url: str, clock: MovableClock, failpoint: str
    ) -> None:
        features, point, _, nth = broker.features, *failpoint.partition("@")
        needs(broker, features.leases == "worker" or point != "reap.inside", "the broker itself reaps")
        needs(broker, not features.pushes or point != "promote.inside", "the broker itself hands out what is due")
        orphans = {"orphan"} if features.leases == "worker" else set()
        if orphans:
            orphan = broker.consumer(["default"], name="dead before", lease=LEASE)
            send(broker, "orphan")
            orphan.fetch(1)
            clock.advance(LEASE + 1)
        wait = 5 * self.unit
        victim = Process(VICTIM, url, clock, "a", "b", "c", "d", str(wait), failpoints=f"{point}:kill9@{nth or 1}")
        said = victim.lines()
        assert victim.status == -9, f"{failpoint} was never reached"

        clock.advance(2 * LEASE if features.leases == "worker" else wait)
        rescuer = broker.consumer(["default"], name="rescuer", lease=LEASE)
        rescuer.reap()
        found = Counter(ids(fetch_all(rescuer)))
        accepted = {*orphans, *(line[1] for line in said if line[0] == "accepted")}
        settled = [line[1] for line in said if line[0] == "settled"]
        in_hand = [id for line in said if line[0] == "fetched" for id in line[1:]][len(settled) : len(settled) + 1]
        for id in {"a", "b", "c", "d", "delayed", "batched", *accepted}:
            # A settlement that is not one step may leave the message and what follows it, where it was cut short.
            most = 1 if features.atomic_settle or id not in in_hand else 2
            assert (id in accepted) <= found[id] + found[f"{id}+"] <= most, f"{id} after {said}: {found}"
        for id in settled:
            assert found[id] == 0 or f"{id}+" not in found
        rescuer.close()

    @pytest.mark.usefixtures("several_processes")
    def test_two_publishers_and_two_workers_move_each_message_exactly_once(
        self, broker: Broker, url: str, clock: MovableClock
    ) -> None:
        workers = {name: Process(WORKER, url, clock, name) for name in ("stop 1", "stop 2")}
        publishers = [Process(PUBLISHER, url, clock, name) for name in ("x", "y")]
        assert [publisher.lines() for publisher in publishers] == [[], []]
        watching = broker.consumer(["nothing"], name="watching", lease=LEASE)
        while waiting(broker):
            watching.clear()
            readable(watching, 1)
        came: list[str] = []
        for name, worker in workers.items():
            send(broker, name, queue=name)
            came += [line[0] for line in worker.lines()]
        assert sorted(came) == sorted([f"{name}{n}" for name in ("x", "y") for n in range(150)] + [*workers])
        watching.close()

    @pytest.mark.usefixtures("several_processes")
    def test_a_publish_in_another_process_wakes_the_consumer(
        self, url: str, consumer: Consumer, clock: MovableClock
    ) -> None:
        quiet(consumer)
        publisher = Process('send(broker, "from afar")', url, clock)
        assert ids(fetch_when_there(consumer)) == ["from afar"]
        assert publisher.status == 0

    @pytest.mark.usefixtures("several_processes")
    def test_a_forked_child_publishes_on_its_own(self, broker: Broker) -> None:
        send(broker, "before")
        assert in_child(lambda: send(broker, "child")) == 0
        send(broker, "after")
        assert waiting(broker) == ["before", "child", "after"]

    @pytest.mark.usefixtures("several_processes")
    def test_a_forked_child_leaves_its_parents_consumer_alone(self, broker: Broker, consumer: Consumer) -> None:
        send(broker, "a")
        (delivery,) = consumer.fetch(1)

        def misuse() -> None:
            with pytest.raises(BrokerError, match="parent"):
                consumer.settle([Settlement(delivery)], None, shared=False)
            consumer.close()

        assert in_child(misuse) == 0
        assert consumer.settle(acks([delivery]), None, shared=False) == []

    @pytest.mark.usefixtures("several_processes")
    def test_a_batch_open_at_a_fork_is_sent_by_the_parent_alone(self, broker: Broker) -> None:
        with broker.batch():
            send(broker, "a")
            assert in_child(lambda: send(broker, "b")) == 0
        assert waiting(broker) == ["b", "a"]


def in_child(work: Callable[[], None]) -> int:
    """Run ``work`` in a forked child that ends right after; its exit status."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads is what this is about
        pid = os.fork()
    if not pid:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
