"""Notes: what a task says of itself while it runs, kept beside its result, under a key of its own."""

from typing import Any, Protocol

from taskbus import codec
from taskbus.config import Config
from taskbus.outcome import State
from taskbus.store.base import SaveResult, Store, StoredResult

NOTE = "#note"
"""What is added to a task's id to make the key of what it has noted."""


class Home(Protocol):
    """What notes need of their application."""

    config: Config

    @property
    def store(self) -> Store:
        """Where they are kept."""

    def now(self) -> float:
        """The broker's time."""


class Notes:
    """What running tasks say of themselves: ``app.notes``. Each is a value; the last one of a task counts.

    Keeping one is a write to the store on a connection of this process's own: for now and then, not for every step of
    a loop.
    """

    def __init__(self, home: Home) -> None:
        self._home = home

    def keep(self, task_id: str, value: Any) -> None:
        """Keep the value until ``result_ttl`` is over, whatever becomes of the task."""
        kept = StoredResult(f"{task_id}{NOTE}", "", State.STARTED, codec.encode(value), finished_at=self._home.now())
        self._home.store.apply((SaveResult(kept, self._home.config.result_ttl),))

    def last(self, task_id: str) -> Any:
        """What was last kept of a task, None if nothing was."""
        key = f"{task_id}{NOTE}"
        kept = self._home.store.results((key,)).get(key)
        return None if kept is None or kept.value is None else codec.decode(kept.value, kept.content_type)
