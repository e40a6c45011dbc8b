"""Messages on their way in, as the arguments that ``push.lua`` reads."""

from collections.abc import Sequence
from typing import Any

from taskbus.broker.transports.port import Parcel
from taskbus.broker.transports.redis.element import Serials, pack
from taskbus.wire import celery

DELAYED, FOR_CELERY = 10, 20
_serials = Serials()


def places(queues: dict[str, int], queue: str) -> int:
    """The index of a queue among the keys of a script, which it joins if it is new there."""
    return queues.setdefault(queue, len(queues) + 1)


def arguments(parcels: Sequence[Parcel], queues: dict[str, int], window: float, now: float) -> list[Any]:
    """What ``push`` reads. ``queues`` are the keys of the script so far, and grow. ``window`` 0: no id is kept."""
    serial = _serials.source()
    groups: dict[tuple[str, int], tuple[list[str], list[str], list[bytes]]] = {}
    is_any_known = False
    for parcel in parcels:
        due_at = parcel.due_at
        is_celerys = parcel.body.startswith(celery.FIRST) and parcel.properties is None
        if is_celerys:  # when it is due is said in it; its own workers wait themselves
            due_at, key = None, (parcel.key, FOR_CELERY + parcel.priority // 3 * 3)
        else:
            key = (parcel.key, 9 - parcel.priority if due_at is None else DELAYED)
        group = groups.get(key)
        if group is None:
            group = groups[key] = ([], [], [])
        if parcel.id:
            is_any_known = True
        group[0].append(parcel.id)
        if due_at is not None:
            group[1].append(repr(due_at))
        group[2].append(parcel.body if is_celerys else pack(parcel, now, serial()))
    remembers = window > 0 and is_any_known
    header: list[Any] = [repr(window) if remembers else 0, len(groups)]
    values: list[Any] = []
    for (queue, rank), (ids, dues, elements) in groups.items():
        header += (places(queues, queue), rank, len(elements))
        if remembers:
            values += ids
        values += dues
        values += elements
    return header + values
