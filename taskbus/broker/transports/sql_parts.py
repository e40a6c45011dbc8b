"""What the SQL storages share: rows turned into what the port speaks of, whatever database they come from."""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from taskbus.broker.delivery import Record, Settlement
from taskbus.broker.queues import QueueSize, WorkerEntry
from taskbus.broker.transports.port import Holder, Parcel, sealed
from taskbus.errors import LeaseLost

READY, DELAYED = 0, -1
"""The owners of a message that nobody holds."""
PROMOTE_LIMIT = 500
"""Delayed messages made ready in one claim; more wait for the next one, so that no transaction grows without bound."""


class Refused(Exception):
    """The store refused a change."""


def note(record: Record, settlements: Sequence[Settlement], transaction: Any) -> list[Parcel]:
    """Have the store record the changes of settlements; what is to be published with it. Raises ``Refused``."""
    changes = [change for settlement in settlements for change in settlement.changes]
    if not changes:
        return []
    recorded = record(changes, transaction)
    if recorded is None:
        raise Refused
    return list(map(sealed, recorded.ready))


def lease_lost(holder: Holder) -> LeaseLost:
    return LeaseLost(f"the lease of worker {holder.incarnation} was taken away: it was not renewed in time")


def sizes_of(rows: Iterable[Sequence[Any]], oldest: Callable[[str], float | None]) -> list[QueueSize]:
    """From rows of (queue, state, count), several of which may count the same."""
    sizes: dict[str, dict[str, int]] = {}
    for queue, state, count in rows:
        states = sizes.setdefault(queue, {"ready": 0, "delayed": 0, "running": 0})
        states[state] += count
    return [QueueSize(queue, **states, oldest_at=oldest(queue)) for queue, states in sorted(sizes.items())]


def workers_of(rows: Iterable[Sequence[Any]]) -> list[WorkerEntry]:
    return [
        WorkerEntry(name, incarnation, pid, json.loads(queues), *rest) for name, incarnation, pid, queues, *rest in rows
    ]


def pieces(parcels: Sequence[Parcel], most: int) -> list[Sequence[Parcel]]:
    """The parcels, in order, in pieces of not much more than ``most`` bytes."""
    found: list[Sequence[Parcel]] = []
    start = size = 0
    for place, parcel in enumerate(parcels):
        size += len(parcel.body) + len(parcel.properties or b"")
        if size > most:
            found.append(parcels[start : place + 1])
            start, size = place + 1, 0
    return [*found, parcels[start:]] if start < len(parcels) else found
