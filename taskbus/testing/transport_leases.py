"""The part of the transport contract about leases: who holds what, who may settle it, and steps that happen whole."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from taskbus.broker.broker import Broker
from taskbus.broker.consumer import Consumer
from taskbus.broker.delivery import Act, Delivery, Settlement
from taskbus.errors import LeaseLost, StoreError
from taskbus.message import Recorded
from taskbus.testing.clock import MovableClock
from taskbus.testing.transport_basis import (
    LEASE,
    Basis,
    acks,
    decoded,
    fetch_when_there,
    ids,
    message,
    needs_leases,
    needs_lists,
    quiet,
    readable,
    send,
    waiting,
)

RECORDED = Recorded()


class Ledger:
    """A store's ``apply`` that notes what it is asked to record, and answers as told: None refuses."""

    def __init__(self, answer: Recorded | Exception | None = RECORDED) -> None:
        self.changes: list[Any] = []
        self.transactions: list[Any] = []
        self.answer = answer

    def __call__(self, changes: Sequence[Any], transaction: Any) -> Recorded | None:
        self.changes += changes
        self.transactions.append(transaction)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


Join = Callable[[str], Consumer]


class LeasesContract(Basis):
    """Leases, fences, counters, and settling as one step."""

    @pytest.fixture
    def join(self, broker: Broker) -> Join:
        return lambda name: broker.consumer(["default"], name=name, lease=LEASE)

    @pytest.fixture
    def held(self, broker: Broker, consumer: Consumer) -> list[Delivery]:
        """Three messages, a, b and c, held by ``consumer``."""
        send(broker, "a", "b", "c")
        return consumer.fetch(3)

    # --- dead and stale workers ---

    def test_what_a_dead_worker_held_is_delivered_again_and_counted(
        self, broker: Broker, consumer: Consumer, join: Join, held: list[Delivery], clock: MovableClock
    ) -> None:
        needs_leases(broker)
        clock.advance(LEASE + 1)
        other = join("other")
        assert (other.fetch(3), other.reap(), other.reap()) == ([], 3, 0)
        again = other.fetch(3)
        assert ids(again) == ["a", "b", "c"]
        assert [(each.losses, each.crashes) for each in again] == [(1, 0)] * 3
        assert [worker.name for worker in broker.workers()] == ["other"]
        other.close()

    def test_a_worker_that_renews_keeps_what_it_holds_for_ever(
        self, broker: Broker, consumer: Consumer, join: Join, held: list[Delivery], clock: MovableClock
    ) -> None:
        needs_leases(broker)
        other = join("other")
        for _ in range(20):
            clock.advance(LEASE / 3)
            consumer.renew()
            other.renew()
            assert other.reap() == 0
        assert consumer.settle(acks(held), None, shared=False) == []
        other.close()

    def test_a_late_worker_that_nobody_reaped_still_holds_its_deliveries(
        self, broker: Broker, consumer: Consumer, held: list[Delivery], clock: MovableClock
    ) -> None:
        needs_leases(broker)
        clock.advance(LEASE * 10)
        consumer.renew()
        assert consumer.settle(acks(held), None, shared=False) == []
        assert waiting(broker) == []

    def test_a_worker_that_was_late_itself_takes_nobody_for_dead(
        self, broker: Broker, consumer: Consumer, join: Join, held: list[Delivery], clock: MovableClock
    ) -> None:
        needs_leases(broker)
        other = join("other")
        clock.advance(LEASE + 1)
        assert other.reap() == 0
        other.renew()
        assert other.reap() == 0  # the others must have the time to renew, too
        for reaped in (0, 3):
            clock.advance(LEASE / 3)
            other.renew()
            assert other.reap() == reaped
        other.close()

    def test_a_stale_worker_can_settle_nothing(
        self, broker: Broker, consumer: Consumer, join: Join, held: list[Delivery], clock: MovableClock
    ) -> None:
        needs_leases(broker)
        clock.advance(LEASE + 1)
        other = join("other")
        other.reap()
        ledger = Ledger()
        settlements = [
            Settlement(each, act, 0, [message("more")], ["change"]) for each, act in zip(held, Act, strict=True)
        ]
        for shared in (False, *([True] if broker.features.atomic_settle else [])):
            assert consumer.settle(settlements, ledger, shared=shared) == held
        assert ledger.changes == []
        assert waiting(broker) == ["a", "b", "c"]
        again = other.fetch(3)
        assert consumer.settle(settlements, ledger, shared=False) == held
        assert [each.crashes for each in again] == [0, 0, 0]
        assert other.settle(acks(again), None, shared=False) == []
        other.close()

    def test_a_reaped_worker_learns_it_when_it_renews_and_can_join_again(
        self, broker: Broker, consumer: Consumer, join: Join, held: list[Delivery], clock: MovableClock
    ) -> None:
        needs_leases(broker)
        first = consumer.incarnation
        clock.advance(LEASE + 1)
        other = join("other")
        other.reap()
        with pytest.raises(LeaseLost):
            consumer.renew()
        consumer.rejoin()
        consumer.renew()
        assert consumer.incarnation != first
        again = consumer.fetch(3)
        assert ids(again) == ["a", "b", "c"]
        assert consumer.settle(acks(held), None, shared=False) == held
        assert consumer.settle(acks(again), None, shared=False) == []
        other.close()

    def test_a_reaped_worker_takes_nothing_that_nobody_would_ever_reap(
        self, broker: Broker, consumer: Consumer, join: Join, clock: MovableClock
    ) -> None:
        needs_leases(broker)
        send(broker, "a")
        clock.advance(LEASE + 1)
        other = join("other")
        other.reap()
        with pytest.raises(LeaseLost):
            consumer.fetch(1)
        assert ids(other.fetch(1)) == ["a"]
        other.close()

    def test_the_healthy_of_a_batch_are_settled_and_the_stale_are_not(
        self, broker: Broker, consumer: Consumer, held: list[Delivery]
    ) -> None:
        assert consumer.settle([Settlement(held[0], Act.RELEASE)], None, shared=False) == []
        ledger = Ledger()
        settlements = [Settlement(each, changes=[decoded(each).id]) for each in held]
        assert consumer.settle(settlements, ledger, shared=False) == [held[0]]
        assert ledger.changes == ["b", "c"]
        assert waiting(broker) == ["a"]

    def test_an_old_delivery_cannot_settle_a_new_one_of_the_same_message(
        self, broker: Broker, consumer: Consumer, held: list[Delivery]
    ) -> None:
        consumer.settle([Settlement(held[0], Act.RELEASE)], None, shared=False)
        (again,) = consumer.fetch(1)
        assert ids([again]) == ["a"]
        assert consumer.settle([Settlement(held[0])], None, shared=False) == [held[0]]
        assert consumer.settle([Settlement(again)], None, shared=False) == []

    def test_a_delivery_settled_twice_is_stale_the_second_time(
        self, broker: Broker, consumer: Consumer, held: list[Delivery]
    ) -> None:
        twice = [Settlement(held[0], follow_ups=[message("next")])] * 2
        assert consumer.settle(twice, None, shared=False) == [held[0]]
        assert consumer.settle(acks(held[:1]), None, shared=False) == [held[0]]
        send(broker, "d")
        later = consumer.fetch(2)
        assert consumer.settle(acks(held[:1]), None, shared=False) == [held[0]]
        assert ids(later) == ["next", "d"]
        assert consumer.settle(acks(later), None, shared=False) == []

    def test_the_fence_grows_with_every_delivery(self, broker: Broker, consumer: Consumer) -> None:
        send(broker, "a")
        fences = []
        for n in range(5):
            (delivery,) = fetch_when_there(consumer)
            fences.append(delivery.fence)
            act, follow_ups = (Act.ACK, [message("a", attempt=2)]) if n == 2 else (Act.RELEASE, [])
            consumer.settle([Settlement(delivery, act, follow_ups=follow_ups)], None, shared=False)
        assert fences == sorted(set(fences))

    # --- giving back ---

    def test_a_crash_is_counted_and_a_release_is_not(self, consumer: Consumer, held: list[Delivery]) -> None:
        consumer.settle([Settlement(held[0], Act.CRASH), Settlement(held[1], Act.RELEASE)], None, shared=False)
        again = consumer.fetch(2)
        assert [(decoded(each).id, each.crashes, each.losses) for each in again] == [("a", 1, 0), ("b", 0, 0)]
        consumer.settle([Settlement(again[0], Act.CRASH)], None, shared=False)
        assert [each.crashes for each in consumer.fetch(1)] == [2]

    def test_what_is_given_back_with_a_delay_waits_for_it(
        self, broker: Broker, consumer: Consumer, held: list[Delivery], clock: MovableClock
    ) -> None:
        five = 5 * self.unit
        delayed = [Settlement(held[0], Act.RELEASE, five), Settlement(held[1], Act.CRASH, 2 * five)]
        consumer.settle(delayed, None, shared=False)
        assert consumer.fetch(5) == []
        if not broker.features.pushes:
            assert consumer.next_due_at() == clock() + 5
        clock.advance(five)
        assert ids(consumer.fetch(5)) == ["a"]
        clock.advance(five)
        assert [(decoded(each).id, each.crashes) for each in consumer.fetch(5)] == [("b", 1)]

    def test_closing_gives_back_everything_uncounted(
        self, broker: Broker, consumer: Consumer, join: Join, held: list[Delivery]
    ) -> None:
        consumer.close()
        assert broker.workers() == []
        other = join("other")
        assert [(decoded(each).id, each.crashes, each.losses) for each in other.fetch(5)] == [
            ("a", 0, 0),
            ("b", 0, 0),
            ("c", 0, 0),
        ]
        other.close()

    # --- settling is one step ---

    def test_follow_ups_are_published_with_their_queue_priority_and_time(
        self, broker: Broker, consumer: Consumer, held: list[Delivery], clock: MovableClock
    ) -> None:
        follow_ups = [
            message("next", queue="other", priority=7),
            message("a", attempt=2, due_at=clock() + 4 * self.unit, headers={"k": "v"}),
        ]
        assert consumer.settle([Settlement(held[0], follow_ups=follow_ups)], None, shared=False) == []
        (other,) = broker.peek("other", 5)
        assert (decoded(other).id, other.priority) == ("next", 7)
        assert consumer.fetch(5) == []
        clock.advance(4 * self.unit)
        assert [decoded(each) for each in consumer.fetch(5)] == [follow_ups[1]]

    @pytest.mark.parametrize("shared", [False, True])
    def test_changes_are_recorded_in_the_step(
        self, broker: Broker, consumer: Consumer, held: list[Delivery], shared: bool
    ) -> None:
        self.needs_sharing(broker, shared)
        ledger = Ledger()
        settlements = [Settlement(each, changes=[decoded(each).id, n]) for n, each in enumerate(held)]
        assert consumer.settle(settlements, ledger, shared=shared) == []
        assert ledger.changes == ["a", 0, "b", 1, "c", 2]
        assert [transaction is not None for transaction in ledger.transactions] == [shared]

    @pytest.mark.parametrize("shared", [False, True])
    def test_nothing_happens_when_recording_fails(
        self, broker: Broker, consumer: Consumer, held: list[Delivery], shared: bool
    ) -> None:
        self.needs_sharing(broker, shared)
        settlements = [
            Settlement(held[0], follow_ups=[message("next")], changes=["x"]),
            Settlement(held[1], Act.CRASH),
            Settlement(held[2], Act.RELEASE, 5),
        ]
        with pytest.raises(StoreError, match="full"):
            consumer.settle(settlements, Ledger(StoreError("full")), shared=shared)
        with pytest.raises(StoreError, match="refused"):
            consumer.settle(settlements, Ledger(None), shared=shared)
        if broker.features.lists:
            assert [(size.ready, size.delayed, size.running) for size in broker.queues()] == [(0, 0, 3)]
        assert waiting(broker) == waiting(broker, "next") == []
        assert consumer.settle(acks(held), None, shared=False) == []

    @pytest.mark.parametrize("shared", [False, True])
    def test_a_settlement_without_a_delivery_publishes_and_records(
        self, broker: Broker, consumer: Consumer, shared: bool
    ) -> None:
        self.needs_sharing(broker, shared)
        ledger = Ledger()
        settlement = Settlement(None, follow_ups=[message("replayed")], changes=["exhume"])
        assert broker.transact(settlement, ledger, shared=shared) is True
        assert ledger.changes == ["exhume"]
        assert ids(consumer.fetch(2)) == ["replayed"]
        assert consumer.settle([settlement], ledger, shared=shared) == []
        assert ids(consumer.fetch(2)) == ["replayed"]

    def test_a_refused_change_publishes_nothing_where_the_step_is_shared(self, broker: Broker) -> None:
        self.needs_sharing(broker, True)
        settlement = Settlement(None, follow_ups=[message("replayed")], changes=["exhume"])
        assert broker.transact(settlement, Ledger(None), shared=True) is False
        assert waiting(broker) == []

    def needs_sharing(self, broker: Broker, shared: bool) -> None:
        if shared and not (broker.features.atomic_settle and broker.database):
            pytest.skip(f"Features of {broker.features.name}: no transaction to share")

    # --- views ---

    def test_queue_sizes_tell_what_waits_and_since_when(
        self, broker: Broker, consumer: Consumer, clock: MovableClock
    ) -> None:
        needs_lists(broker)
        started = clock()
        send(broker, "a", "b", "c", "d")
        consumer.fetch(1)
        clock.advance(5)
        send(broker, "e", "f", queue="other", due_at=clock() + 60)
        sizes = {size.name: size for size in broker.queues()}
        assert [*sizes] == ["default", "other"]
        assert (sizes["default"].ready, sizes["default"].delayed, sizes["default"].running) == (3, 0, 1)
        assert (sizes["default"].oldest_at, sizes["other"].oldest_at) == (started, None)
        assert (sizes["other"].ready, sizes["other"].delayed, sizes["other"].running) == (0, 2, 0)

    def test_what_waits_may_be_withdrawn_ready_or_delayed_and_what_is_held_may_not(
        self, broker: Broker, consumer: Consumer, held: list[Delivery], clock: MovableClock
    ) -> None:
        send(broker, "ready", "other")
        send(broker, "later", due_at=clock() + 60)

        def withdrawn(id: str) -> bool:
            return broker.withdraw("default", lambda each: decoded(each).id == id, 10) is not None

        lists = broker.features.lists
        assert [withdrawn(id) for id in ("ready", "later", "ready", *ids(held))] == [lists, lists, *[False] * 4]
        assert waiting(broker) == (["other"] if lists else ["ready", "other"])
        assert ids(consumer.fetch(9)) == (["other"] if lists else ["ready", "other"])
        assert consumer.settle(acks(held), None, shared=False) == []

    def test_peeking_takes_nothing_and_shows_the_delayed_last(
        self, broker: Broker, consumer: Consumer, clock: MovableClock
    ) -> None:
        send(broker, "later", due_at=clock() + 60)
        send(broker, "low", "high")
        send(broker, "urgent", priority=9)
        delayed = ["later"] if broker.features.lists else []
        assert waiting(broker) == waiting(broker) == ["urgent", "low", "high", *delayed]
        assert ids(broker.peek("default", 2)) == ["urgent", "low"]
        assert broker.peek("nowhere", 5) == []
        assert ids(consumer.fetch(9)) == ["urgent", "low", "high"]

    def test_a_purge_leaves_what_is_held(
        self, broker: Broker, consumer: Consumer, held: list[Delivery], clock: MovableClock
    ) -> None:
        send(broker, "d", "e")
        send(broker, "f", due_at=clock() + 5)
        send(broker, "kept", queue="other")
        assert broker.purge("default") == 2 + broker.features.lists
        assert consumer.settle([Settlement(held[0], Act.RELEASE), *acks(held[1:])], None, shared=False) == []
        assert (waiting(broker), waiting(broker, "other")) == (["a"], ["kept"])

    def test_workers_are_listed_with_their_lease_and_load(
        self, broker: Broker, consumer: Consumer, held: list[Delivery], clock: MovableClock
    ) -> None:
        needs_lists(broker)
        (worker,) = broker.workers()
        assert (worker.name, worker.incarnation, worker.in_flight) == ("worker", consumer.incarnation, 3)
        assert (list(worker.queues), worker.started_at, worker.lease_until) == (["default"], clock(), clock() + LEASE)
        clock.advance(7)
        consumer.renew()
        assert [worker.lease_until for worker in broker.workers()] == [clock() + LEASE]

    def test_an_idle_worker_writes_nothing(self, broker: Broker, consumer: Consumer, join: Join) -> None:
        other = join("other")
        quiet(other)
        for _ in range(3):
            assert (consumer.fetch(10), consumer.reap()) == ([], 0)
        assert not readable(other, 0.3)
        other.close()
