"""The part of the transport contract about publishing: the same id twice, the broker's time, and its deadline.

``Features.dedup`` promises that an id is remembered for ``dedup_window`` seconds at least and twice that at most.
"""

import threading
import time
from collections.abc import Callable
from contextlib import nullcontext

import pytest

from taskbus.broker.broker import Broker
from taskbus.broker.consumer import Consumer
from taskbus.broker.delivery import Settlement
from taskbus.clock import wall_clock
from taskbus.errors import PublishFailed
from taskbus.message import Recorded
from taskbus.testing.clock import MovableClock
from taskbus.testing.transport_basis import (
    DEADLINE,
    LEASE,
    Basis,
    OpenBroker,
    Process,
    acks,
    ids,
    message,
    needs_due_times,
    readable,
    send,
    waiting,
)

WINDOW = 60.0


class PublishingContract(Basis):
    """What a publisher may rely on when it does not know whether it was heard."""

    @pytest.fixture
    def dedup(self, broker: Broker) -> None:
        if not broker.features.dedup:
            pytest.skip(f"Features of {broker.features.name}: no dedup")

    # --- the same id twice ---

    @pytest.mark.usefixtures("dedup")
    def test_an_id_published_again_counts_as_accepted_and_is_queued_once(
        self, broker: Broker, consumer: Consumer, clock: MovableClock
    ) -> None:
        send(broker, "a", "a", "b")
        clock.advance(WINDOW * 0.9)
        send(broker, "a")
        assert ids(consumer.fetch(10)) == ["a", "b"]

    @pytest.mark.usefixtures("dedup")
    def test_an_id_is_remembered_after_its_message_is_done(self, broker: Broker, consumer: Consumer) -> None:
        send(broker, "a")
        assert consumer.settle(acks(consumer.fetch(1)), None, shared=False) == []
        send(broker, "a")
        assert consumer.fetch(1) == []

    @pytest.mark.usefixtures("dedup")
    def test_an_id_is_remembered_for_all_publishers(self, broker: Broker, open_broker: OpenBroker) -> None:
        send(broker, "a")
        other = open_broker()
        send(other, "a", "b")
        broker.close()
        send(broker, "b")
        assert waiting(other) == ["a", "b"]

    @pytest.mark.usefixtures("dedup")
    def test_a_delayed_message_is_not_queued_again_either(
        self, broker: Broker, consumer: Consumer, clock: MovableClock
    ) -> None:
        send(broker, "a", due_at=clock() + 10)
        send(broker, "a")
        send(broker, "a", due_at=clock() + 5)
        assert consumer.fetch(10) == []
        clock.advance(10)
        assert ids(consumer.fetch(10)) == ["a"]

    @pytest.mark.usefixtures("dedup")
    def test_after_the_window_an_id_is_new_again(self, broker: Broker, clock: MovableClock) -> None:
        send(broker, "a")
        clock.advance(2 * WINDOW + 0.001)
        send(broker, "a")
        assert waiting(broker) == ["a", "a"]
        send(broker, "a")
        assert waiting(broker) == ["a", "a"]

    @pytest.mark.usefixtures("dedup")
    def test_an_id_lives_from_when_it_was_accepted_not_from_when_it_was_refused(
        self, broker: Broker, clock: MovableClock
    ) -> None:
        send(broker, "a")
        for _ in range(5):
            clock.advance(WINDOW * 0.5)
            send(broker, "a")
        assert len(waiting(broker)) in (2, 3)

    @pytest.mark.usefixtures("dedup")
    def test_without_a_window_nothing_is_remembered(self, open_broker: OpenBroker) -> None:
        forgetful = open_broker(dedup_window=0.0)
        send(forgetful, "a", "a")
        with forgetful.batch():
            send(forgetful, "a")
        assert waiting(forgetful) == ["a", "a", "a"]

    @pytest.mark.usefixtures("dedup")
    def test_the_new_ones_of_a_batch_are_queued_in_order(self, broker: Broker) -> None:
        send(broker, "c", "a")
        with broker.batch():
            send(broker, "a", "b", "c", "d", "c")
        assert waiting(broker) == ["c", "a", "b", "d"]
        with broker.batch():
            send(broker, "a", "b")
        assert waiting(broker) == ["c", "a", "b", "d"]

    @pytest.mark.usefixtures("dedup")
    def test_an_id_twice_in_one_batch_is_queued_once(self, broker: Broker) -> None:
        with broker.batch():
            send(broker, "a", "b", "a", "b", "a")
        assert waiting(broker) == ["a", "b"]

    @pytest.mark.usefixtures("dedup")
    def test_a_large_batch_may_be_repeated_whole(self, broker: Broker) -> None:
        names = [f"m{n}" for n in range(2500)]
        for _ in range(2):
            with broker.batch():
                send(broker, *names)
        assert sum(size.ready for size in broker.queues()) == len(names)

    @pytest.mark.usefixtures("dedup")
    def test_a_retry_keeps_its_id_and_is_queued(self, broker: Broker, consumer: Consumer, clock: MovableClock) -> None:
        send(broker, "a")
        for attempt in (2, 3):
            (delivery,) = consumer.fetch(1)
            retry = Settlement(delivery, follow_ups=[message("a", attempt=attempt, due_at=clock() + 1)])
            assert consumer.settle([retry], None, shared=False) == []
            clock.advance(1)
        assert ids(consumer.fetch(10)) == ["a"]

    @pytest.mark.usefixtures("dedup")
    def test_the_id_of_a_follow_up_is_not_remembered(self, broker: Broker, consumer: Consumer) -> None:
        send(broker, "a")
        (delivery,) = consumer.fetch(1)
        assert consumer.settle([Settlement(delivery, follow_ups=[message("next")])], None, shared=False) == []
        send(broker, "next")
        assert waiting(broker) == ["next", "next"]

    @pytest.mark.usefixtures("dedup")
    def test_a_replay_is_queued_though_its_id_was_sent_a_moment_ago(self, broker: Broker, consumer: Consumer) -> None:
        send(broker, "a")
        assert consumer.settle(acks(consumer.fetch(1)), None, shared=False) == []
        replay = Settlement(None, follow_ups=[message("a")])
        assert broker.transact(replay, lambda changes, transaction: Recorded(), shared=False)
        assert ids(consumer.fetch(10)) == ["a"]

    @pytest.mark.usefixtures("dedup")
    def test_threads_that_publish_one_id_queue_it_once(self, broker: Broker) -> None:
        together = threading.Barrier(4)

        def publish(id: str) -> None:
            together.wait(DEADLINE)
            for n in range(10):
                send(broker, f"same{n}", f"{id}{n}")

        threads = [threading.Thread(target=publish, args=(id,)) for id in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(waiting(broker)) == sorted(f"{id}{n}" for id in ("same", *"abcd") for n in range(10))

    @pytest.mark.usefixtures("dedup")
    def test_processes_that_publish_one_id_queue_it_once(self, broker: Broker, url: str, clock: MovableClock) -> None:
        if not broker.features.processes:
            pytest.skip(f"Features of {broker.features.name}: one process only")
        publishers = [Process(REPEATER, url, clock(), name) for name in "ab"]
        assert [publisher.lines() for publisher in publishers] == [[], []]
        assert sorted(waiting(broker)) == sorted(f"{id}{n}" for id in ("one", "many", *"ab") for n in range(20))

    # --- the broker's time ---

    def test_the_brokers_time_is_that_of_a_clock_it_was_given(
        self, broker: Broker, consumer: Consumer, clock: MovableClock
    ) -> None:
        needs_due_times(broker)
        assert broker.now() == consumer.now() == clock()
        clock.advance(1e6)
        assert broker.now() == consumer.now() == clock()

    def test_the_brokers_own_time_goes_on_and_a_delay_is_measured_by_it(self, url: str) -> None:
        broker = Broker(url)
        consumer = broker.consumer(["default"], name="w", lease=LEASE)
        assert abs(broker.now() - wall_clock()) < 60  # nothing more can be said of another host's clock
        due_at = broker.now() + 0.3
        send(broker, "a", due_at=due_at)
        deliveries = consumer.fetch(1)
        if not deliveries and broker.now() < due_at:  # else the machine stood still
            assert consumer.next_due_at() == pytest.approx(due_at, abs=0.01)
        while not deliveries:
            assert broker.now() < due_at + DEADLINE
            readable(consumer, 0.02)
            deliveries = consumer.fetch(1)
        assert ids(deliveries) == ["a"]
        assert consumer.now() >= due_at - 0.05
        consumer.close()
        broker.close()


REPEATER = """
for n in range(20):
    send(broker, f"one{n}", f"{arguments[0]}{n}")
    with broker.batch():
        send(broker, f"many{n}", f"one{n}")
"""


def check_that_publishing_keeps_its_deadline(
    url: str, silence: Callable[[], object], speak: Callable[[], object], timeout: float = 1.0
) -> None:
    """What a broker that can be made silent must pass too: a test of its own calls this.

    ``silence`` stops it in its tracks, its connections left open and unanswered; ``speak`` lets it go on.
    """
    broker = Broker(url, publish_timeout=timeout)
    send(broker, "before")
    now = broker.now()
    silence()
    try:
        for names in (["one"], ["many1", "many2"], ["one"]):
            started = time.monotonic()
            with pytest.raises(PublishFailed), broker.batch() if len(names) > 1 else nullcontext():
                send(broker, *names)
            assert time.monotonic() - started < timeout * 1.5 + 0.5
        started = time.monotonic()
        assert now <= broker.now() < now + DEADLINE
        assert time.monotonic() - started < timeout * 1.5 + 0.5
    finally:
        speak()
    patient = Broker(url, publish_timeout=DEADLINE)
    send(patient, "one", "many1", "many2", "after")
    found = waiting(patient)
    assert set(found) == {"before", "one", "many1", "many2", "after"}
    assert len(found) == 5 or not patient.features.dedup
    send(broker, "reconnected")
    assert "reconnected" in waiting(patient)
    broker.close()
    patient.close()
