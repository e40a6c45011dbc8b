"""TaskBus beside its rivals, with its defaults."""

import asyncio
import sys
import time
from typing import Any

from adapter import FOLDER, IO_SLOTS, KEEPS_RESULTS, NAP, RESULTS_URL, STEPS, URL, VARIANT, add_up, counter_hit

from taskbus import TaskBus, __version__, chain, chord

BROKER = URL or f"sqlite:///{FOLDER}/taskbus.db"
RESULTS = RESULTS_URL or BROKER
app = TaskBus("bench", broker=BROKER, results=RESULTS, store_results=KEEPS_RESULTS)
hit = counter_hit()


@app.task(name="noop")
def noop(number: int) -> int:
    """Counted, and nothing else."""
    hit()
    return number


@app.task(name="nap")
async def nap(number: int) -> int:
    """Waits, as for a network."""
    hit()
    await asyncio.sleep(NAP)
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


@app.task(name="instant")
def instant() -> float:
    """When it ran."""
    return time.time()


TASKS: dict[str, Any] = {"noop": noop, "nap": nap, "sum": sum_up}
ACK = {
    True: "late: after the task, together with its result, in one atomic step",
    False: "late: after the task, its result first",
}


class TaskBusPeer:
    def about(self) -> dict[str, str]:
        return {
            "name": "TaskBus",
            "version": __version__,
            "ack": ACK[RESULTS == BROKER],
            "guarantee": "at least once: what a killed process was running runs again",
            "tuning": "none",
        }

    def send(self, kind: str, number: int) -> object:
        return TASKS[kind].delay(number)

    def send_many(self, kind: str, tasks: int) -> bool:
        task = TASKS[kind]
        with app.batch():
            for number in range(tasks):
                task.delay(number)
        return True

    def send_flows(self, kind: str, size: int) -> None:
        if kind == "chord":
            chord((noop.s(number) for number in range(size)), joined.s()).delay()
            return
        for number in range(size):
            chain([noop.s(number), *(noop.s() for _ in range(STEPS - 1))]).delay()

    def send_later(self, delay: float) -> object:
        return instant.options(countdown=delay).delay()

    def wait(self, sent: Any) -> Any:
        return sent.get(timeout=60)

    def work(self, kind: str, processes: int) -> list[str] | None:
        slots = f" --coroutines {IO_SLOTS}" if kind == "nap" else ""
        line = f"-m taskbus worker -A taskbus_peer:app --processes {processes}{slots} --log-level WARNING {VARIANT}"
        return [sys.executable, *line.split()]


PEER = TaskBusPeer()
