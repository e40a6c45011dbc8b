"""Where handlers run: a few threads, so that waiting for a database never holds up the event loop.

Each thread keeps connections of its own, so there are few. What waits for one is bounded too: a server that is behind
says so at once, rather than later.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import TypeVar

from taskbus.web.refusal import Refusal

R = TypeVar("R")
THREADS = 8
MOST_WAITING = 64
TIMEOUT = 30.0
"""Seconds after which a request is answered without its result. Its thread goes on: nothing can stop one."""


class Threads:
    """Runs functions in threads of its own, from any event loop."""

    def __init__(self, threads: int = THREADS, most_waiting: int = MOST_WAITING, timeout: float = TIMEOUT) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="taskbus-web")
        self._places = threading.BoundedSemaphore(threads + most_waiting)
        self._timeout = timeout

    async def run(self, call: Callable[[], R]) -> R:
        """What ``call`` returns or raises. ``Refusal``: there is no place, or it takes too long."""
        if not self._places.acquire(blocking=False):
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "this server is busy", "try again in a moment")
        try:
            future = self._pool.submit(call)
        except RuntimeError:
            self._places.release()
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "this server is stopping", "try again in a moment") from None
        future.add_done_callback(lambda _: self._places.release())
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), self._timeout)
        except TimeoutError:
            if future.done() and not future.cancelled():
                return future.result()
            raise Refusal(
                HTTPStatus.GATEWAY_TIMEOUT,
                f"no answer within {self._timeout:g} s",
                "the broker or the store is slow, or this asks for too much; a change may still be made",
            ) from None

    def close(self) -> None:
        """Take nothing more; what waits is dropped, what runs ends by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)
