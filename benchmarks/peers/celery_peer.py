"""Celery with a pool of processes; variant ``threads``: of threads; variant ``early``: with its default early ack."""

import sys
import time
from importlib.metadata import version
from typing import Any

from adapter import FOLDER, IO_SLOTS, KEEPS_RESULTS, NAP, RESULTS_URL, STEPS, URL, VARIANT, add_up, counter_hit
from celery import Celery, chain, chord

IS_LATE = VARIANT != "early"
app = Celery("bench", broker=URL, backend=RESULTS_URL or URL)
app.conf.update(
    task_ignore_result=not KEEPS_RESULTS,
    task_acks_late=IS_LATE,
    task_reject_on_worker_lost=IS_LATE,
    worker_prefetch_multiplier=64,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
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


@app.task(name="joined")
def joined(numbers: list[int]) -> int:
    """The body of a chord."""
    hit()
    return len(numbers)


@app.task(name="instant", ignore_result=False)
def instant() -> float:
    """When it ran."""
    return time.time()


TASKS: dict[str, Any] = {"noop": noop, "nap": nap, "sum": sum_up}


class CeleryPeer:
    def about(self) -> dict[str, str]:
        pool = "threads" if VARIANT == "threads" else "prefork"
        return {
            "name": f"Celery ({pool}{'' if IS_LATE else ', early ack'})",
            "version": version("celery"),
            "ack": "late (acks_late, reject_on_worker_lost)" if IS_LATE else "early, as by default",
            "guarantee": "at least once, by a visibility timeout of an hour on Redis; sends on RabbitMQ unconfirmed"
            if IS_LATE
            else "at most once: what a killed process was running is lost",
            "tuning": "prefetch multiplier 64; no gossip, mingle, heartbeat or events",
        }

    def send(self, kind: str, number: int) -> object:
        return TASKS[kind].delay(number)

    def send_many(self, kind: str, tasks: int) -> bool:
        return False

    def send_flows(self, kind: str, size: int) -> None:
        if kind == "chord":
            chord((noop.s(number) for number in range(size)), joined.s()).delay()
            return
        for number in range(size):
            chain(noop.s(number), *(noop.s() for _ in range(STEPS - 1))).delay()

    def send_later(self, delay: float) -> object:
        return instant.apply_async(countdown=delay)

    def wait(self, sent: Any) -> Any:
        return sent.get(timeout=60, interval=0.001)

    def work(self, kind: str, processes: int) -> list[str] | None:
        pool = f"threads -c {IO_SLOTS if kind == 'nap' else processes}"
        if VARIANT != "threads":
            pool = f"prefork -c {IO_SLOTS if kind == 'nap' else processes}"
        line = f"-m celery -A celery_peer:app worker -P {pool} -l WARNING --without-gossip --without-mingle"
        return [sys.executable, *line.split(), "--without-heartbeat", f"--pidfile={FOLDER}/celery.pid"]


PEER = CeleryPeer()
