"""What the contract of result stores is written with: records by a line each, and how a store under test is opened."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from taskbus.clock import Clock
from taskbus.outcome import Failure, Reason, State
from taskbus.store.base import DeadLetter, FailedAttempt, SaveAttempt, SaveResult, Store, StoredResult
from taskbus.testing.clock import START, MovableClock

FAILURE = Failure("builtins.ValueError", "no such page: 7", "Traceback ...\nValueError: no such page: 7")
DEADLINE = 20.0


def saved(task_id: str, state: State = State.SUCCESS, ttl: float = 60.0, **fields: Any) -> SaveResult:
    """A change that records how a task stands."""
    return SaveResult(StoredResult(task_id, fields.pop("task", "pages.get"), state, **fields), ttl)


def attempted(task_id: str, attempt: int, failure: Failure = FAILURE) -> SaveAttempt:
    """A change that remembers a failed attempt."""
    started_at = START + attempt
    return SaveAttempt(FailedAttempt(task_id, attempt, started_at, started_at + 0.5, f"worker-{attempt}", failure))


def dead(task_id: str, dead_at: float = START, **fields: Any) -> DeadLetter:
    """A dead letter without attempts."""
    given: dict[str, Any] = {
        "task": "pages.get", "queue": "default", "reason": Reason.RETRIES_EXHAUSTED, "failure": FAILURE,
        "wire": b"\x00wire\xff", "content_type": "application/x-taskbus", "priority": 3, "attempt": 4,
        "sent_at": START - 60.0,
    }  # fmt: skip
    return DeadLetter(task_id=task_id, dead_at=dead_at, **{**given, **fields})


def eventually(condition: Callable[[], object], what: str) -> None:
    """Wait until ``condition`` holds, at most ``DEADLINE`` seconds."""
    deadline = time.monotonic() + DEADLINE
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {DEADLINE:g} s"
        pause.wait(0.005)


class Basis:
    """How a store under test is opened."""

    def open(self, folder: Path, clock: Clock) -> Store:
        """A store; every call with the same folder opens the same data."""
        raise NotImplementedError

    @pytest.fixture
    def clock(self) -> MovableClock:
        return MovableClock()

    @pytest.fixture
    def store(self, tmp_path: Path, clock: MovableClock) -> Iterator[Store]:
        with closing(self.open(tmp_path, clock)) as store:
            yield store
