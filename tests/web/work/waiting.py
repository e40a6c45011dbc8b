"""Waiting for a condition, with a deadline."""

import time
from collections.abc import Callable
from threading import Event


def wait_until(condition: Callable[[], object], timeout: float = 15.0, what: str = "") -> None:
    """Return as soon as ``condition`` holds; fail after ``timeout`` seconds."""
    deadline, pause = time.monotonic() + timeout, Event()
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what or condition}")
        pause.wait(0.005)
