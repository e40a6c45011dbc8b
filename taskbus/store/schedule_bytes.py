"""Rows of schedules as bytes, the same in every database: msgpack lists, in the order of the fields."""

from typing import Any

import msgpack

from taskbus.store.schedules import CatchUp, Origin, Overlap, Row, Schedule, Standing

FORMAT = 1


def pack_schedule(schedule: Schedule) -> bytes:
    packed: bytes = msgpack.packb([FORMAT, *schedule])
    return packed


def unpack_schedule(data: bytes) -> Schedule:
    """The schedule. A later TaskBus may have written fields that are not known here."""
    fields = _fields(data, len(Schedule._fields))
    made = Schedule(*fields)
    return made._replace(catch_up=CatchUp(made.catch_up), overlap=Overlap(made.overlap), origin=Origin(made.origin))


def pack_standing(standing: Standing) -> bytes:
    packed: bytes = msgpack.packb([FORMAT, *standing])
    return packed


def unpack_standing(data: bytes) -> Standing:
    return Standing(*_fields(data, len(Standing._fields)))


def row_of(
    schedule: bytes, standing: bytes, version: int, due_at: float | None, revision: int, is_removed: bool
) -> Row:
    return Row(unpack_schedule(schedule), unpack_standing(standing), version, due_at, revision, is_removed)


def _fields(data: bytes, count: int) -> list[Any]:
    fields: list[Any] = msgpack.unpackb(data)
    return fields[1 : 1 + count]
