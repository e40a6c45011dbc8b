"""What a test looks at to see what became of its tasks: the files they wrote, and the dead letters."""

from pathlib import Path

from worker_process import wait_until

from taskbus import TaskBus
from taskbus.store.base import DeadLetter, Filter


def lines(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def letters(bus: TaskBus, count: int = 1) -> list[DeadLetter]:
    wait_until(lambda: bus.store.count_dead_letters(Filter()) >= count, what=f"{count} dead letters")
    return list(bus.store.dead_letters(Filter(), limit=100))
