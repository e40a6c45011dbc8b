"""Schedules in code and in the store, made one by name: the code of an application says what its own schedules are.

*   What is in code and not in the store is added, from now on. What is in both and differs is changed to what the code
    says; a new timetable counts from now on, while counts and a pause stay.
*   A schedule that was added at run time under a name that the code uses becomes the code's: that is logged.
*   One that is in the code of two applications is that of the beat which was started last: that is logged.
*   What the store has of this application's code, and the code has no longer, is removed.

A beat does this once, when it starts: the version of the code that was started last is the one that counts.
"""

import logging
from collections.abc import Callable, Iterator, Sequence

from taskbus.beat.definition import is_same
from taskbus.beat.planning import first_standing, from_now_on, look_at
from taskbus.errors import StoreError
from taskbus.schedule.spec import from_text
from taskbus.store.schedules import Origin, Row, Schedule, ScheduleStore

logger = logging.getLogger(__name__)

PAGE = 1000
TRIES = 10
"""A row that others change as well is read again, and decided about again."""


def reconcile(store: ScheduleStore, declared: Sequence[Schedule], owner: str, now: float) -> None:
    """Make what the store has of ``owner``'s code equal to what is ``declared``."""
    wanted = {schedule.name: schedule for schedule in declared}
    stored = {row.schedule.name: row.schedule for row in all_rows(store)}
    ours = [name for name, each in stored.items() if each.origin is Origin.CODE and each.owner == owner]
    gone = [name for name in ours if name not in wanted]
    for name in gone:
        until_saved(store, name, lambda row: row and row._replace(is_removed=True, due_at=None))
        logger.info("schedule %r is in the code no longer: removed", name)
    for name, schedule in wanted.items():
        if name not in stored or not is_same(stored[name], schedule):
            put(store, schedule, now)


def put(store: ScheduleStore, schedule: Schedule, now: float) -> bool:
    """Make a schedule what is said, whatever it was; whether anything was changed."""

    def changed(row: Row | None) -> Row | None:
        if row is not None and is_same(row.schedule, schedule):
            return None
        if row is not None and row.schedule.origin is not schedule.origin:
            logger.warning("schedule %r was added at run time and is in the code too: the code counts", schedule.name)
        elif row is not None and row.schedule.owner != schedule.owner:
            owners = row.schedule.owner, schedule.owner
            logger.warning("schedule %r was that of %r and is %r's now: name it anew in one", schedule.name, *owners)
        return written(row, schedule, now)

    return until_saved(store, schedule.name, changed)


def written(row: Row | None, schedule: Schedule, now: float) -> Row:
    """The row of a schedule that is made, or changed, ``now``."""
    timetable = from_text(schedule.timetable)
    if row is None:
        made = Row(schedule, first_standing(timetable, now))
    elif row.schedule.timetable == schedule.timetable:
        made = row._replace(schedule=schedule)
    else:
        made = row._replace(schedule=schedule, standing=from_now_on(row.standing, timetable, now, is_new=True))
    return made._replace(due_at=look_at(made, timetable, made.standing, now))


def all_rows(store: ScheduleStore) -> Iterator[Row]:
    """Every row, read page by page."""
    after = ""
    while page := store.page(after=after, limit=PAGE):
        yield from page
        after = page[-1].schedule.name


def until_saved(store: ScheduleStore, name: str, change: Callable[[Row | None], Row | None]) -> bool:
    """Save what ``change`` makes of a row (None: there is none), again if others changed it; False: it made nothing."""
    for _ in range(TRIES):
        changed = change(store.read([name]).get(name))
        if changed is None:
            return False
        if store.save(changed):
            return True
    raise StoreError(f"schedule {name!r} could not be changed: others change it all the time")
