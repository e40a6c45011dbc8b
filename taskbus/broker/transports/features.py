"""What a transport promises, as data: the contract suite tests it, ``taskbus doctor`` says what is lacking."""

from dataclasses import dataclass
from typing import Literal

DEEDS = {
    "durable": "keep an accepted task when every process dies",
    "priorities": "take tasks by priority",
    "delays": "keep delayed tasks",
    "fanout": "deliver copies to several queues",
    "atomic_settle": "settle a task and store its result in one step",
    "processes": "serve several processes",
    "dedup": "refuse a second publish of one task id",
    "lists": "list workers and what is delayed or held",
}
"""What a broker does that makes each promise, in a user's words. None for ``pushes``: it is how, not what."""


@dataclass(frozen=True, slots=True)
class Features:
    """Every promise a transport may or may not make.

    ``durable``: an accepted message survives the death of every process. ``priorities``: 0 to 9, strictly. ``delays``:
    messages wait in the broker until due. ``fanout``: exchanges deliver a copy to each bound queue. ``atomic_settle``:
    a settlement, with the store's changes where they share a database, happens whole or not at all. ``processes``:
    several processes can use it at once. ``dedup``: a second publish of the same task id is refused within the window.
    ``leases``: "worker": each is kept by the broker for its time; "connection": it ends with the worker's connection.
    ``lists``: the broker tells of all its queues and workers, and counts, shows and purges what is delayed or held.
    ``pushes``: the broker hands out what becomes ready or due by itself: ``next_due_at`` tells nothing of that,
    and its clock alone decides. ``notes`` say what else a user should know.
    """

    name: str
    durable: bool
    priorities: bool
    delays: bool
    fanout: bool
    atomic_settle: bool
    processes: bool
    dedup: bool = False
    leases: Literal["worker", "connection"] = "worker"
    lists: bool = True
    pushes: bool = False
    notes: tuple[str, ...] = ()


def limits(features: Features) -> list[str]:
    """What is not promised, each as a user would say it after "cannot"."""
    lacking = [deed for name, deed in DEEDS.items() if not getattr(features, name)]
    return [*lacking, *(["keep a worker's lease when its connection ends"] if features.leases == "connection" else [])]
