"""Taskiq on Redis: the variant ``list`` on a list, ``stream`` on a stream."""

import asyncio
import sys
from importlib.metadata import version
from typing import Any

from adapter import IO_SLOTS, KEEPS_RESULTS, NAP, URL, VARIANT, add_up, counter_hit, run
from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend, RedisStreamBroker

IS_STREAM = VARIANT == "stream"
broker: Any = RedisStreamBroker(URL) if IS_STREAM else ListQueueBroker(URL)
if KEEPS_RESULTS:
    broker = broker.with_result_backend(RedisAsyncResultBackend(URL, result_ex_time=3600))
hit = counter_hit()


@broker.task(task_name="noop")
async def noop(number: int) -> int:
    """Counted, and nothing else."""
    hit()
    return number


@broker.task(task_name="nap")
async def nap(number: int) -> int:
    """Waits, as for a network."""
    hit()
    await asyncio.sleep(NAP)
    return number


@broker.task(task_name="sum")
async def sum_up(number: int) -> int:
    """Computes."""
    hit()
    return add_up()


TASKS: dict[str, Any] = {"noop": noop, "nap": nap, "sum": sum_up}
_is_started = False


async def _started() -> None:
    global _is_started
    if not _is_started:
        _is_started = True
        await broker.startup()


class TaskiqPeer:
    def about(self) -> dict[str, str]:
        return {
            "name": f"Taskiq ({'stream' if IS_STREAM else 'list'})",
            "version": f"{version('taskiq')}, taskiq-redis {version('taskiq-redis')}",
            "ack": "late: after its result is saved" if IS_STREAM else "early: popped from its list before it runs",
            "guarantee": "at least once, by an idle timeout of ten minutes"
            if IS_STREAM
            else "at most once: what a killed process was running is lost",
            "tuning": "100 tasks at once, prefetch 100; asynchronous no-op tasks",
        }

    def send(self, kind: str, number: int) -> object:
        async def send() -> object:
            await _started()
            return await TASKS[kind].kiq(number)

        return run(send())

    def send_many(self, kind: str, tasks: int) -> bool:
        return False

    def send_later(self, delay: float) -> object:
        return None

    def wait(self, sent: Any) -> Any:
        result = run(sent.wait_result(check_interval=0.001, timeout=60))
        return result.return_value

    def work(self, kind: str, processes: int) -> list[str] | None:
        line = f"-m taskiq worker taskiq_peer:broker --workers {processes} --log-level WARNING"
        return [sys.executable, *line.split(), "--max-async-tasks", str(IO_SLOTS), "--max-prefetch", str(IO_SLOTS)]


PEER = TaskiqPeer()
