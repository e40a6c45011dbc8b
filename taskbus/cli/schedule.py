"""``taskbus schedule``: what runs when; and to change that while everything runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import rich_click as click

from taskbus.app import TaskBus
from taskbus.beat.book import NoSchedule
from taskbus.cli import schedule_view as view
from taskbus.cli.confirming import confirm
from taskbus.cli.exits import NOT_FOUND, CommandFailed
from taskbus.cli.opening import check_shared, open_app, open_existing
from taskbus.cli.options import Scope, scope_of, shared_options
from taskbus.cli.output import emit_items, emit_one
from taskbus.cli.schedule_add import add
from taskbus.cli.schedule_fill import backfill
from taskbus.cli.tables import say
from taskbus.steering import schedules as acts
from taskbus.store.where import parse_schedules

shared = shared_options("app", "broker", "results", "config", "output", "verbose")


@click.group("schedule")
def command() -> None:
    """List, show, add, pause, resume, run, remove or backfill schedules; beats take up each change at once.

    Schedules of an application's code are listed too, with -A also those that no beat has taken up yet.
    """


command.add_command(add)
command.add_command(backfill)


def _opened(scope: Scope, *places: Literal["broker", "results"]) -> TaskBus:
    """With an application that has schedules in its code, also where nothing was ever sent."""
    if scope.app and (app := open_app(scope)).schedules.declared:
        check_shared(app.broker_url)
        check_shared(app.results_url)
        return app
    return open_existing(scope, *places)


@contextmanager
def _found() -> Iterator[None]:
    try:
        yield
    except NoSchedule as error:
        raise CommandFailed(str(error), NOT_FOUND) from error


@command.command("list")
@click.option("--where", default="", metavar="TERMS", help="Only those that match, such as 'task:mail.* is:paused'.")
@shared
@click.pass_context
def list_schedules(ctx: click.Context, where: str) -> None:
    """List schedules by name: when they run, when they ran last, what was missed.

    \b
    --where takes terms that must all match:
        name:nightly-*  task:mail.*  is:paused
    """
    scope = scope_of(ctx)
    with _opened(scope, "results") as app:
        wanted, place = parse_schedules(where), app.store.database or app.results_url
        found = [info for info in app.schedules.list() if acts.is_meant(info, wanted)]
        emit_items(
            scope.output, "schedules", map(view.item, found), lambda: view.draw_list(found, app.clock(), place),
            database=place,
        )  # fmt: skip


@command.command("show")
@click.argument("name")
@click.option("--limit", type=click.IntRange(min=0), default=10, show_default=True, help="How many of its last runs.")
@shared
@click.pass_context
def show(ctx: click.Context, name: str, limit: int) -> None:
    """Show a schedule: how it stands, and its last runs with how late they were sent."""
    scope = scope_of(ctx)
    with _opened(scope, "results") as app, _found():
        info, ticks = app.schedules.get(name), app.schedules.ticks(name, limit) if limit else ()
        item = {**view.item(info), "runs": list(map(view.tick_item, ticks))}
        emit_one(scope.output, "schedule", item, lambda: view.draw_one(info, ticks, app.clock()))


@command.command("next")
@click.argument("name")
@click.option("--count", type=click.IntRange(1, 1000), default=10, show_default=True, help="How many times.")
@shared
@click.pass_context
def next_times(ctx: click.Context, name: str, count: int) -> None:
    """Show the next times of a schedule, exactly as the beats find them: in its zone, in UTC, with its jitter."""
    scope = scope_of(ctx)
    with _opened(scope, "results") as app, _found():
        times, timetable = app.schedules.next(name, count), app.schedules.get(name).timetable
        items = [{"scheduled_at": nominal, "due_at": due_at} for nominal, due_at in times]
        emit_items(scope.output, "times", items, lambda: view.draw_times(times, timetable, app.clock()), schedule=name)


@command.command("pause")
@click.argument("name")
@shared
@click.pass_context
def pause(ctx: click.Context, name: str) -> None:
    """Send nothing of a schedule until it is resumed; also of one that is in code."""
    scope = scope_of(ctx)
    with _opened(scope, "results") as app, _found():
        app.schedules.pause(name)
        emit_one(scope.output, "paused", {"name": name}, lambda: say(f"{name} is paused."))


@command.command("resume")
@click.argument("name")
@shared
@click.pass_context
def resume(ctx: click.Context, name: str) -> None:
    """Go on with a paused schedule from its next time; what fell into the pause is not made up for."""
    scope = scope_of(ctx)
    with _opened(scope, "results") as app, _found():
        app.schedules.resume(name)
        emit_one(scope.output, "resumed", {"name": name}, lambda: say(f"{name} goes on."))


@command.command("run")
@click.argument("name")
@shared
@click.pass_context
def run(ctx: click.Context, name: str) -> None:
    """Send a schedule's task now, besides its times. Prints the task's id."""
    scope = scope_of(ctx)
    with _opened(scope, "broker", "results") as app, _found():
        task_id = app.schedules.run(name).id
        emit_one(scope.output, "run", {"name": name, "task_id": task_id}, lambda: click.echo(task_id))


@command.command("remove")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--owner-is-gone", is_flag=True, help="Also one in the code of an application that is no more.")
@shared
@click.pass_context
def remove(ctx: click.Context, name: str, yes: bool, owner_is_gone: bool) -> None:
    """Remove a schedule that was added at run time. What it has sent stays sent."""
    scope = scope_of(ctx)
    with _opened(scope, "results") as app, _found():
        app.schedules.get(name)
        confirm(f"Remove the schedule {name}", yes=yes, has_dry_run=False)
        app.schedules.remove(name, owner_is_gone=owner_is_gone)
        emit_one(scope.output, "removed", {"name": name}, lambda: say(f"{name} is removed."))
