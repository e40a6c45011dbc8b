"""What every result store must do, as tests: subclass ``StoreContract`` and say how yours is opened.

::

    class TestMine(StoreContract):
        def open(self, folder: Path, clock: Clock) -> Store:
            return open_store(f"mine://{folder}", clock)

A store that several processes can open passes ``ProcessesContract`` too, one that writes inside a broker's transaction
``TransactionsContract``. No method may be overridden to pass.
"""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

import pytest

from taskbus.outcome import Failure, State
from taskbus.store.base import Bury, Change, Exhume, Filter, ForgetAttempts, Store
from taskbus.store.flows import AddNodes, BeginFlow, Flow
from taskbus.testing.clock import START, MovableClock
from taskbus.testing.flow_records import SUCCESS, FlowUnderTest, ids_of, task
from taskbus.testing.letters_contract import DeadLettersContract
from taskbus.testing.records import DEADLINE, FAILURE, Basis, attempted, dead, eventually, saved


class ResultsContract(Basis):
    """Results and their time to live."""

    def test_nothing_is_known_of_an_unknown_task(self, store: Store) -> None:
        assert store.results(["t1", "t2"]) == {}
        assert store.results([]) == {}

    @pytest.mark.parametrize("state", list(State))
    def test_a_result_comes_back_as_it_was_saved(self, store: Store, state: State) -> None:
        fields: dict[str, Any] = {"value": b"\x00\xff", "content_type": "json", "attempt": 3, "started_at": 1.25}
        change = saved("t1", state, finished_at=START + 0.1, failure=FAILURE, **fields)
        assert store.apply([change])
        assert store.results(["t1"]) == {"t1": change.result}
        assert type(store.results(["t1"])["t1"].state) is State

    def test_no_value_is_not_an_empty_value(self, store: Store) -> None:
        store.apply([saved("none"), saved("empty", value=b"")])
        found = store.results(["none", "empty"])
        assert (found["none"].value, found["empty"].value) == (None, b"")

    @pytest.mark.parametrize("first", [state for state in State if state.is_final])
    @pytest.mark.parametrize("second", list(State))
    def test_the_first_final_state_stays(self, store: Store, first: State, second: State) -> None:
        store.apply([saved("t1", first, value=b"first")])
        assert store.apply([saved("t1", second, value=b"second", failure=FAILURE)])
        found = store.results(["t1"])["t1"]
        assert (found.state, found.value, found.failure) == (first, b"first", None)

    @pytest.mark.parametrize("second", list(State))
    def test_a_state_that_is_not_final_is_replaced(self, store: Store, second: State) -> None:
        store.apply([saved("t1", State.RETRY, failure=FAILURE, attempt=1)])
        store.apply([saved("t1", second, attempt=2)])
        found = store.results(["t1"])["t1"]
        assert (found.state, found.attempt, found.failure) == (second, 2, None)

    def test_the_first_of_two_final_states_in_one_set_stays(self, store: Store) -> None:
        store.apply([saved("t1", value=b"first"), saved("t1", State.FAILURE, failure=FAILURE)])
        assert store.results(["t1"])["t1"].value == b"first"

    def test_many_results_are_read_at_once(self, store: Store) -> None:
        ids = [f"task-{number:04}" for number in range(2500)]
        store.apply([saved(task_id, value=task_id.encode()) for task_id in ids])
        found = store.results([*ids, "missing"])
        assert {task_id: result.value for task_id, result in found.items()} == {each: each.encode() for each in ids}

    def test_a_result_is_gone_when_its_time_is_over(self, store: Store, clock: MovableClock) -> None:
        store.apply([saved("short", ttl=10), saved("long", ttl=20)])
        clock.advance(9.9)
        assert store.results(["short", "long"]).keys() == {"short", "long"}
        clock.advance(0.1)
        assert store.results(["short", "long"]).keys() == {"long"}
        assert store.results(["short"]) == {}

    def test_saving_again_starts_the_time_to_live_anew(self, store: Store, clock: MovableClock) -> None:
        store.apply([saved("t1", State.STARTED, ttl=10)])
        clock.advance(8)
        store.apply([saved("t1", State.RETRY, ttl=10)])
        clock.advance(8)
        assert store.results(["t1"])["t1"].state is State.RETRY

    def test_a_final_result_whose_time_is_over_makes_room(self, store: Store, clock: MovableClock) -> None:
        store.apply([saved("t1", value=b"old", ttl=10)])
        clock.advance(11)
        store.apply([saved("t1", State.FAILURE, failure=FAILURE, ttl=10)])
        assert store.results(["t1"])["t1"].state is State.FAILURE

    def test_a_sweep_deletes_what_is_over_in_bounded_steps(self, store: Store, clock: MovableClock) -> None:
        store.apply([saved(f"over-{number}", ttl=10) for number in range(2100)])
        store.apply([saved("kept", ttl=100)])
        assert store.sweep(clock()) == 0
        swept = [store.sweep(clock.advance(50)), store.sweep(clock()), store.sweep(clock()), store.sweep(clock())]
        assert swept == [1000, 1000, 100, 0]
        assert store.results(["kept", "over-0"]).keys() == {"kept"}

    def test_a_forgotten_result_is_unknown_and_may_come_again(self, store: Store) -> None:
        store.apply([saved("t1", value=b"1"), saved("t2", value=b"2")])
        store.forget(["t1", "missing"])
        assert store.results(["t1", "t2"]).keys() == {"t2"}
        store.apply([saved("t1", value=b"3")])
        assert store.results(["t1"])["t1"].value == b"3"

    def test_a_value_of_a_mebibyte_is_kept(self, store: Store) -> None:
        value = bytes(range(256)) * 4096
        store.apply([saved("t1", value=value), saved("t2", value=b"small")])
        assert store.results(["t1"])["t1"].value == value

    def test_names_and_messages_may_be_in_any_script(self, store: Store) -> None:
        failure = Failure("app.Fehler", "ключ «日本» 💥 ' \" % ; --", "第一行\n第二行")
        store.apply([saved("aufgabe-ß-1", State.FAILURE, task="名前.задача", failure=failure)])
        found = store.results(["aufgabe-ß-1"])["aufgabe-ß-1"]
        assert (found.task, found.failure) == ("名前.задача", failure)

    def test_a_message_with_half_a_surrogate_pair_is_kept_legibly(self, store: Store) -> None:
        failure = Failure("builtins.FileNotFoundError", "no such file: caf\udce9.txt", "")
        store.apply([saved("t1", State.FAILURE, failure=failure), attempted("t1", 1, failure)])
        store.apply([Bury(dead("t1", failure=failure))])
        found = store.results(["t1"])["t1"].failure
        assert found is not None and "no such file: caf" in found.message
        assert store.count_dead_letters(Filter(text="no such file: caf")) == 1


