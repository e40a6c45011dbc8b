"""Asks several places side by side: an answer takes as long as the slowest of them, and no longer than it may."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
THREADS = 6


class Aside:
    """A few threads, made when first used; each keeps connections of its own."""

    def __init__(self, threads: int = THREADS) -> None:
        self._threads = threads
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None

    def ask(self, call: Callable[[], T]) -> "Future[T]":
        """Have it called beside what goes on; see ``answer``."""
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="taskbus-web-aside")
            return self._pool.submit(call)

    def close(self) -> None:
        """What waits is dropped, what runs ends by itself."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)


def answer(asked: "Future[T]", until: float, otherwise: T) -> T:
    """What was returned up to ``until``, by the monotonic clock; ``otherwise`` if nothing was: its thread goes on."""
    try:
        return asked.result(max(0.0, until - time.monotonic()))
    except TimeoutError:
        asked.cancel()
        return otherwise
