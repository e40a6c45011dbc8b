"""``AsyncResult``: waiting without polling, and what waiting ends in."""

import asyncio
import gc
import pickle
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

from taskbus import codec
from taskbus.errors import ResultError, ResultTimeout, StoreError, TaskExpired, TaskRevoked
from taskbus.outcome import Failure, State
from taskbus.store import waiting
from taskbus.store.base import Store, StoredResult
from taskbus.store.memory import MemoryStore
from taskbus.store.opening import open_store
from taskbus.store.results import AsyncResult, as_completed
from taskbus.testing.records import FAILURE, eventually, saved

SOON = 20.0


def in_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an ``async def`` test in a loop of its own."""

    @wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


async def in_time(condition: Callable[[], object], what: str) -> None:
    """As ``eventually``, with the loop going on."""
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.002)


class CountingStore(MemoryStore):
    """A store in memory that counts how often it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.queries: list[int] = []

    def results(self, task_ids: Sequence[str]) -> Mapping[str, StoredResult]:
        self.queries.append(len(task_ids))
        return super().results(task_ids)


class DeafStore(MemoryStore):
    """A store that never notifies anyone."""

    def subscribe(self, notify: Callable[[], None]) -> Callable[[], None]:
        return lambda: None


class BrokenStore(MemoryStore):
    """A store whose database went away after the first look."""

    looks = 0

    def results(self, task_ids: Sequence[str]) -> Mapping[str, StoredResult]:
        self.looks += 1
        if self.looks > 1:
            raise StoreError("the disk is gone")
        return {}


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"memory://{tmp_path}" if request.param == "memory" else f"sqlite:///{tmp_path}/results.db")
    yield opened
    opened.close()


def result_of(store: Store, task_id: str = "t1") -> AsyncResult[Any]:
    return AsyncResult(task_id, store, decode=codec.decode)


def finish(store: Store, task_id: str = "t1", value: Any = 42) -> None:
    store.apply([saved(task_id, value=codec.encode(value))])


def waiters_threads() -> set[int | None]:
    return {thread.ident for thread in threading.enumerate() if thread.name == "taskbus-results"}


def test_a_value_that_is_there_is_returned_at_once(store: Store) -> None:
    finish(store, value={"a": [1, 2]})
    assert result_of(store).get(timeout=0) == {"a": [1, 2]}


def test_a_task_that_kept_no_value_returns_none(store: Store) -> None:
    store.apply([saved("t1", value=None)])
    assert result_of(store).get(timeout=0) is None


def test_get_wakes_up_when_the_result_arrives(store: Store) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiter = pool.submit(result_of(store).get, SOON)
        eventually(lambda: waiting.waiting_for(store)._wakes, "someone waiting")
        finish(store)
        assert waiter.result(SOON) == 42


def test_a_state_that_is_not_final_does_not_end_the_wait(store: Store) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiter = pool.submit(result_of(store).get, SOON)
        eventually(lambda: waiting.waiting_for(store)._wakes, "someone waiting")
        store.apply([saved("t1", State.RETRY, failure=FAILURE)])
        assert result_of(store).wait(0.05) is State.RETRY
        finish(store)
        assert waiter.result(SOON) == 42


def test_no_result_within_the_timeout_is_an_error_that_names_the_task(store: Store) -> None:
    for timeout, shown in ((0, "0"), (0.01, "0.01"), (-1, "0")):
        with pytest.raises(ResultTimeout, match=rf"no result of task t1 within {shown} s; it may still") as raised:
            result_of(store).get(timeout=timeout)
        assert all(cause in str(raised.value) for cause in ("no worker", "app.batch()", "forgotten", "result_ttl"))
        assert isinstance(raised.value, TimeoutError)
    assert not waiting.waiting_for(store)._wakes


def test_no_wake_up_is_lost_however_the_result_and_the_wait_interleave(store: Store) -> None:
    with ThreadPoolExecutor(1) as pool:
        for number in range(300):
            writer = pool.submit(finish, store, f"t{number}", number)
            assert result_of(store, f"t{number}").get(SOON) == number
            writer.result()


def test_hundreds_of_waiting_threads_share_one_that_asks() -> None:
    store, others = CountingStore(), waiters_threads()
    with ThreadPoolExecutor(200) as pool:
        waiters = [pool.submit(result_of(store, f"t{number}").get, SOON) for number in range(200)]
        eventually(lambda: len(waiting.waiting_for(store)._wakes) == 200, "all waiting")
        assert len(waiters_threads() - others) == 1
        before = len(store.queries)
        store.apply([saved(f"t{number}", value=codec.encode(number)) for number in range(200)])
        assert [waiter.result(SOON) for waiter in waiters] == list(range(200))
        assert len(store.queries) - before <= 3


