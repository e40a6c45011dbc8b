"""arq on Redis."""

import asyncio
import sys
import time
from importlib.metadata import version
from typing import Any, ClassVar

from adapter import IO_SLOTS, KEEPS_RESULTS, NAP, URL, add_up, counter_hit, run
from arq import create_pool
from arq.connections import ArqRedis, RedisSettings
from arq.worker import func

hit = counter_hit()
KEEP = 3600 if KEEPS_RESULTS else 0


async def noop(ctx: Any, number: int) -> int:
    """Counted, and nothing else."""
    hit()
    return number


async def nap(ctx: Any, number: int) -> int:
    """Waits, as for a network."""
    hit()
    await asyncio.sleep(NAP)
    return number


async def sum_up(ctx: Any, number: int) -> int:
    """Computes."""
    hit()
    return add_up()


async def instant(ctx: Any) -> float:
    """When it ran."""
    return time.time()


class WorkerSettings:
    functions: ClassVar[list[Any]] = [
        func(noop, name="noop", keep_result=KEEP),
        func(nap, name="nap", keep_result=KEEP),
        func(sum_up, name="sum", keep_result=KEEP),
        func(instant, name="instant", keep_result=3600),
    ]
    redis_settings = RedisSettings.from_dsn(URL)
    max_jobs = IO_SLOTS
    poll_delay = 0.001


_pool: ArqRedis | None = None


async def _enqueue(*args: Any, **options: Any) -> Any:
    global _pool
    if _pool is None:
        _pool = await create_pool(WorkerSettings.redis_settings)
    return await _pool.enqueue_job(*args, **options)


class ArqPeer:
    def about(self) -> dict[str, str]:
        return {
            "name": "arq",
            "version": version("arq"),
            "ack": "late: after the task, with its result",
            "guarantee": "at least once, by a job timeout of five minutes",
            "tuning": "100 jobs at once, polls every 1 ms, not 500; asynchronous no-op tasks",
        }

    def send(self, kind: str, number: int) -> object:
        return run(_enqueue(kind, number))

    def send_many(self, kind: str, tasks: int) -> bool:
        return False

    def send_later(self, delay: float) -> object:
        return run(_enqueue("instant", _defer_by=delay))

    def wait(self, sent: Any) -> Any:
        return run(sent.result(timeout=60, poll_delay=0.001))

    def work(self, kind: str, processes: int) -> list[str] | None:
        if processes > 1:
            return None
        return [sys.executable, "-m", "arq", "arq_peer.WorkerSettings"]


PEER = ArqPeer()
