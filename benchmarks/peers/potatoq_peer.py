"""potatoq on SQLite, Redis, RabbitMQ or PostgreSQL."""

import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from adapter import FOLDER, IO_SLOTS, KEEPS_RESULTS, NAP, RESULTS_URL, URL, add_up, counter_hit
from potatoq import Potatoq

app: Any = Potatoq("bench", broker=URL or f"sqlite:///{FOLDER}/potatoq.db")
app.conf.update(
    task_ignore_result=not KEEPS_RESULTS,
    result_backend=RESULTS_URL or "broker",
    worker_max_tasks_per_child=None,
    worker_prefetch_multiplier=64,
)
hit = counter_hit()


@app.task(name="noop")
def noop(number: int) -> int:
    """Counted, and nothing else."""
    hit()
    return number


@app.task(name="nap")
def nap(number: int) -> int:
    """Waits, as for a network."""
    hit()
    time.sleep(NAP)
    return number


@app.task(name="sum")
def sum_up(number: int) -> int:
    """Computes."""
    hit()
    return add_up()


@app.task(name="instant", ignore_result=False)
def instant() -> float:
    """When it ran."""
    return time.time()


TASKS: dict[str, Any] = {"noop": noop, "nap": nap, "sum": sum_up}


class PotatoqPeer:
    def about(self) -> dict[str, str]:
        return {
            "name": "potatoq",
            "version": version("potatoq"),
            "ack": "late: after the task",
            "guarantee": "at least once; a worker that is silent for a minute is dead, its tasks run again, five times",
            "tuning": "an alpha; prefetch multiplier 64, not 1; processes not replaced after 1,000 tasks; no scheduler",
        }

    def send(self, kind: str, number: int) -> object:
        return TASKS[kind].delay(number)

    def send_many(self, kind: str, tasks: int) -> bool:
        return False

    def send_later(self, delay: float) -> object:
        return instant.apply_async(countdown=delay)

    def wait(self, sent: Any) -> Any:
        return sent.get(timeout=60, interval=0.001)

    def work(self, kind: str, processes: int) -> list[str] | None:
        threads = IO_SLOTS // processes if kind == "nap" else 1
        program = f"{Path(sys.executable).parent}/potatoq"
        line = f"-A potatoq_peer:app worker -c {processes} -t {threads} -l WARNING --no-scheduler"
        return [program, *line.split()]


PEER = PotatoqPeer()
