"""``taskbus schedule add``: a schedule made of options."""

from datetime import datetime, tzinfo
from typing import Any

import rich_click as click

from taskbus.app import TaskBus
from taskbus.cli import schedule_view as view
from taskbus.cli.call import check_name, parse_arguments
from taskbus.cli.exits import USAGE, CommandFailed
from taskbus.cli.opening import check_shared, open_app
from taskbus.cli.options import scope_of, shared_options
from taskbus.cli.output import emit_one
from taskbus.cli.schedule_view import draw_times
from taskbus.cli.tables import say
from taskbus.message import MAX_PRIORITY, MIN_PRIORITY
from taskbus.schedule.cron import cron
from taskbus.schedule.solar import solar
from taskbus.schedule.spec import from_text
from taskbus.schedule.timetable import Timetable, any_of, at, every
from taskbus.schedule.zones import zone_of
from taskbus.store.schedules import CatchUp, Overlap

PREVIEWED = 3
DATE = len("20300131")


@click.command("add")
@click.argument("name")
@click.argument("task")
@click.argument("arguments", nargs=-1, metavar="[ARGS]... [KEY=VALUE]...")
@click.option_panel(
    "When", options=["--cron", "--tz", "--every", "--anchor", "--at", "--solar", "--place", "--timetable"]
)
@click.option_panel("Between", options=["--jitter", "--start", "--end"])
@click.option_panel("How", options=["--catch-up", "--max-catch-up", "--overlap", "--queue", "--priority", "--expires"])
@click.option("--cron", "crons", multiple=True, metavar="LINE", help="Crontab line of 5 fields, or 6 with seconds.")
@click.option("--tz", metavar="ZONE", help="Zone of the crontab lines, UTC if not given, and of times without one.")
@click.option("--every", "interval", type=float, metavar="SECONDS", help="Each so many seconds of real time.")
@click.option("--anchor", metavar="TIME", help="One of the times of --every; else they count from now.")
@click.option("--at", "times", multiple=True, metavar="TIME", help="Once, at this ISO 8601 time.")
@click.option("--solar", "event", metavar="EVENT", help="What the sun does: sunrise, sunset, dawn_civil, ...")
@click.option("--place", nargs=2, type=float, metavar="LAT LON", help="Where the sun does that: degrees north, east.")
@click.option("--timetable", metavar="JSON", help="A timetable as `taskbus schedule show -o json` prints it.")
@click.option("--jitter", type=float, default=0.0, metavar="SECONDS", help="Put each run off by up to so much.")
@click.option("--start", metavar="TIME", help="Not before this time.")
@click.option("--end", metavar="TIME", help="Before this time.")
@click.option(
    "--catch-up",
    type=click.Choice([str(each) for each in CatchUp]),
    default="latest",
    show_default=True,
    help="Missed runs.",
)
@click.option("--max-catch-up", type=int, default=100, show_default=True, metavar="N", help="Of `all`: at most N.")
@click.option(
    "--overlap",
    type=click.Choice([str(each) for each in Overlap]),
    default="allow",
    show_default=True,
    help="While the last one runs.",
)
@click.option("-Q", "--queue", help="Queue to put it on; the task's own if not given.")
@click.option("--priority", type=click.IntRange(MIN_PRIORITY, MAX_PRIORITY), metavar="N", help="9 is fetched first.")
@click.option("--expires", type=float, metavar="SECONDS", help="Bury a run that was not started so soon after it.")
@click.option("--json", "document", metavar="JSON", help="Arguments as one JSON array, or keywords as one object.")
@click.option("--replace", is_flag=True, help="Change the schedule of that name, if there is one.")
@shared_options("app", "broker", "results", "config", "output", "verbose")
@click.pass_context
def add(
    ctx: click.Context, /, name: str, task: str, arguments: tuple[str, ...], document: str | None,
    catch_up: str, max_catch_up: int, overlap: str, replace: bool, queue: str | None, priority: int | None,
    expires: float | None, **when: Any,
) -> None:  # fmt: skip
    """Add the schedule NAME, which sends TASK with ARGS; beats take it up at once. Needs your application (-A).

    Several of --cron, --every, --at and --solar mean: whenever one of them says so.
    """
    scope = scope_of(ctx)
    args, kwargs = parse_arguments(arguments, document)
    timetable = _timetable(**when)
    with open_app(scope) as app:
        check_shared(app.results_url)
        check_name(app, task, scope)
        call = _call(app, task, args, kwargs)
        given = {"queue": queue, "priority": priority, "expires": expires}
        call = call.options(**{key: value for key, value in given.items() if value is not None})
        info = app.schedules.add(
            name, call, timetable, catch_up=catch_up, max_catch_up=max_catch_up, overlap=overlap, replace=replace
        )  # fmt: skip
        times = app.schedules.next(name, PREVIEWED)

        def table() -> None:
            say(f"{name}: {info.timetable}. Its next times:")
            draw_times(times, info.timetable, app.clock())

        emit_one(scope.output, "schedule", view.item(info), table)


def _call(app: TaskBus, task: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
    known = app.tasks.get(task)
    if known is None:
        raise CommandFailed("this application has no tasks", USAGE)
    return known.s(*args, **kwargs)


def _timetable(
    *, crons: tuple[str, ...], tz: str | None, interval: float | None, anchor: str | None, times: tuple[str, ...],
    event: str | None, place: tuple[float, float] | None, timetable: str | None, jitter: float,
    start: str | None, end: str | None,
) -> Timetable:  # fmt: skip
    zone = None if tz is None else zone_of(tz)
    found: list[Timetable] = [cron(line, tz=tz or "UTC") for line in crons]
    if anchor is not None and interval is None:
        raise CommandFailed("--anchor is one of the times of --every, which is not given", USAGE)
    if interval is not None:
        found.append(every(interval, anchor=None if anchor is None else time_of("--anchor", anchor, zone)))
    found += [at(time_of("--at", each, zone)) for each in times]
    if (event is None) != (place is None):
        raise CommandFailed("--solar and --place LATITUDE LONGITUDE need each other", USAGE)
    if event is not None and place is not None:
        found.append(solar(event, latitude=place[0], longitude=place[1]))
    if timetable is not None:
        found.append(from_text(timetable))
    if not found:
        raise CommandFailed("say when: --cron, --every, --at, --solar or --timetable", USAGE)
    limits: dict[str, Any] = {"jitter": jitter} | {
        name: time_of(f"--{name}", text, zone) for name, text in (("start", start), ("end", end)) if text is not None
    }
    if not any(limits.values()):
        return found[0] if len(found) == 1 else any_of(*found)
    return any_of(*found, **limits)


def time_of(option: str, text: str, zone: tzinfo | None = None) -> datetime | float:
    """An instant as it is written on a command line; without a zone it is in ``zone``, or local.

    Digits are Unix seconds, but for eight of them: those are a date. Raises ``CommandFailed``.
    """
    try:
        if text.replace(".", "", 1).isdigit() and len(text) != DATE:
            return float(text)
        found = datetime.fromisoformat(text)
        return found.replace(tzinfo=found.tzinfo or zone).astimezone()
    except (ValueError, OverflowError) as error:
        raise CommandFailed(f"{option} {text!r} is not an ISO 8601 time such as 2030-01-31T18:00", USAGE) from error
