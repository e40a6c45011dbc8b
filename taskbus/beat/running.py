"""A beat in a thread of its own, from entering a block to leaving it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from taskbus.beat.beat import Beat


@contextmanager
def beating(beat: Beat, on_end: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Run a beat while the block is; at its end the lease is given up. ``on_end``: its thread has ended, or died."""
    stop = threading.Event()

    def run() -> None:
        try:
            beat.run(stop)
        finally:
            on_end()

    thread = threading.Thread(target=run, name="taskbus-beat")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        beat.wake()
        thread.join()