class AttemptsContract(Basis):
    """Failed attempts."""

    def test_attempts_come_oldest_first_for_each_task(self, store: Store) -> None:
        store.apply([attempted("t1", 2), attempted("t2", 1), attempted("t1", 11), attempted("t1", 1)])
        found = store.attempts(["t1", "t2", "t3"])
        assert {task_id: [each.attempt for each in attempts] for task_id, attempts in found.items()} == {
            "t1": [1, 2, 11],
            "t2": [1],
        }
        assert found["t2"][0] == attempted("t2", 1).attempt

    def test_the_same_attempt_is_kept_once_as_last_saved(self, store: Store) -> None:
        again = Failure("builtins.KeyError", "'x'", "")
        store.apply([attempted("t1", 1)])
        store.apply([attempted("t1", 1, again)])
        assert [each.failure for each in store.attempts(["t1"])["t1"]] == [again]

    def test_attempts_of_a_task_that_succeeded_are_forgotten(self, store: Store) -> None:
        store.apply([attempted("t1", 1), attempted("t1", 2), attempted("t2", 1)])
        store.apply([saved("t1"), ForgetAttempts("t1"), ForgetAttempts("missing")])
        assert store.attempts(["t1", "t2"]).keys() == {"t2"}


class SharingContract(Basis):
    """Threads, and stores that come and go."""

    def test_threads_may_write_and_read_at_once(self, store: Store) -> None:
        def write(writer: int) -> None:
            for number in range(25):
                store.apply([saved(f"{writer}-{number}", value=b"1"), attempted(f"{writer}-{number}", 1)])
                assert store.results([f"{writer}-{number}"])

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(write, range(8)))
        ids = [f"{writer}-{number}" for writer in range(8) for number in range(25)]
        assert len(store.results(ids)) == len(store.attempts(ids)) == 200

    def test_one_of_many_threads_that_exhume_a_letter_gets_it(self, store: Store) -> None:
        store.apply([Bury(dead(f"t{number}")) for number in range(20)])
        with ThreadPoolExecutor(8) as pool:
            for number in range(20):
                taken = pool.map(lambda _, task_id=f"t{number}": store.apply([Exhume(task_id)]), range(8))
                assert sum(each is not None for each in taken) == 1

    def test_one_of_many_threads_that_finish_a_task_wins(self, store: Store) -> None:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda number: store.apply([saved("t1", value=b"%d" % number)]), range(8)))
        winner = store.results(["t1"])
        store.apply([saved("t1", value=b"late")])
        assert store.results(["t1"]) == winner

    def test_another_store_on_the_same_data_sees_what_was_written(
        self, store: Store, tmp_path: Path, clock: MovableClock
    ) -> None:
        store.apply([saved("t1", value=b"1"), Bury(dead("t2"))])
        with closing(self.open(tmp_path, clock)) as other:
            assert other.results(["t1"])["t1"].value == b"1"
            assert other.apply([Exhume("t2")])
        assert not store.apply([Exhume("t2")])

    def test_a_closed_store_opens_again_when_it_is_used(self, store: Store) -> None:
        store.apply([saved("t1", value=b"1")])
        store.close()
        assert store.results(["t1"])["t1"].value == b"1"
        store.close()
        assert store.apply([saved("t2")])

    def test_a_subscriber_hears_of_a_result_saved_by_another_store(
        self, store: Store, tmp_path: Path, clock: MovableClock
    ) -> None:
        heard = threading.Event()
        cancel = store.subscribe(heard.set)
        with closing(self.open(tmp_path, clock)) as other:
            other.apply([saved("t1")])
            assert heard.wait(DEADLINE)
        cancel()

    def test_a_subscription_that_was_ended_hears_nothing_more(self, store: Store) -> None:
        ended, going_on = threading.Event(), threading.Event()
        store.subscribe(ended.set)()
        cancel = store.subscribe(going_on.set)
        store.apply([saved("t1")])
        assert going_on.wait(DEADLINE)
        assert not ended.is_set()
        cancel()


