"""Waiting for results has patience with a store that fails, and an end to it."""

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from taskbus import codec
from taskbus.errors import ResultTimeout, StoreError
from taskbus.store import waiting
from taskbus.store.base import StoredResult
from taskbus.store.memory import MemoryStore
from taskbus.store.results import AsyncResult
from taskbus.testing.records import DEADLINE, eventually, saved


class FailingStore(MemoryStore):
    """A store that can be out of reach."""

    def __init__(self) -> None:
        super().__init__()
        self.is_down = threading.Event()
        self.failures = 0

    def results(self, task_ids: Sequence[str]) -> Mapping[str, StoredResult]:
        if self.is_down.is_set():
            self.failures += 1
            raise StoreError("nobody answers")
        return super().results(task_ids)


def waiting_on(store: FailingStore, pool: ThreadPoolExecutor) -> Any:
    result: AsyncResult[Any] = AsyncResult("t1", store, decode=codec.decode)
    waiter = pool.submit(result.get, DEADLINE)
    eventually(lambda: waiting.waiting_for(store)._wakes, "someone waiting")
    store.is_down.set()
    waiting.waiting_for(store).look()
    return waiter


def test_a_store_that_fails_for_a_moment_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(waiting, "REREAD_AFTER", 0.01)
    store = FailingStore()
    with ThreadPoolExecutor(1) as pool:
        waiter = waiting_on(store, pool)
        eventually(lambda: store.failures > 3, "some failures")
        store.is_down.clear()
        store.apply([saved("t1", value=codec.encode(42))])
        assert waiter.result(DEADLINE) == 42
    assert [record.getMessage().count("nobody answers") for record in caplog.records] == [1]


def test_a_store_that_goes_on_failing_is_the_error_of_who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "REREAD_AFTER", 0.01)
    store = FailingStore()
    with ThreadPoolExecutor(1) as pool:
        waiter = waiting_on(store, pool)
        eventually(lambda: store.failures > 1, "a failure")
        monkeypatch.setattr(waiting, "PATIENCE", 0.0)
        with pytest.raises(StoreError, match="nobody answers"):
            waiter.result(DEADLINE)


def test_who_does_not_want_to_wait_so_long_need_not() -> None:
    store = FailingStore()
    result: AsyncResult[Any] = AsyncResult("t1", store, decode=codec.decode)
    with pytest.raises(ResultTimeout):
        result.get(0.05)
    store.is_down.set()
    with pytest.raises(StoreError):
        result.get(0.05)
