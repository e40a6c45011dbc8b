"""The part of the transport contract about messages: what goes in comes out, whole, in order, and in time."""

import threading

import pytest

from taskbus.broker.broker import Broker
from taskbus.broker.consumer import Consumer
from taskbus.errors import PayloadTooLarge
from taskbus.testing.clock import MovableClock
from taskbus.testing.open_files import needs_open_files, open_files
from taskbus.testing.transport_basis import (
    LEASE,
    Basis,
    OpenBroker,
    acks,
    decoded,
    fetch_when_there,
    ids,
    message,
    needs_due_times,
    quiet,
    readable,
    send,
    waiting,
)
from taskbus.wire.compact import CONTENT_TYPE

BODIES = {
    "empty": b"",
    "every byte": bytes(range(256)) * 3,
    "unicode": "żółw 🐢 カメ \u0000 \u202e".encode(),
    "looks like SQL": b"'); DROP TABLE taskbus_message; --",
    "a mebibyte": bytes(1024) * 1024,
}


class MessagesContract(Basis):
    """Order, priority, delay, expiry, batches and bodies."""

    def test_messages_come_out_in_the_order_they_went_in(self, broker: Broker, consumer: Consumer) -> None:
        names = [f"m{n}" for n in range(25)]
        send(broker, *names)
        assert ids(consumer.fetch(10)) + ids(consumer.fetch(100)) == names

    def test_the_higher_priority_comes_first_and_the_older_of_two_alike(
        self, broker: Broker, consumer: Consumer
    ) -> None:
        for priority in (0, 9, 5, 5, 1, 9):
            broker.publish(message(f"p{priority}-{len(waiting(broker))}", priority=priority))
        deliveries = consumer.fetch(2) + consumer.fetch(10)
        assert ids(deliveries) == ["p9-1", "p9-5", "p5-2", "p5-3", "p1-4", "p0-0"]
        assert [delivery.priority for delivery in deliveries] == [9, 9, 5, 5, 1, 0]

    def test_a_fetch_takes_no_more_than_asked_for(self, broker: Broker, consumer: Consumer) -> None:
        send(broker, *"abcde")
        assert [len(consumer.fetch(limit)) for limit in (0, 1, 3, 5, 5)] == [0, 1, 3, 1, 0]

    def test_queues_take_turns_so_that_none_starves(self, broker: Broker) -> None:
        for queue in ("long", "short"):
            send(broker, *(f"{queue}{n}" for n in range(50 if queue == "long" else 3)), queue=queue)
        consumer = broker.consumer(["long", "short", "empty"], name="w", lease=LEASE)
        first = consumer.fetch(6)
        assert [delivery.queue for delivery in first].count("short") == 3
        assert len(consumer.fetch(100)) == 47
        consumer.close()

    def test_a_consumer_sees_its_own_queues_only(self, broker: Broker, consumer: Consumer) -> None:
        send(broker, "elsewhere", queue="other")
        assert consumer.fetch(10) == []
        assert waiting(broker, "other") == ["elsewhere"]

    def test_a_queue_nobody_declared_keeps_what_is_sent_to_it(self, broker: Broker) -> None:
        send(broker, "early", queue="not yet there")
        consumer = broker.consumer(["not yet there"], name="w", lease=LEASE)
        assert ids(consumer.fetch(1)) == ["early"]
        consumer.close()

    def test_a_delivery_tells_what_was_published(self, broker: Broker, consumer: Consumer, clock: MovableClock) -> None:
        sent = message("a", body=b"\x00", priority=4, attempt=3, sent_at=12.5, expires_at=13.5, headers={"k": "v"})
        broker.publish(sent)
        (delivery,) = consumer.fetch(1)
        assert decoded(delivery) == sent
        assert (delivery.content_type, delivery.queue, delivery.crashes, delivery.losses) == (
            CONTENT_TYPE,
            "default",
            0,
            0,
        )
        assert delivery.tag >= 1

    # --- delay and expiry ---

    def test_a_delayed_message_never_comes_early(self, broker: Broker, consumer: Consumer, clock: MovableClock) -> None:
        needs_due_times(broker)
        send(broker, "a little later still", due_at=clock() + 10.001)
        send(broker, "later", due_at=clock() + 10)
        send(broker, "now")
        assert ids(consumer.fetch(10)) == ["now"]
        clock.advance(9.999)
        assert consumer.fetch(10) == []
        clock.advance(0.001)
        (delivery,) = consumer.fetch(10)
        assert (decoded(delivery).id, decoded(delivery).due_at) == ("later", clock())

    def test_a_consumer_knows_when_the_next_message_is_due(
        self, broker: Broker, consumer: Consumer, clock: MovableClock
    ) -> None:
        needs_due_times(broker)
        consumer.fetch(1)
        assert consumer.next_due_at() is None
        now = clock()
        send(broker, "b", due_at=now + 20)
        send(broker, "a", due_at=now + 10)
        consumer.fetch(1)
        assert consumer.next_due_at() == now + 10
        clock.advance(10)
        assert ids(consumer.fetch(1)) == ["a"]
        assert consumer.next_due_at() == now + 20

    def test_a_due_time_that_has_passed_is_no_delay(
        self, broker: Broker, consumer: Consumer, clock: MovableClock
    ) -> None:
        send(broker, "a", due_at=clock() - 1)
        send(broker, "b", due_at=clock())
        assert ids(consumer.fetch(10)) == ["a", "b"]

    def test_priority_holds_among_messages_that_became_due(
        self, broker: Broker, consumer: Consumer, clock: MovableClock
    ) -> None:
        send(broker, "low", due_at=clock() + self.unit)
        send(broker, "high", due_at=clock() + 2 * self.unit, priority=9)
        clock.advance(5 * self.unit)
        assert ids(consumer.fetch(10)) == ["high", "low"]

    def test_many_delayed_messages_all_come_once(self, broker: Broker, consumer: Consumer, clock: MovableClock) -> None:
        names = [f"m{n}" for n in range(1300)]
        with broker.batch():
            for n, name in enumerate(names):
                broker.publish(message(name, due_at=clock() + (1 + n % 7) * self.unit))
        clock.advance(10 * self.unit)
        came: list[str] = []
        while len(came) < len(names):
            came += ids(fetch_when_there(consumer, 500))
        assert sorted(came) == sorted(names)
        assert consumer.fetch(500) == []

    def test_an_expired_message_is_delivered_with_its_expiry_untouched(
        self, broker: Broker, consumer: Consumer, clock: MovableClock
    ) -> None:
        expires_at = clock() + self.unit
        send(broker, "late", expires_at=expires_at)
        clock.advance(3 * self.unit)
        assert [decoded(delivery).expires_at for delivery in consumer.fetch(1)] == [expires_at]

    # --- batches ---

    def test_a_batch_is_sent_at_the_end_of_its_block(self, broker: Broker) -> None:
        with broker.batch():
            send(broker, "a", "b")
            assert waiting(broker) == []
        assert waiting(broker) == ["a", "b"]

    def test_a_full_batch_is_sent_at_once(self, broker: Broker) -> None:
        with broker.batch(max_size=2):
            send(broker, "a", "b", "c")
            assert waiting(broker) == ["a", "b"]
        assert waiting(broker) == ["a", "b", "c"]

    def test_a_batch_whose_block_raises_sends_nothing_more(self, broker: Broker) -> None:
        with pytest.raises(ZeroDivisionError), broker.batch(max_size=2):
            send(broker, "a", "b", "c")
            raise ZeroDivisionError
        assert waiting(broker) == ["a", "b"]
        send(broker, "d")
        assert waiting(broker) == ["a", "b", "d"]

    def test_batches_nest_into_one(self, broker: Broker) -> None:
        with broker.batch():
            with broker.batch():
                send(broker, "a")
            assert waiting(broker) == []
        assert waiting(broker) == ["a"]

    def test_a_batch_belongs_to_the_thread_that_opened_it(self, broker: Broker) -> None:
        with broker.batch():
            thread = threading.Thread(target=send, args=(broker, "other"))
            thread.start()
            thread.join()
            assert waiting(broker) == ["other"]

    def test_threads_publish_through_one_broker(self, broker: Broker) -> None:
        def publish(name: str) -> None:
            send(broker, *(f"{name}{n}" for n in range(20)))

        threads = [threading.Thread(target=publish, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(waiting(broker)) == sorted(f"{name}{n}" for name in "abcd" for n in range(20))

    # --- bodies ---

    @pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
    def test_any_bytes_travel_unchanged(self, open_broker: OpenBroker, body: bytes) -> None:
        broker = open_broker(max_message_bytes=2 << 20)
        broker.publish(message("a", body=body))
        consumer = broker.consumer(["default"], name="w", lease=LEASE)
        assert [decoded(delivery).body for delivery in consumer.fetch(1)] == [body]
        consumer.close()

    def test_names_and_headers_in_any_script_travel_unchanged(self, broker: Broker) -> None:
        queue, headers = "коричневый 'медведь'; --", {"ключ": "值 🐻", "": "", "quote\"'": "\n\t"}
        broker.publish(message("🆔", queue=queue, headers=headers))
        consumer = broker.consumer([queue], name="wörker", lease=LEASE)
        (delivery,) = consumer.fetch(1)
        assert (decoded(delivery).id, delivery.queue, dict(decoded(delivery).headers)) == ("🆔", queue, headers)
        consumer.close()

    def test_a_message_that_is_too_large_is_refused_with_its_size(self, open_broker: OpenBroker) -> None:
        broker = open_broker(max_message_bytes=1000)
        with pytest.raises(PayloadTooLarge, match=r"tasks\.add.*max_message_bytes=1000"):
            broker.publish(message("a", body=bytes(1000)))
        assert waiting(broker) == []

    # --- waking up ---

    def test_a_publish_wakes_an_idle_consumer(self, open_broker: OpenBroker, consumer: Consumer) -> None:
        quiet(consumer)
        assert not readable(consumer, 0)
        send(open_broker(), "a")
        assert ids(fetch_when_there(consumer)) == ["a"]

    def test_a_delayed_publish_wakes_an_idle_consumer_to_learn_the_time(
        self, broker: Broker, consumer: Consumer, clock: MovableClock
    ) -> None:
        needs_due_times(broker)
        assert consumer.fetch(1) == []
        quiet(consumer)
        send(broker, "a", due_at=clock() + 10)
        assert readable(consumer)
        consumer.clear()
        assert consumer.fetch(1) == []
        assert consumer.next_due_at() == clock() + 10

    def test_what_one_worker_gives_back_wakes_the_others(self, broker: Broker, consumer: Consumer) -> None:
        other = broker.consumer(["default"], name="other", lease=LEASE)
        send(broker, "a")
        assert ids(other.fetch(1)) == ["a"]
        quiet(consumer)
        other.close()
        assert ids(fetch_when_there(consumer)) == ["a"]

    # --- opening and closing ---

    @needs_open_files
    def test_a_closed_broker_holds_nothing_open(self, open_broker: OpenBroker) -> None:
        before = open_files()
        broker = open_broker()
        consumer = broker.consumer(["default"], name="worker", lease=LEASE)
        send(broker, "a")
        assert ids(fetch_when_there(consumer)) == ["a"]
        consumer.close()
        broker.close()
        assert open_files() - before == set()

    def test_a_closed_broker_opens_again_when_used(self, broker: Broker) -> None:
        send(broker, "a")
        broker.close()
        send(broker, "b")
        broker.close()
        assert waiting(broker) == ["a", "b"]

    def test_messages_outlive_the_broker_object(self, open_broker: OpenBroker) -> None:
        first = open_broker()
        send(first, "a")
        first.close()
        second = open_broker()
        assert waiting(second) == ["a"]
        consumer = second.consumer(["default"], name="w", lease=LEASE)
        assert consumer.settle(acks(consumer.fetch(1)), None, shared=False) == []
        consumer.close()

    def test_the_transport_says_what_it_promises(self, broker: Broker) -> None:
        assert broker.features.name
        assert broker.features.durable <= broker.features.processes
        assert 0 <= broker.ping() < 5
