"""What the suite is played on, by name: a broker that keeps the results too, or a pair of broker and results."""

from dataclasses import dataclass
from pathlib import Path

from .homes import File
from .place import Place
from .town import KINDS, Town


@dataclass(frozen=True, slots=True)
class Ground:
    """``results`` empty: the broker keeps them. ``is_whole``: every cell that can be is played here.

    On the others only those where it matters that results are kept apart.
    """

    name: str
    broker: str
    results: str = ""
    is_whole: bool = True

    @property
    def suffix(self) -> str:
        """What tells a cell here from the same cell on SQLite."""
        return "" if self.name == "sqlite" else f" [{self.name}]"

    def obstacle(self) -> str:
        """Why nothing can be played here, or empty."""
        why = "" if self.broker == "sqlite" else KINDS[self.broker].obstacle()
        if not why and (self.results or self.broker) != "sqlite":
            why = KINDS[self.results or self.broker].obstacle(as_store=True)
        return why

    def open(self, folder: Path, town: Town) -> Place:
        """A place for a cell, empty, with its files in ``folder``."""
        folder.mkdir(parents=True, exist_ok=True)
        broker = town.home(self.broker, folder)
        if not self.results:
            return Place(folder, broker)
        kept = File(folder / "results.db") if self.results == "sqlite" else town.home(self.results, folder)
        return Place(folder, broker, kept)


GROUNDS = {
    ground.name: ground
    for ground in (
        Ground("sqlite", "sqlite"),
        Ground("redis", "redis"),
        Ground("redis+sqlite", "redis", "sqlite", is_whole=False),
        Ground("postgresql", "postgresql"),
        Ground("mysql", "mysql"),
        Ground("rabbitmq", "rabbitmq", "sqlite"),
        Ground("rabbitmq+redis", "rabbitmq", "redis", is_whole=False),
        Ground("rabbitmq+postgresql", "rabbitmq", "postgresql", is_whole=False),
    )
}
