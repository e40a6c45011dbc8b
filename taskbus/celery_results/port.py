"""The port to where Celery keeps its results: what a worker writes there, and what a caller reads."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from taskbus.celery_results.document import Document
from taskbus.celery_results.signature import Chord


class Part(NamedTuple):
    """One part of a chord that came in: task ``task_id`` of ``group`` has ended.

    ``state`` and ``result`` are as in its document. ``place``: where it is among the values, None where it has none.
    """

    group: str
    task_id: str
    place: int | None
    state: str
    result: Any


class Joined(NamedTuple):
    """All parts of a chord are in, and this worker is the one to go on with it: ``(task id, state, result)`` in order.

    ``nested``: the results as ``Outcome.as_tuple`` has them where some are lists of results; else None.
    """

    parts: Sequence[tuple[str, str, Any]]
    nested: Any = None


@dataclass(frozen=True, slots=True)
class Ability:
    """What a store does by itself. ``counts``: it counts the parts of chords; else ``celery.chord_unlock`` looks."""

    counts: bool


class CeleryResults(Protocol):
    """Celery's documents in one place, for any thread. A method may raise ``StoreError``; it can then be called again.

    All of it may be done twice: the second time changes nothing.
    """

    ability: Ability
    shown: str
    """The place, without secrets."""

    def save(self, documents: Sequence[Document]) -> None:
        """Write documents, and wake who waits for them. A SUCCESS that is there already stays as it is."""

    def begin(self, chords: Sequence[Chord]) -> None:
        """Chords begin: how many parts each has. Where it does not count, nothing is done."""

    def parts(self, parts: Sequence[Part]) -> Sequence[Joined | None]:
        """Parts of chords have come in; what each completed, None: nothing, or another worker goes on with it."""

    def finish(self, groups: Sequence[str]) -> None:
        """The bodies of these chords were sent: they may be forgotten, and never be sent again."""

    def fail(self, groups: Sequence[str]) -> None:
        """These chords have failed, and that was told: parts that come in again must not tell it again."""

    def documents(self, task_ids: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        """The documents that are there, by task id."""

    def forget(self, task_ids: Sequence[str]) -> None: ...

    def sweep(self, now: float, ttl: float) -> int:
        """Delete what ended longer than ``ttl`` seconds before ``now``, where the database does not; how much."""

    def subscribe(self, notify: Callable[[], None]) -> Callable[[], None]:
        """Call ``notify`` after documents were written that ``documents`` was asked for and had not ended.

        As ``Store.subscribe``.
        """

    def close(self) -> None:
        """Release connections. Using it again opens new ones."""