def test_waiting_asks_nothing_while_nothing_happens() -> None:
    store = CountingStore()
    with pytest.raises(ResultTimeout):
        result_of(store).get(timeout=0.5)
    assert len(store.queries) <= 3


def test_a_result_is_found_even_if_the_database_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "REREAD_AFTER", 0.05)
    store = DeafStore()
    with ThreadPoolExecutor(1) as pool:
        waiter = pool.submit(result_of(store).get, SOON)
        eventually(lambda: waiting.waiting_for(store)._wakes, "someone waiting")
        finish(store)
        assert waiter.result(SOON) == 42


def test_a_store_that_goes_on_failing_while_someone_waits_is_their_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "PATIENCE", 0.0)
    with pytest.raises(StoreError, match="the disk is gone"):
        result_of(BrokenStore()).get(SOON)


@in_a_loop
async def test_a_store_that_goes_on_failing_is_the_error_of_who_waits_in_a_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(waiting, "PATIENCE", 0.0)
    store = BrokenStore()
    store.looks = 1
    with pytest.raises(StoreError, match="the disk is gone"):
        await result_of(store).aget(SOON)


def test_the_waiting_thread_leaves_when_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "REREAD_AFTER", 0.01)
    monkeypatch.setattr(waiting, "LINGER", 0.02)
    store = MemoryStore()
    with pytest.raises(ResultTimeout):
        result_of(store).get(0)
    eventually(lambda: waiting.waiting_for(store)._thread is None, "the thread's end")
    assert not store._subscribers
    with ThreadPoolExecutor(1) as pool:
        waiter = pool.submit(result_of(store).get, SOON)
        eventually(lambda: waiting.waiting_for(store)._wakes, "someone waiting")
        finish(store)
        assert waiter.result(SOON) == 42


def test_a_store_that_nobody_holds_is_not_kept_alive_by_having_been_waited_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "REREAD_AFTER", 0.01)
    monkeypatch.setattr(waiting, "LINGER", 0.02)
    store = MemoryStore()
    with pytest.raises(ResultTimeout):
        result_of(store).get(0)
    before = len(waiting._waiting)
    del store
    eventually(lambda: gc.collect() >= 0 and len(waiting._waiting) < before, "the store's end")


@in_a_loop
async def test_aget_leaves_the_loop_free(store: Store) -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    ticking = asyncio.create_task(tick())
    waiters = [asyncio.create_task(result_of(store, f"t{number}").aget(SOON)) for number in range(50)]
    async with asyncio.timeout(SOON):
        while ticks <= 10:
            await asyncio.sleep(0)
    await asyncio.to_thread(store.apply, [saved(f"t{number}", value=codec.encode(number)) for number in range(50)])
    assert await asyncio.gather(*waiters) == list(range(50))
    ticking.cancel()


@in_a_loop
async def test_aget_finds_what_was_there_before(store: Store) -> None:
    finish(store)
    result = result_of(store)
    assert await result.aget(SOON) == 42
    assert await result.aget(0) == 42
    assert await result_of(store).aget(0) == 42


@in_a_loop
async def test_aget_times_out_with_the_task_named(store: Store) -> None:
    with pytest.raises(ResultTimeout, match=r"task t1 within 0\.01 s"):
        await result_of(store).aget(0.01)
    assert not waiting.waiting_for(store)._wakes


@in_a_loop
async def test_a_cancelled_aget_waits_no_more(store: Store) -> None:
    waiter = asyncio.create_task(result_of(store).aget())
    async with asyncio.timeout(SOON):
        while not waiting.waiting_for(store)._wakes:
            await asyncio.sleep(0)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert not waiting.waiting_for(store)._wakes


def test_a_loop_that_was_closed_meanwhile_harms_nobody() -> None:
    store = MemoryStore()
    loop = asyncio.new_event_loop()
    waiter = loop.create_task(result_of(store).aget())
    loop.run_until_complete(in_time(lambda: waiting.waiting_for(store)._wakes, "someone waiting"))
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(result_of(store).get, SOON)
        eventually(lambda: len(waiting.waiting_for(store)._wakes.get("t1", ())) == 2, "both waiting")
        waiter.cancel()
        loop.close()
        finish(store)
        assert other.result(SOON) == 42


def test_the_state_follows_the_task(store: Store) -> None:
    result = result_of(store)
    assert (result.state, result.is_ready, result.failure) == (State.PENDING, False, None)
    store.apply([saved("t1", State.RETRY, failure=FAILURE)])
    assert (result.state, result.is_ready, result.failure) == (State.RETRY, False, FAILURE)
    finish(store)
    assert (result.state, result.is_ready, result.failure) == (State.SUCCESS, True, None)


