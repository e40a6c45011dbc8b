"""flexiq on SQLite, PostgreSQL or Redis."""

import logging
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from adapter import FOLDER, NAP, URL, VARIANT, add_up, counter_hit
from flexiq import Queue

POOL = VARIANT or "thread"
BACKEND = "redis" if URL.startswith("redis") else "postgres" if URL else "sqlite"
queue: Any = (
    Queue(backend=BACKEND, db_url=URL, scheduler_poll_interval_ms=1)
    if URL
    else Queue(db_path=f"{FOLDER}/flexiq.db", scheduler_poll_interval_ms=1)
)
logging.disable(logging.INFO)
hit = counter_hit()


@queue.task(name="noop")
def noop(number: int) -> int:
    """Counted, and nothing else."""
    hit()
    return number


@queue.task(name="nap")
def nap(number: int) -> int:
    """Waits, as for a network."""
    hit()
    time.sleep(NAP)
    return number


@queue.task(name="sum")
def sum_up(number: int) -> int:
    """Computes."""
    hit()
    return add_up()


@queue.task(name="instant")
def instant() -> float:
    """When it ran."""
    return time.time()


TASKS: dict[str, Any] = {"noop": noop, "nap": nap, "sum": sum_up}


class FlexiqPeer:
    def about(self) -> dict[str, str]:
        return {
            "name": "flexiq",
            "version": version("flexiq"),
            "ack": "late: the job's row is marked as done after the task, with its result",
            "guarantee": "at least once: stale jobs are reaped by their timeout, five minutes by default",
            "tuning": f"a Rust engine; pool {POOL}; polls every 1 ms, not 50; results cannot be switched off",
        }

    def send(self, kind: str, number: int) -> object:
        return TASKS[kind].delay(number)

    def send_many(self, kind: str, tasks: int) -> bool:
        for start in range(0, tasks, 1000):
            chunk = range(start, min(start + 1000, tasks))
            queue.enqueue_many(TASKS[kind].name, [(number,) for number in chunk])
        return True

    def send_later(self, delay: float) -> object:
        return instant.apply_async(delay=delay)

    def wait(self, sent: Any) -> Any:
        return sent.result(timeout=60, poll_interval=0.001)

    def work(self, kind: str, processes: int) -> list[str] | None:
        return [f"{Path(sys.executable).parent}/flexiq", "worker", "--app", "flexiq_peer:queue", "--pool", POOL]


PEER = FlexiqPeer()
