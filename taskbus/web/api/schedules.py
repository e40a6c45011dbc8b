"""Schedules: when they run, how they ran; to pause, resume and run one."""

from taskbus.app import TaskBus
from taskbus.beat.book import ScheduleInfo
from taskbus.errors import ConfigError
from taskbus.schedule.timetable import AnyOf, Timetable
from taskbus.steering import schedules as acts
from taskbus.store.where import parse_schedules
from taskbus.web.api.paging import page_of
from taskbus.web.house import Visit
from taskbus.web.routes import Routes
from taskbus.web.shapes.basis import Changed, Found, Listing, Nothing
from taskbus.web.shapes.records import Schedule
from taskbus.web.shapes.tasks import Sent

schedules = Routes("schedules")
NEXT = 5


@schedules.get("/schedules")
def list_all(visit: Visit, query: Found) -> Listing[Schedule]:
    """Every schedule that matches, by name, with its next five times."""
    app, wanted = visit.house.app, parse_schedules(query.where)
    found = [info for info in app.schedules.list() if acts.is_meant(info, wanted)]
    page, following = page_of(found, query, lambda info: info.name)
    states = app.store.results([info.last_task_id for info in page if info.last_task_id])
    items = [
        shape_of(app, info, str(states[info.last_task_id].state) if info.last_task_id in states else "")
        for info in page
    ]
    return Listing(items=items, next=following, count=len(found))


@schedules.post("/schedules/{name}/pause")
def pause(visit: Visit, name: str, body: Nothing) -> Changed:
    """Send nothing of a schedule until it is resumed."""
    visit.note(target=name)
    was_paused = visit.house.schedules.get(name).is_paused
    visit.house.schedules.pause(name)
    return Changed(changed=not was_paused)


@schedules.post("/schedules/{name}/resume")
def resume(visit: Visit, name: str, body: Nothing) -> Changed:
    """Go on with a paused schedule from its next time; what fell into the pause is not made up for."""
    visit.note(target=name)
    was_paused = visit.house.schedules.get(name).is_paused
    visit.house.schedules.resume(name)
    return Changed(changed=was_paused)


@schedules.post("/schedules/{name}/run")
def run(visit: Visit, name: str, body: Nothing) -> Sent:
    """Send a schedule's task now, besides its times."""
    visit.note(target=name)
    sent = visit.house.schedules.run(name).id
    visit.note(detail=f"as {sent}")
    return Sent(id=sent)


def shape_of(app: TaskBus, info: ScheduleInfo, last_state: str) -> Schedule:
    """A schedule as it is sent."""
    return Schedule(
        name=info.name,
        task=info.task,
        timetable=str(info.timetable),
        zone=zone_of(info.timetable),
        is_paused=info.is_paused,
        next=_next(app, info),
        last_at=info.last_sent_at,
        last_task_id=info.last_task_id,
        last_state=last_state,
        sent=info.sent,
        missed=info.missed,
        skipped=info.skipped,
        lateness=info.lateness,
        origin=info.origin,
    )


def _next(app: TaskBus, info: ScheduleInfo) -> list[float]:
    """When it will be sent; none where it is paused, over, or has a timetable that only a later TaskBus knows."""
    if info.is_paused:
        return []
    try:
        return [due_at for _, due_at in app.schedules.next(info.name, NEXT)]
    except ConfigError:
        return []


def zone_of(timetable: Timetable) -> str:
    """The name of the zone that it is in; UTC where none or several are said."""
    members = timetable.members if isinstance(timetable, AnyOf) else (timetable,)
    names = {str(zone) for each in members if (zone := getattr(each, "tz", None))}
    return names.pop() if len(names) == 1 else "UTC"
