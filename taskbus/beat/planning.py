"""What is to be done of a schedule at an instant: a pure function of the schedule, how it stands, and the time.

A run is *due* when its nominal time has come, put off by its jitter, and *missed* when it is due for longer than the
grace: half of its interval, at least one second and at most sixty.
"""

import math
from collections import deque
from typing import NamedTuple

from taskbus.schedule.timetable import Timetable
from taskbus.store.schedules import CatchUp, Overlap, Row, Standing

LEAST_GRACE, MOST_GRACE = 1.0, 60.0
AT_MOST = 1000
"""Nominal times that are gone through one by one; of a longer outage, more are only counted by estimate."""
LOOK_AGAIN = 1.0
"""Seconds after which it is looked whether what a run waits for has ended."""


class Decision(NamedTuple):
    """The row as it is to be, and the nominal times that are to be sent, the earliest first."""

    row: Row
    send: tuple[float, ...]


class Due(NamedTuple):
    """The last nominal times that are due, how many there are in all, and which comes next."""

    times: list[float]
    total: int
    next_at: float | None


def decide(row: Row, timetable: Timetable, now: float, *, is_running: bool) -> Decision:
    """What to send now, and how the schedule then stands. ``is_running``: its last run has not ended."""
    schedule, standing = row.schedule, row.standing
    due = due_times(timetable, schedule.name, standing, now, schedule.max_catch_up)
    chosen = _chosen(row, timetable, due, now)
    standing = standing._replace(missed=standing.missed + due.total - len(chosen), next_at=due.next_at)
    if due.times:
        standing = standing._replace(cursor_at=due.times[-1])
    send, standing = _without_overlap(schedule.overlap, chosen, standing, is_running=is_running)
    if send:
        latest, late = (max(0.0, now - timetable.due_at(schedule.name, each)) for each in (send[0], send[-1]))
        standing = standing._replace(lateness=late, worst=max(latest, standing.worst), sent=standing.sent + len(send))
    return Decision(row._replace(standing=standing, due_at=look_at(row, timetable, standing, now)), tuple(send))


def look_at(row: Row, timetable: Timetable, standing: Standing, now: float) -> float | None:
    """When somebody must look at it next."""
    if standing.is_paused:
        return None
    due_at = None if standing.next_at is None else timetable.due_at(row.schedule.name, standing.next_at)
    if standing.waiting_at is None:
        return due_at
    return now + LOOK_AGAIN if due_at is None else min(due_at, now + LOOK_AGAIN)


def due_times(timetable: Timetable, name: str, standing: Standing, now: float, most: int) -> Due:
    """What is due since the cursor, at most the last ``most`` of it."""
    found: list[float] = []
    each = timetable.next_after(standing.cursor_at, standing.base_at)
    while each is not None and timetable.due_at(name, each) <= now:
        if len(found) == most + AT_MOST:
            return _last_due(timetable, name, standing, now, most, found)
        found.append(each)
        each = timetable.next_after(each, standing.base_at)
    return Due(found[-most:], len(found), each)


def _last_due(
    timetable: Timetable, name: str, standing: Standing, now: float, most: int, first: list[float]
) -> Due:  # fmt: skip
    """The last of many, of which the ``first`` are known: looked for from nearer to now, until there are enough."""
    interval = (first[-1] - first[0]) / (len(first) - 1)
    back = 2 * most * interval
    while True:
        start = max(standing.cursor_at, now - timetable.jitter - back)
        last: deque[float] = deque(maxlen=most)
        each = timetable.next_after(start, standing.base_at)
        while each is not None and timetable.due_at(name, each) <= now:
            last.append(each)
            each = timetable.next_after(each, standing.base_at)
        if len(last) == most or start == standing.cursor_at:
            return Due(list(last), max(len(first), round((now - first[0]) / interval)), each)
        back *= 4


def _chosen(row: Row, timetable: Timetable, due: Due, now: float) -> list[float]:
    """Those that are to be sent, as ``catch_up`` says; overlap is not yet thought of."""
    if row.schedule.catch_up is CatchUp.ALL or not due.times:
        return due.times
    interval = MOST_GRACE if due.next_at is None else due.next_at - due.times[-1]
    grace = min(max(interval / 2, LEAST_GRACE), MOST_GRACE)
    in_time = [each for each in due.times if now - timetable.due_at(row.schedule.name, each) <= grace]
    if not in_time and row.schedule.catch_up is CatchUp.LATEST:
        return due.times[-1:]
    return in_time


def _without_overlap(
    overlap: Overlap, chosen: list[float], standing: Standing, *, is_running: bool
) -> tuple[list[float], Standing]:
    """What of it is sent now, what waits, and what is left out."""
    if overlap is Overlap.ALLOW:
        return chosen, standing
    if overlap is Overlap.SKIP:
        send = [] if is_running else chosen[-1:]
        return send, standing._replace(skipped=standing.skipped + len(chosen) - len(send))
    waiting = [*([] if standing.waiting_at is None else [standing.waiting_at]), *chosen]
    send = [] if is_running else waiting[:1]
    rest = waiting[len(send) :]
    left = standing._replace(
        waiting_at=rest[0] if rest else None, skipped=standing.skipped + max(0, len(rest) - 1)
    )  # fmt: skip
    return send, left


def first_standing(timetable: Timetable, now: float) -> Standing:
    """How a schedule stands that is made ``now``."""
    base_at = _base(now)
    return Standing(base_at=base_at, since=now, cursor_at=now, next_at=timetable.next_after(now, base_at))


def from_now_on(standing: Standing, timetable: Timetable, now: float, *, is_new: bool) -> Standing:
    """The same with nothing to make up for: what lies before ``now`` is none of its times.

    ``is_new``: intervals count from now, as the timetable is another one.
    """
    base_at = _base(now) if is_new else standing.base_at
    cursor_at = max(now, standing.cursor_at)
    return standing._replace(
        base_at=base_at, cursor_at=cursor_at, next_at=timetable.next_after(cursor_at, base_at), waiting_at=None
    )


def _base(now: float) -> float:
    """From when intervals count that begin now: a whole second, which reads better in every list of times."""
    return float(math.floor(now))
