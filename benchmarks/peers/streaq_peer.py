"""streaQ on Redis."""

import asyncio
import sys
import time
from datetime import timedelta
from importlib.metadata import version
from typing import Any

from adapter import IO_SLOTS, KEEPS_RESULTS, NAP, URL, add_up, counter_hit, run
from streaq import Worker

hit = counter_hit()
worker: Any = Worker(redis_url=URL, concurrency=IO_SLOTS)
TTL = timedelta(hours=1) if KEEPS_RESULTS else 0


@worker.task(name="noop", ttl=TTL)
async def noop(number: int) -> int:
    """Counted, and nothing else."""
    hit()
    return number


@worker.task(name="nap", ttl=TTL)
async def nap(number: int) -> int:
    """Waits, as for a network."""
    hit()
    await asyncio.sleep(NAP)
    return number


@worker.task(name="sum", ttl=TTL)
async def sum_up(number: int) -> int:
    """Computes."""
    hit()
    return add_up()


@worker.task(name="instant", ttl=timedelta(hours=1))
async def instant() -> float:
    """When it ran."""
    return time.time()


TASKS: dict[str, Any] = {"noop": noop, "nap": nap, "sum": sum_up}
_is_entered = False


async def _entered() -> None:
    global _is_entered
    if not _is_entered:
        _is_entered = True
        await worker.__aenter__()


class StreaqPeer:
    def about(self) -> dict[str, str]:
        return {
            "name": "streaQ",
            "version": version("streaq"),
            "ack": "late: after the task, with its result",
            "guarantee": "at least once, by an idle timeout of a minute",
            "tuning": "concurrency 100; asynchronous no-op tasks",
        }

    def send(self, kind: str, number: int) -> object:
        async def send() -> object:
            await _entered()
            return await TASKS[kind].enqueue(number)

        return run(send())

    def send_many(self, kind: str, tasks: int) -> bool:
        async def send() -> None:
            for start in range(0, tasks, 1000):
                chunk = range(start, min(start + 1000, tasks))
                await worker.enqueue_many([TASKS[kind].enqueue(number) for number in chunk])

        run(send())
        return True

    def send_later(self, delay: float) -> object:
        async def send() -> object:
            await _entered()
            return await instant.enqueue().start(delay=delay)

        return run(send())

    def wait(self, sent: Any) -> Any:
        async def wait() -> Any:
            return (await sent.result(timeout=60)).result

        return run(wait())

    def work(self, kind: str, processes: int) -> list[str] | None:
        return [sys.executable, "-m", "streaq", "run", "streaq_peer:worker", "--workers", str(processes)]


PEER = StreaqPeer()