def test_wait_returns_the_state_and_never_the_error(store: Store) -> None:
    store.apply([saved("t1", State.FAILURE, failure=FAILURE)])
    assert result_of(store).wait(SOON) is State.FAILURE
    assert result_of(store, "t2").wait(0) is State.PENDING


def test_a_final_result_is_kept_and_a_forgotten_one_is_not(store: Store) -> None:
    finish(store)
    result = result_of(store)
    assert result.get(0) == 42
    store.forget(["t1"])
    assert result.get(0) == 42
    result.forget()
    assert result.state is State.PENDING


def test_a_revoked_task_is_an_error_of_its_own(store: Store) -> None:
    expired = Failure("taskbus.errors.TaskExpired", "expired 3 s before it could start")
    store.apply([saved("t1", State.REVOKED, failure=expired), saved("t2", State.REVOKED)])
    with pytest.raises(TaskExpired, match="expired 3 s before"):
        result_of(store, "t1").get(0)
    with pytest.raises(TaskRevoked):
        result_of(store, "t2").get(0)


def test_results_come_as_they_finish_each_once(store: Store) -> None:
    finish(store, "t0", 0)
    results = [result_of(store, f"t{number}") for number in range(4)]
    iterator = as_completed([*results, result_of(store, "t0")], timeout=SOON)
    assert [next(iterator).get(0), next(iterator).get(0)] == [0, 0]
    store.apply([saved("t2", State.FAILURE, failure=FAILURE)])
    assert next(iterator) is results[2]
    finish(store, "t3", 3)
    assert next(iterator) is results[3]
    finish(store, "t1", 1)
    assert [each.get(0) for each in iterator] == [1]
    assert not waiting.waiting_for(store)._wakes


def test_an_object_given_twice_comes_once(store: Store) -> None:
    results = [result_of(store, f"t{number}") for number in range(4)]
    for number in range(4):
        finish(store, f"t{number}", number)
    results[3].get(0)
    found = list(as_completed(results + results, timeout=SOON))
    assert sorted(map(id, found)) == sorted(map(id, results))


def test_waiting_for_a_task_that_keeps_no_results_is_an_error_at_once(store: Store) -> None:
    result: AsyncResult[Any] = AsyncResult("t1", store, decode=codec.decode, is_kept=False, task="shop.buy")
    waits: list[Callable[[], object]] = [
        result.get,
        result.wait,
        lambda: asyncio.run(result.aget()),
        lambda: next(as_completed([result_of(store, "t2"), result])),
    ]
    for wait in waits:
        with pytest.raises(ResultError, match=r"task shop\.buy keeps no results; declare it with store_results=True"):
            wait()
    assert result.state is State.PENDING


def test_a_result_is_not_pickled_but_its_id_is_passed_on(store: Store) -> None:
    with pytest.raises(TypeError, match=r"pass result\.id, and use app\.result\(id\)"):
        pickle.dumps(result_of(store))


def test_results_of_several_stores_may_be_awaited_together(tmp_path: Path) -> None:
    stores = [MemoryStore(), open_store(f"sqlite:///{tmp_path}/results.db")]
    for number, store in enumerate(stores):
        finish(store, f"t{number}", number)
    found = as_completed([result_of(store, f"t{number}") for number, store in enumerate(stores)], timeout=SOON)
    assert sorted(each.get(0) for each in found) == [0, 1]


def test_results_that_do_not_finish_in_time_are_counted_in_the_error(store: Store) -> None:
    finish(store, "t1")
    iterator = as_completed([result_of(store, "t1"), result_of(store, "t2"), result_of(store, "t3")], timeout=0.02)
    assert next(iterator).id == "t1"
    with pytest.raises(ResultTimeout, match="2 tasks"):
        next(iterator)
    assert not waiting.waiting_for(store)._wakes


def test_an_iteration_given_up_waits_no_more(store: Store) -> None:
    finish(store, "t1")
    iterator = as_completed([result_of(store, "t1"), result_of(store, "t2")])
    next(iterator)
    iterator.close()  # type: ignore[attr-defined]
    assert not waiting.waiting_for(store)._wakes


def test_nothing_to_wait_for_ends_at_once() -> None:
    assert list(as_completed([])) == []


def test_many_results_are_asked_for_together() -> None:
    store = CountingStore()
    ids = [f"t{number}" for number in range(3000)]
    store.apply([saved(task_id, value=codec.encode(1)) for task_id in ids])
    assert len(list(as_completed([result_of(store, task_id) for task_id in ids]))) == 3000
    assert len(store.queries) <= 4


def test_a_result_is_shown_by_its_id(store: Store) -> None:
    result = result_of(store)
    assert repr(result) == "<AsyncResult t1>"
    finish(store)
    result.get(0)
    assert repr(result) == "<AsyncResult t1 SUCCESS>"