class StoreContract(ResultsContract, AttemptsContract, DeadLettersContract, SharingContract):
    """Everything that every store must do."""


class TransactionsContract(Basis):
    """A store that writes inside a broker's transaction."""

    def transaction(self, folder: Path) -> AbstractContextManager[Any]:
        """A transaction's cursor on the database that ``open`` uses, undone if the block raises."""
        raise NotImplementedError

    def test_a_set_of_changes_shares_the_fate_of_its_transaction(self, store: Store, tmp_path: Path) -> None:
        changes: list[Change] = [saved("t1"), attempted("t1", 1), Bury(dead("t1"))]
        with pytest.raises(ZeroDivisionError), self.transaction(tmp_path) as cursor:
            assert store.apply(changes, cursor)
            raise ZeroDivisionError
        assert (store.results(["t1"]), store.attempts(["t1"]), store.count_dead_letters(Filter())) == ({}, {}, 0)
        with self.transaction(tmp_path) as cursor:
            assert store.apply(changes, cursor)
            assert not store.apply([saved("t2"), Exhume("missing")], cursor)
        assert (len(store.results(["t1", "t2"])), store.count_dead_letters(Filter())) == (1, 1)

    def test_flows_share_the_fate_of_their_transaction_too(
        self, store: Store, tmp_path: Path, clock: MovableClock
    ) -> None:
        flow = FlowUnderTest(store, clock)
        begun = BeginFlow(Flow(flow.id, "", "b", START, 60.0), [task("a"), task("b", after="a")])
        with pytest.raises(ZeroDivisionError), self.transaction(tmp_path) as cursor:
            recorded = store.apply([begun, saved("t1"), flow.ended("a")], cursor)
            assert recorded is not None and ids_of(recorded.ready) == ["b"]
            raise ZeroDivisionError
        assert (store.flow(flow.id), store.results(["t1"])) == (None, {})
        with self.transaction(tmp_path) as cursor:
            assert store.apply([begun, saved("t1"), AddNodes("missing", [task("c")])], cursor) is None
            assert store.apply([begun, flow.ended("a")], cursor)
            assert store.apply([flow.ended("b")], cursor)
        assert (flow.states("a", "b"), store.results(["t1"])) == ([SUCCESS, SUCCESS], {})


class ProcessesContract(Basis):
    """A store that several processes open."""

    url: str
    """Opens the same store as ``open``, with ``{folder}`` in it."""

    def test_processes_may_write_at_once(self, store: Store, tmp_path: Path) -> None:
        writers = [self.run_elsewhere(tmp_path, WRITER, name) for name in "abc"]
        assert [writer.wait(DEADLINE) for writer in writers] == [0, 0, 0]
        ids = [f"{name}-{number}" for name in "abc" for number in range(50)]
        assert len(store.results(ids)) == 150
        assert store.results(["contended"])["contended"].value in (b"a", b"b", b"c")

    def test_a_subscriber_hears_of_a_result_saved_by_another_process(self, store: Store, tmp_path: Path) -> None:
        heard = threading.Event()
        cancel = store.subscribe(heard.set)
        writer = self.run_elsewhere(tmp_path, WRITER, "a")

        def has_arrived() -> bool:
            heard.wait(0.1)
            heard.clear()
            return bool(store.results(["contended"]))

        eventually(has_arrived, "the other process's result")
        assert writer.wait(DEADLINE) == 0
        cancel()

    def run_elsewhere(self, folder: Path, program: str, argument: str) -> "subprocess.Popen[bytes]":
        """Run ``program`` in a process of its own, with the store's URL and ``argument``."""
        url = self.url.format(folder=folder)
        return subprocess.Popen([sys.executable, "-c", program, url, argument])


# The time of the movable clock, so that what one process writes is not yet over for the other.
WRITER = f"""
import sys
from taskbus.store.opening import open_store
from taskbus.testing.records import saved
store = open_store(sys.argv[1], lambda: {START})
for number in range(50):
    store.apply([saved(f"{{sys.argv[2]}}-{{number}}"), saved("contended", value=sys.argv[2].encode())])
"""
