"""What is sent for a nominal time: the message and its record. Pure: whoever makes it, makes the same."""

from taskbus.message import SCHEDULE, SCHEDULED_AT, Sealed, derived_id
from taskbus.store.schedules import Row, Tick
from taskbus.wire import compact


def tick_of(row: Row, nominal: float, now: float, *, is_manual: bool = False, is_pending: bool = False) -> Tick:
    """The tick of a schedule at a nominal time, sent ``now``. Its task's id follows from the two alone."""
    schedule = row.schedule
    seed = f"{schedule.name}\0{row.standing.since!r}\0{nominal!r}\0{is_manual}"
    task_id = derived_id(seed, nominal)
    template = compact.decode(schedule.wire, schedule.queue, schedule.priority, len(schedule.wire))
    message = template._replace(
        id=task_id,
        sent_at=now,
        expires_at=now + schedule.expires_in if schedule.expires_in else None,
        headers={**template.headers, SCHEDULE: schedule.name, SCHEDULED_AT: repr(nominal)},
    )
    sealed = Sealed(schedule.queue, schedule.priority, compact.encode(message))
    return Tick(schedule.name, nominal, task_id, now, now + schedule.keep_for, is_manual, is_pending, sealed)
