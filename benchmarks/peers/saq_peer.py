"""SAQ on Redis."""

import asyncio
import sys
import time
from importlib.metadata import version
from typing import Any

from adapter import IO_SLOTS, KEEPS_RESULTS, NAP, URL, add_up, counter_hit, run
from saq import Queue

hit = counter_hit()
TTL = 3600 if KEEPS_RESULTS else -1


async def noop(ctx: Any, *, number: int) -> int:
    """Counted, and nothing else."""
    hit()
    return number


async def nap(ctx: Any, *, number: int) -> int:
    """Waits, as for a network."""
    hit()
    await asyncio.sleep(NAP)
    return number


async def sum_up(ctx: Any, *, number: int) -> int:
    """Computes."""
    hit()
    return add_up()


async def instant(ctx: Any) -> float:
    """When it ran."""
    return time.time()


queue = Queue.from_url(URL)
settings = {
    "queue": queue,
    "functions": [("noop", noop), ("nap", nap), ("sum", sum_up), ("instant", instant)],
    "concurrency": IO_SLOTS,
}
_is_connected = False


async def _enqueue(name: str, **fields: Any) -> Any:
    global _is_connected
    if not _is_connected:
        _is_connected = True
        await queue.connect()
    return await queue.enqueue(name, **fields)


class SaqPeer:
    def about(self) -> dict[str, str]:
        return {
            "name": "SAQ",
            "version": version("saq"),
            "ack": "late: after the task, with its result",
            "guarantee": "at least once where heartbeat or timeout are set; a sweep finds stuck jobs",
            "tuning": "concurrency 100; asynchronous no-op tasks",
        }

    def send(self, kind: str, number: int) -> object:
        return run(_enqueue(kind, number=number, ttl=TTL))

    def send_many(self, kind: str, tasks: int) -> bool:
        return False

    def send_later(self, delay: float) -> object:
        return run(_enqueue("instant", scheduled=int(time.time() + delay), ttl=3600))

    def wait(self, sent: Any) -> Any:
        async def wait() -> Any:
            while not sent.completed:  # its own way to wait misses what ends before it listens
                await asyncio.sleep(0.001)
                await sent.refresh()
            return sent.result

        return run(wait())

    def work(self, kind: str, processes: int) -> list[str] | None:
        return [sys.executable, "-m", "saq", "saq_peer.settings", "--quiet", "--workers", str(processes)]


PEER = SaqPeer()
